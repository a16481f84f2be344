from __future__ import annotations

import hashlib

import msgspec
import pytest

from keephold.attestation.policy import check_allowed, check_anchor, check_level, measurement, report_data
from keephold.attestation.quotes import SgxReport, TdReport
from keephold.attestation.reasons import Reason
from keephold.protocol.evidence import AllowedMeasurement, AttestationPolicy, RuntimeEvent

CODE, OTHER = b"c" * 32, b"d" * 32
SGX = SgxReport(mr_enclave="aa" * 32, mr_signer="bb" * 32, isv_prod_id=1, report_data="00" * 64)
TDX = TdReport(
    mr_td="01" * 48,
    rt_mr0="02" * 48,
    rt_mr1="03" * 48,
    rt_mr2="04" * 48,
    rt_mr3="05" * 48,
    mr_config_id="06" * 48,
    mr_owner="07" * 48,
    mr_owner_config="08" * 48,
    report_data="00" * 64,
)


def policy(*allowed: AllowedMeasurement) -> AttestationPolicy:
    return AttestationPolicy(vendors=(), measurements=allowed, quote_window_ns=100)


def replay(*events: RuntimeEvent) -> str:
    register = bytes(48)
    for event in events:
        message = b"\x01\x00\x00\x08:" + event.name.encode() + b":" + event.payload
        register = hashlib.sha384(register + hashlib.sha384(message).digest()).digest()
    return register.hex()


def test_report_data_changes_with_every_field(sgx) -> None:
    original = report_data(sgx.claim)
    assert len(original) == 64
    altered = {
        "network": b"x" * 32,
        "role": "gatekeeper",
        "signing_key": b"x" * 32,
        "encryption_key": b"x" * 1216,
        "operator": b"x" * 32,
        "instance": b"x" * 32,
        "anchor_height": 8,
        "anchor_hash": b"x" * 32,
    }
    assert set(altered) == {field.name for field in msgspec.structs.fields(sgx.claim)}
    for field, value in altered.items():
        assert report_data(msgspec.structs.replace(sgx.claim, **{field: value})) != original, field


@pytest.mark.parametrize("field", ["mr_enclave", "mr_signer"])
def test_sgx_measurement_covers(field) -> None:
    assert measurement(msgspec.structs.replace(SGX, **{field: "cc" * 32})) != measurement(SGX)


def test_sgx_measurement_covers_the_product() -> None:
    assert measurement(msgspec.structs.replace(SGX, isv_prod_id=2)) != measurement(SGX)


@pytest.mark.parametrize("field", [field.name for field in msgspec.structs.fields(TDX) if field.name != "report_data"])
def test_tdx_measurement_covers(field) -> None:
    assert measurement(msgspec.structs.replace(TDX, **{field: "cc" * 48})) != measurement(TDX)


def test_swapped_registers_measure_differently() -> None:
    swapped = msgspec.structs.replace(TDX, rt_mr1=TDX.rt_mr2, rt_mr2=TDX.rt_mr1)
    assert measurement(swapped) != measurement(TDX)


COMPOSE = RuntimeEvent("compose-hash", b"h" * 32)
FIRST, SECOND = RuntimeEvent("instance-id", b"1" * 20), RuntimeEvent("instance-id", b"2" * 20)


def with_log(*events: RuntimeEvent) -> TdReport:
    return msgspec.structs.replace(TDX, rt_mr3=replay(*events))


def test_two_instances_of_one_application_measure_alike() -> None:
    one = measurement(with_log(COMPOSE, FIRST), (COMPOSE, FIRST))
    assert one == measurement(with_log(COMPOSE, SECOND), (COMPOSE, SECOND))
    assert one != measurement(with_log(COMPOSE, FIRST))


def test_another_application_measures_differently() -> None:
    other = RuntimeEvent("compose-hash", b"x" * 32)
    assert measurement(with_log(COMPOSE), (COMPOSE,)) != measurement(with_log(other), (other,))


@pytest.mark.parametrize(
    ("register", "told"),
    [
        pytest.param((COMPOSE, FIRST), (COMPOSE,), id="left out"),
        pytest.param((COMPOSE, FIRST), (FIRST, COMPOSE), id="reordered"),
        pytest.param((COMPOSE, FIRST), (COMPOSE, SECOND), id="altered"),
        pytest.param((FIRST, SECOND), (FIRST, SECOND), id="two instance ids"),
        pytest.param((RuntimeEvent("a:b", b"c"),), (RuntimeEvent("a:b", b"c"),), id="colon in a name"),
        pytest.param((RuntimeEvent("", b"c"),), (RuntimeEvent("", b"c"),), id="no name"),
    ],
)
def test_a_log_that_does_not_prove_the_register_is_refused(register, told, refused) -> None:
    with refused(Reason.EVENT_LOG):
        measurement(with_log(*register), told)


def test_sgx_has_no_log(refused) -> None:
    with refused(Reason.EVENT_LOG):
        measurement(SGX, (COMPOSE,))


def test_a_measurement_is_allowed_from_and_until(refused) -> None:
    rules = policy(AllowedMeasurement(CODE, "worker", from_ns=10, until_ns=20))
    for now_ns in (10, 19):
        check_allowed(rules, CODE, "worker", now_ns=now_ns)
    for now_ns in (9, 20):
        with refused(Reason.MEASUREMENT):
            check_allowed(rules, CODE, "worker", now_ns=now_ns)


def test_a_measurement_of_another_role_is_refused(refused) -> None:
    rules = policy(AllowedMeasurement(CODE, "worker"))
    with refused(Reason.ROLE):
        check_allowed(rules, CODE, "gatekeeper", now_ns=1)
    with refused(Reason.MEASUREMENT):
        check_allowed(rules, OTHER, "worker", now_ns=1)


def test_gatekeepers_need_level_one_or_two(refused) -> None:
    for level in (1, 2):
        check_level(policy(), level, "gatekeeper")
    check_level(policy(), 5, "worker")
    with refused(Reason.LEVEL):
        check_level(policy(), 3, "gatekeeper")


def test_an_anchor_outside_the_window_is_refused(refused) -> None:
    for now_ns in (1000, 1100):
        check_anchor(policy(), anchor_ns=1000, now_ns=now_ns)
    for now_ns in (999, 1101):
        with refused(Reason.ANCHOR):
            check_anchor(policy(), anchor_ns=1000, now_ns=now_ns)
