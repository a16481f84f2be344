"""The boundary to `dcap_qvl`: bytes in, typed findings or `AttestationRefused` out; nothing else crosses.

`dcap_qvl.verify` and `verify_with_root_ca` accept platforms that are out of date; only `verify_with_policy` with
`claims_only` is used, and the findings are judged by `verify` and `levels`. The library checks, whatever the policy:
every signature from the report to the root, the quoting enclave's identity, both revocation lists, the validity in
time of all it reads, and that the report is not debuggable, profiled, migratable or served by another trust domain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import dcap_qvl
import msgspec

from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused, BadSignature
from keephold.base.limits import MAX_QUOTE
from keephold.crypto.certificates import unverified_serial
from keephold.protocol.evidence import Collateral, CollateralSubject

_HEADER: Final = 48
_DESCRIPTOR: Final = 6
"""Version 5 puts type and length of the body between header and body."""
_SGX: Final = 0x00
_TDX: Final = 0x81
_SIGNED_SIZE: Final = {(3, _SGX): _HEADER + 384, (4, _TDX): _HEADER + 584}
"""Version and TEE type to the size of header and body."""
_SIGNED_SIZE_V5: Final = {2: _HEADER + _DESCRIPTOR + 584, 3: _HEADER + _DESCRIPTOR + 648}
"""Body type of a version 5 quote: TDX 1.0 and 1.5. Other bodies are refused until their registers are understood."""

_REASONS: Final = (
    ("revoked", Reason.REVOKED),
    ("debug", Reason.DEBUG),
    ("expired", Reason.COLLATERAL_WINDOW),
    ("future", Reason.COLLATERAL_WINDOW),
    ("no matching tcb", Reason.TCB_STATUS),
)
"""Words in the library's messages. They choose the reason that is reported; no refusal rests on them."""


@dataclass(frozen=True, slots=True)
class UnverifiedQuote:
    """What a quote says of itself: enough to find its collateral, and nothing to rely on."""

    raw: bytes
    subject: CollateralSubject
    signed: bytes
    """Header and body: what the report signature covers. All else can be respelled without breaking a signature."""
    serial: int
    """Of the platform's certificate."""


class SgxReport(msgspec.Struct, frozen=True):
    """The fields of an SGX report that identify code; byte strings in hexadecimal."""

    mr_enclave: str
    mr_signer: str
    isv_prod_id: int
    report_data: str


class TdReport(msgspec.Struct, frozen=True):
    """The fields of a TDX report that identify code; byte strings in hexadecimal."""

    mr_td: str
    rt_mr0: str
    rt_mr1: str
    rt_mr2: str
    rt_mr3: str
    mr_config_id: str
    mr_owner: str
    mr_owner_config: str
    report_data: str


Report = SgxReport | TdReport


@dataclass(frozen=True, slots=True)
class Findings:
    """What a quote proves under its vendor's root; not yet whether that is enough."""

    status: str
    advisories: tuple[str, ...]
    ppid: bytes
    pce_id: bytes
    fmspc: bytes
    report: Report


class _Td15(msgspec.Struct, frozen=True):
    base: TdReport


class _AnyReport(msgspec.Struct, frozen=True):
    sgx: SgxReport | None = msgspec.field(default=None, name="SgxEnclave")
    td10: TdReport | None = msgspec.field(default=None, name="TD10")
    td15: _Td15 | None = msgspec.field(default=None, name="TD15")


class _Tcb(msgspec.Struct, frozen=True):
    status: str
    advisory_ids: tuple[str, ...]


class _Pck(msgspec.Struct, frozen=True):
    ppid: list[int]
    pce_id: list[int]
    fmspc: list[int]


class _Platform(msgspec.Struct, frozen=True):
    pck: _Pck


class _Claims(msgspec.Struct, frozen=True):
    tcb: _Tcb
    platform: _Platform
    report: _AnyReport


def parse(raw: bytes, vendor: str) -> UnverifiedQuote:
    """Return what the quote says of itself.

    Raises:
        AttestationRefused: `malformed`.
    """
    if len(raw) > MAX_QUOTE:
        raise AttestationRefused(Reason.MALFORMED, f"a quote of {len(raw)} bytes")
    try:
        quote = dcap_qvl.parse_quote(raw)
        version, tee = quote.header.version, quote.header.tee_type
        if version == 5:
            size = _SIGNED_SIZE_V5[int.from_bytes(raw[_HEADER : _HEADER + 2], "little")] if tee == _TDX else 0
        else:
            size = _SIGNED_SIZE.get((version, tee), 0)
        if not _HEADER < size <= len(raw):
            raise AttestationRefused(Reason.MALFORMED, f"quote version {version} for TEE type {tee:#x}")
        subject = CollateralSubject(
            vendor=vendor,
            tee="tdx" if tee == _TDX else "sgx",
            authority="platform" if quote.ca() == "platform" else "processor",
            fmspc=bytes.fromhex(quote.fmspc()),
        )
        serial = unverified_serial(quote.cert_chain_pem_bytes() or b"")
    except (ValueError, TypeError, OverflowError, LookupError, BadSignature) as error:
        raise AttestationRefused(Reason.MALFORMED, str(error)) from error
    return UnverifiedQuote(raw, subject, raw[:size], serial)


def examine(quote: UnverifiedQuote, collateral: Collateral, root_der: bytes, *, now_s: int) -> Findings:
    """Return what the quote proves under the root and by the collateral.

    `collateral` must hold only PEM and DER that we encoded (see `collateral`): the library reads PEM blocks of any
    label. Of its two ways to build collateral, `from_json` takes a hidden field that replaces the certificates in the
    quote; the constructor with nine arguments does not.

    Raises:
        AttestationRefused: the quote proves nothing.
    """
    try:
        judged_by = dcap_qvl.QuoteCollateralV3(
            "",  # the PCK CRL's issuers: never read by the library, verified by `collateral`
            collateral.root_ca_crl,
            collateral.pck_crl,
            collateral.tcb_info_issuer_chain,
            collateral.tcb_info,
            collateral.tcb_info_signature,
            collateral.qe_identity_issuer_chain,
            collateral.qe_identity,
            collateral.qe_identity_signature,
        )
        policy = dcap_qvl.QuotePolicy.claims_only(now_s)
        verifier = dcap_qvl.QuoteVerifier(root_der)
        claims = verifier.verify_with_policy(quote.raw, judged_by, now_s, policy).to_json()
    except (ValueError, TypeError, OverflowError) as error:
        raise _refusal(str(error)) from error
    try:
        return _findings(msgspec.json.decode(claims, type=_Claims))
    except (msgspec.MsgspecError, ValueError) as error:
        raise AttestationRefused(Reason.MALFORMED, f"claims: {error}") from error


def _findings(claims: _Claims) -> Findings:
    found = claims.report
    report = found.sgx or found.td10 or (found.td15.base if found.td15 else None)
    if report is None:
        raise AttestationRefused(Reason.MALFORMED, "a report whose registers are not understood")
    pck = claims.platform.pck
    return Findings(
        status=claims.tcb.status,
        advisories=claims.tcb.advisory_ids,
        ppid=bytes(pck.ppid),
        pce_id=bytes(pck.pce_id),
        fmspc=bytes(pck.fmspc),
        report=report,
    )


def _refusal(message: str) -> AttestationRefused:
    lowered = message.lower()
    for word, reason in _REASONS:
        if word in lowered:
            return AttestationRefused(reason, message)
    return AttestationRefused(Reason.SIGNATURE, message)
