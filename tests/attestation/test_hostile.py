"""Any bytes are accepted or get a declared error; and what is accepted is the quote that was signed."""

from __future__ import annotations

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold.attestation.collateral import verify_collateral
from keephold.attestation.verify import unverified_subject
from keephold.base.errors import AttestationRefused, EncodingError
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import Collateral, CollateralFloor, Evidence

FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
EDITS = st.lists(
    st.tuples(st.integers(0, 1 << 14), st.integers(0, 8), st.binary(max_size=8)),
    min_size=1,
    max_size=3,
)


def edited(raw: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in edits:
        at = position % (len(raw) + 1)
        raw = raw[:at] + inserted + raw[at + removed :]
    return raw


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(edits=EDITS)
def test_edited_quotes(scene, edits) -> None:
    honest = scene.but(quote=scene.evidence().quote)
    try:
        identity = honest.but(quote=edited(honest.quote, edits) or b"\0").verify()
    except AttestationRefused:
        return
    assert identity == honest.verify()


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(edits=EDITS)
def test_edited_evidence(sgx, edits) -> None:
    raw = edited(encode(sgx.evidence()), edits)
    try:
        unverified_subject(decode(raw, Evidence))
    except (AttestationRefused, EncodingError):
        return


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(edits=EDITS)
def test_edited_collateral(tdx, edits) -> None:
    try:
        altered = decode(edited(encode(tdx.collateral), edits), Collateral)
        verified = verify_collateral(altered, tdx.policy, CollateralFloor(), now_ns=tdx.now_ns)
    except (AttestationRefused, EncodingError):
        return
    honest = verify_collateral(tdx.collateral, tdx.policy, CollateralFloor(), now_ns=tdx.now_ns)
    assert (verified.subject, verified.floor, verified.encoded) == (honest.subject, honest.floor, honest.encoded)


@settings(max_examples=150, deadline=None, suppress_health_check=FIXTURES)
@given(
    field=st.sampled_from(Collateral.__struct_fields__),
    text=st.text(max_size=200),
    binary=st.binary(max_size=200),
)
def test_replaced_collateral_fields(sgx, field, text, binary) -> None:
    value = text if isinstance(getattr(sgx.collateral, field), str) else binary
    altered = msgspec.structs.replace(sgx.collateral, **{field: value})
    try:
        verify_collateral(altered, sgx.policy, CollateralFloor(), now_ns=sgx.now_ns)
    except AttestationRefused:
        return
    raise AssertionError(field)


@settings(max_examples=100, deadline=None, suppress_health_check=FIXTURES)
@given(raw=st.binary(max_size=2000), now_ns=st.integers(-(1 << 70), 1 << 70))
def test_any_quote_at_any_time(sgx, raw, now_ns) -> None:
    try:
        sgx.but(quote=raw or b"\0", now_ns=now_ns).verify()
    except AttestationRefused:
        return
    raise AssertionError(raw)
