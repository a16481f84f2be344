from __future__ import annotations

import dcap_qvl
import msgspec
import pytest

from keephold.attestation import quotes
from keephold.attestation.collateral import verify_collateral
from keephold.attestation.reasons import Reason
from keephold.testing.vendor import Machine, wire


def test_sgx_in_a_version_four_quote_is_refused(sgx, refused) -> None:
    """The library reads it; what its signature covers would have to be counted anew, so it is not let in."""
    signer = sgx.vendor.signer(Machine.named("one"))
    signed = wire._header(4, 0) + sgx.evidence().quote[48 : 48 + 384]
    certification = wire._qe_report(signer, "sgx") + wire._typed(5, signer.chain_pem.encode())
    quote = signed + wire._sized(wire._signature(signer, signed) + wire._typed(6, certification))
    assert dcap_qvl.parse_quote(quote).is_sgx()
    with refused(Reason.MALFORMED):
        quotes.parse(quote, "development")


def test_the_signed_part_ends_where_the_signature_starts(scene) -> None:
    quote = scene.evidence().quote
    signed = quotes.parse(quote, "development").signed
    signature = quote[len(signed) + 4 :][:64]
    key = scene.vendor.signer(scene.machine).attestation_key
    assert key.sign(signed) == signature


def examined(scene):
    quote = quotes.parse(scene.evidence().quote, "development")
    judge = verify_collateral(scene.collateral, scene.policy, scene.floor, now_ns=scene.now_ns)
    return quotes.examine(quote, judge.encoded, judge.vendor.root, now_s=scene.now_ns // 1_000_000_000)


class Claiming:
    """A quote library that answers what it is told to."""

    answer: str

    def __init__(self, root: bytes) -> None:
        pass

    def verify_with_policy(self, *_: object) -> Claiming:
        return self

    def to_json(self) -> str:
        return self.answer


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda claims: {}, id="empty"),
        pytest.param(lambda claims: {**claims, "report": {"TD15Ex": {}}}, id="another report"),
        pytest.param(lambda claims: {**claims, "tcb": {"status": 1}}, id="another type"),
        pytest.param(
            lambda claims: {**claims, "platform": {"pck": {**claims["platform"]["pck"], "ppid": [256]}}}, id="no byte"
        ),
    ],
)
def test_claims_out_of_form_are_refused(sgx, monkeypatch, refused, alter) -> None:
    honest = examined(sgx)
    claims = {
        "tcb": {"status": "UpToDate", "advisory_ids": []},
        "platform": {"pck": {"ppid": list(honest.ppid), "pce_id": [0, 0], "fmspc": list(honest.fmspc)}},
        "report": {"SgxEnclave": msgspec.structs.asdict(honest.report)},
    }
    monkeypatch.setattr(dcap_qvl, "QuoteVerifier", Claiming)
    monkeypatch.setattr(Claiming, "answer", msgspec.json.encode(claims).decode(), raising=False)
    assert examined(sgx) == honest
    monkeypatch.setattr(Claiming, "answer", msgspec.json.encode(alter(claims)).decode())
    with refused(Reason.MALFORMED):
        examined(sgx)


@pytest.mark.parametrize("error", [ValueError, TypeError, OverflowError])
def test_each_error_of_the_library_is_converted(sgx, monkeypatch, refused, error) -> None:
    def fail(*_: object) -> None:
        raise error("no")

    monkeypatch.setattr(Claiming, "verify_with_policy", fail)
    monkeypatch.setattr(dcap_qvl, "QuoteVerifier", Claiming)
    with refused(Reason.SIGNATURE):
        examined(sgx)
