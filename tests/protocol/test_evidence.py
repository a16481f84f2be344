from __future__ import annotations

import msgspec
import pytest

from keephold.base.errors import EncodingError
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.evidence import (
    AllowedMeasurement,
    AttestationPolicy,
    Claim,
    Collateral,
    CollateralFloor,
    CollateralSubject,
    Evidence,
    HardwareVendor,
    RuntimeEvent,
    SimulatedVendor,
    collateral_key,
)

NAMES = ("root", "signer", "processor", "platform")
SUBJECT = CollateralSubject(vendor="v", tee="sgx", authority="processor", fmspc=b"fmspc!")
CLAIM = Claim(
    network=b"n" * 32,
    role="worker",
    signing_key=b"s" * 32,
    encryption_key=b"e" * 1216,
    operator=b"o" * 32,
    instance=b"i" * 32,
    anchor_height=1,
    anchor_hash=b"a" * 32,
)
COLLATERAL = Collateral("v", "chain", b"crl", b"crl", "chain", "{}", b"s" * 64, "chain", "{}", b"s" * 64)
POLICY = AttestationPolicy(
    vendors=(HardwareVendor("h", b"root", *NAMES[1:]), SimulatedVendor("s", b"root", *NAMES[1:])),
    measurements=(AllowedMeasurement(b"m" * 32, "worker"), AllowedMeasurement(b"m" * 32, "gatekeeper", until_ns=5)),
    quote_window_ns=1,
)


@pytest.mark.parametrize(
    "record",
    [
        CLAIM,
        COLLATERAL,
        POLICY,
        SUBJECT,
        CollateralFloor(),
        CollateralFloor(1, 2, 3, 4, 5, 6),
        Evidence("v", b"quote"),
        Evidence("v", b"quote", (RuntimeEvent("name", b"payload"),)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_each_record_survives_the_codec(record: Record) -> None:
    assert decode(encode(record), type(record)) == record


def test_the_two_kinds_of_vendor_stay_apart() -> None:
    assert [type(vendor) for vendor in decode(encode(POLICY), AttestationPolicy).vendors] == [
        HardwareVendor,
        SimulatedVendor,
    ]


@pytest.mark.parametrize(
    ("record", "change"),
    [
        (CLAIM, {"role": "auditor"}),
        (CLAIM, {"network": b"short"}),
        (CLAIM, {"encryption_key": b"e" * 1215}),
        (CLAIM, {"anchor_height": 0}),
        (COLLATERAL, {"tcb_info_signature": b"s" * 63}),
        (COLLATERAL, {"tcb_info": "x" * ((64 << 10) + 1)}),
        (COLLATERAL, {"pck_crl": b"x" * ((64 << 10) + 1)}),
        (Evidence("v", b"q"), {"quote": b"x" * ((16 << 10) + 1)}),
        (Evidence("v", b"q"), {"events": (RuntimeEvent("e", b""),) * 65}),
        (Evidence("v", b"q"), {"events": (RuntimeEvent("e", b"x" * 1025),)}),
        (SUBJECT, {"fmspc": b"short"}),
        (SUBJECT, {"tee": "sev"}),
        (POLICY, {"gatekeeper_max_level": 6}),
        (POLICY, {"quote_window_ns": 0}),
        (CollateralFloor(), {"tcb_issued": -1}),
    ],
)
def test_values_out_of_form_do_not_decode(record: Record, change: dict[str, object]) -> None:
    with pytest.raises(EncodingError):
        decode(encode(msgspec.structs.replace(record, **change)), type(record))


@pytest.mark.parametrize("change", [{"vendor": "w"}, {"tee": "tdx"}, {"authority": "platform"}, {"fmspc": b"FMSPC!"}])
def test_each_kind_of_platform_has_its_own_collateral(change) -> None:
    assert collateral_key(msgspec.structs.replace(SUBJECT, **change)) != collateral_key(SUBJECT)


def test_a_floor_admits_itself_and_what_is_above() -> None:
    floor = CollateralFloor(1, 2, 3, 4, 5, 6)
    assert floor.admits(floor)
    assert CollateralFloor().admits(floor)
    assert not floor.admits(CollateralFloor())
    for name in CollateralFloor.__struct_fields__:
        assert not floor.admits(msgspec.structs.replace(floor, **{name: getattr(floor, name) - 1}))
        assert floor.admits(msgspec.structs.replace(floor, **{name: getattr(floor, name) + 1}))
