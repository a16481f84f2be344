"""Collateral from anybody becomes collateral to judge quotes by, or is refused.

The argument, against somebody who may submit any bytes and may own an extracted platform key:

1. The vendor is one of the policy, and everything below is checked against that vendor's root alone.
2. TCB info and QE identity are signed by the one certificate that may: issued by the root *directly*, with the policy's
   common name, and without the SGX extension that marks a platform's own certificate. The quote library does not ask;
   without this step one extracted platform key could declare any platform up to date.
3. The revocation lists are signed by the root, and by an authority of the vendor that the root issued directly.
4. Neither signer is itself revoked.
5. All parts speak about one TEE.
6. `now` lies inside the validity of every part. A future issue date is refused, so nobody can push the floor ahead.
7. No component is below the floor: nothing that was learned is unlearned.

What is handed on is encoded anew from what was parsed, so that another parser reads the same certificates.

Not checked here: that a quote exists for this collateral. The caller owes the floor kept under `collateral_key` of the
subject, and a `now` that comes from the chain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeVar, final

import msgspec

from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused, BadSignature
from keephold.base.minting import NoPublicConstructor
from keephold.crypto.certificates import IssuedCertificate, RevocationList, open_issued, open_root
from keephold.protocol.evidence import (
    AttestationPolicy,
    Collateral,
    CollateralFloor,
    CollateralSubject,
    PckAuthority,
    Vendor,
)

_SGX_EXTENSION: Final = "1.2.840.113741.1.13.1"
_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z", re.ASCII)
_NANOSECONDS: Final = 1_000_000_000


class _TcbInfo(msgspec.Struct, frozen=True):
    tee: Literal["SGX", "TDX"] = msgspec.field(name="id")
    version: Literal[3]
    issued: str = msgspec.field(name="issueDate")
    expires: str = msgspec.field(name="nextUpdate")
    fmspc: str
    pce_id: str = msgspec.field(name="pceId")
    evaluation: int = msgspec.field(name="tcbEvaluationDataNumber")


class _QeIdentity(msgspec.Struct, frozen=True):
    enclave: Literal["QE", "TD_QE"] = msgspec.field(name="id")
    version: Literal[2]
    issued: str = msgspec.field(name="issueDate")
    expires: str = msgspec.field(name="nextUpdate")
    evaluation: int = msgspec.field(name="tcbEvaluationDataNumber")


_T = TypeVar("_T")


@final
@dataclass(frozen=True, slots=True)
class VerifiedCollateral(metaclass=NoPublicConstructor):
    """Collateral that the argument above holds for; made by `verify_collateral` only."""

    vendor: Vendor
    subject: CollateralSubject
    floor: CollateralFloor
    """Its own components: the floor for whatever comes next."""
    pce_id: bytes
    """The provisioning certification enclave that the TCB info is about, 2 bytes."""
    revoked: frozenset[int]
    """Serial numbers of platform certificates."""
    until_ns: int
    """Block time at which the first of its parts has expired."""
    encoded: Collateral
    """The same collateral, certificates and lists encoded anew."""


def vendor_named(policy: AttestationPolicy, name: str) -> Vendor:
    """Return the policy's vendor of this name.

    Raises:
        AttestationRefused: `vendor`.
    """
    for vendor in policy.vendors:
        if vendor.name == name:
            return vendor
    raise AttestationRefused(Reason.VENDOR, name)


def unverified_subject(collateral: Collateral, policy: AttestationPolicy) -> CollateralSubject:
    """Return which platforms the collateral says it is about: to look up its floor, and for nothing else.

    Raises:
        AttestationRefused: `vendor`, `collateral_signer` or `malformed`.
    """
    vendor = vendor_named(policy, collateral.vendor)
    authority = _open_authority(collateral, vendor, _open_root(vendor))[1]
    return _subject(vendor, authority, _read(collateral.tcb_info, _TcbInfo))


def verify_collateral(
    collateral: Collateral, policy: AttestationPolicy, floor: CollateralFloor, *, now_ns: int
) -> VerifiedCollateral:
    """Return the collateral as one to judge quotes by; `now_ns` is the block's time.

    Raises:
        AttestationRefused: `vendor`, `malformed`, `collateral_signer`, `collateral_mismatch`, `collateral_window`,
            `collateral_rollback` or `revoked`.
    """
    now_s = now_ns // _NANOSECONDS
    # (1) A vendor of the policy, and his root.
    vendor = vendor_named(policy, collateral.vendor)
    root = _open_root(vendor)
    # (2) Signed by the certificate that may.
    tcb_signer = _open_signer(collateral.tcb_info_issuer_chain, vendor, root)
    qe_signer = tcb_signer
    if collateral.qe_identity_issuer_chain != collateral.tcb_info_issuer_chain:
        qe_signer = _open_signer(collateral.qe_identity_issuer_chain, vendor, root)
    _check_signature(tcb_signer, collateral.tcb_info_signature, collateral.tcb_info)
    _check_signature(qe_signer, collateral.qe_identity_signature, collateral.qe_identity)
    # (3) Both revocation lists are the vendor's.
    authority, authority_name = _open_authority(collateral, vendor, root)
    root_list = _open_list(root, collateral.root_ca_crl)
    pck_list = _open_list(authority, collateral.pck_crl)
    # (4) No signer is revoked.
    signers = (tcb_signer, qe_signer, authority)
    if any(signer.serial in root_list.revoked for signer in signers):
        raise AttestationRefused(Reason.REVOKED, "a certificate that signed collateral")
    # (5) One TEE.
    tcb, qe = _read(collateral.tcb_info, _TcbInfo), _read(collateral.qe_identity, _QeIdentity)
    if (tcb.tee, qe.enclave) not in {("SGX", "QE"), ("TDX", "TD_QE")}:
        raise AttestationRefused(Reason.COLLATERAL_MISMATCH, f"TCB info of {tcb.tee} with QE identity {qe.enclave}")
    # (6) Inside every validity. The end is inclusive for JSON and certificates, exclusive for lists.
    windows = [
        *((_seconds(document.issued), _seconds(document.expires)) for document in (tcb, qe)),
        *((certificate.valid_from_s, certificate.valid_until_s) for certificate in (root, *signers)),
        *((revocations.issued_s, revocations.expires_s - 1) for revocations in (root_list, pck_list)),
    ]
    for first_s, last_s in windows:
        _check_window(first_s, last_s, now_s)
    # (7) Not below the floor.
    at = CollateralFloor(
        tcb_evaluation=_natural(tcb.evaluation),
        qe_evaluation=_natural(qe.evaluation),
        tcb_issued=_natural(_seconds(tcb.issued)),
        qe_issued=_natural(_seconds(qe.issued)),
        root_crl_issued=_natural(root_list.issued_s),
        pck_crl_issued=_natural(pck_list.issued_s),
    )
    if not floor.admits(at):
        raise AttestationRefused(Reason.COLLATERAL_ROLLBACK, "older than collateral already seen")
    return VerifiedCollateral._mint(  # noqa: SLF001 - the one place that makes it
        vendor=vendor,
        subject=_subject(vendor, authority_name, tcb),
        floor=at,
        pce_id=_hexadecimal(tcb.pce_id, 2),
        revoked=pck_list.revoked,
        until_ns=(min(last_s for _, last_s in windows) + 1) * _NANOSECONDS,
        encoded=msgspec.structs.replace(
            collateral,
            pck_crl_issuer_chain=authority.chain_pem,
            root_ca_crl=root_list.der,
            pck_crl=pck_list.der,
            tcb_info_issuer_chain=tcb_signer.chain_pem,
            qe_identity_issuer_chain=qe_signer.chain_pem,
        ),
    )


def _open_root(vendor: Vendor) -> IssuedCertificate:
    try:
        return open_root(vendor.root)
    except BadSignature as error:
        raise AttestationRefused(Reason.VENDOR, f"{vendor.name}: {error}") from error


def _open_signer(chain_pem: str, vendor: Vendor, root: IssuedCertificate) -> IssuedCertificate:
    try:
        signer = open_issued(chain_pem, root)
    except BadSignature as error:
        raise AttestationRefused(Reason.COLLATERAL_SIGNER, str(error)) from error
    if signer.common_name != vendor.tcb_signer or _SGX_EXTENSION in signer.extensions or signer.is_authority:
        raise AttestationRefused(Reason.COLLATERAL_SIGNER, signer.common_name)
    return signer


def _open_authority(
    collateral: Collateral, vendor: Vendor, root: IssuedCertificate
) -> tuple[IssuedCertificate, PckAuthority]:
    try:
        authority = open_issued(collateral.pck_crl_issuer_chain, root)
    except BadSignature as error:
        raise AttestationRefused(Reason.COLLATERAL_SIGNER, str(error)) from error
    if authority.is_authority and authority.common_name == vendor.processor_authority:
        return authority, "processor"
    if authority.is_authority and authority.common_name == vendor.platform_authority:
        return authority, "platform"
    raise AttestationRefused(Reason.COLLATERAL_SIGNER, authority.common_name)


def _check_signature(signer: IssuedCertificate, signature: bytes, document: str) -> None:
    try:
        signer.verify(signature, document.encode())
    except (BadSignature, UnicodeEncodeError) as error:
        raise AttestationRefused(Reason.COLLATERAL_SIGNER, str(error)) from error


def _open_list(issuer: IssuedCertificate, der: bytes) -> RevocationList:
    try:
        return issuer.open_revocation_list(der)
    except BadSignature as error:
        raise AttestationRefused(Reason.COLLATERAL_SIGNER, str(error)) from error


def _read(document: str, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(document, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AttestationRefused(Reason.MALFORMED, f"signed document: {error}") from error


def _subject(vendor: Vendor, authority: PckAuthority, tcb: _TcbInfo) -> CollateralSubject:
    return CollateralSubject(
        vendor=vendor.name,
        tee="sgx" if tcb.tee == "SGX" else "tdx",
        authority=authority,
        fmspc=_hexadecimal(tcb.fmspc, 6),
    )


def _hexadecimal(text: str, size: int) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError as error:
        raise AttestationRefused(Reason.MALFORMED, str(error)) from error
    if len(value) != size:
        raise AttestationRefused(Reason.MALFORMED, f"{len(value)} bytes where {size} are due")
    return value


def _seconds(instant: str) -> int:
    if _INSTANT.fullmatch(instant) is None:
        raise AttestationRefused(Reason.MALFORMED, f"time {instant!r}")
    try:
        return int(datetime.fromisoformat(instant).timestamp())
    except ValueError as error:
        raise AttestationRefused(Reason.MALFORMED, str(error)) from error


def _natural(value: int) -> int:
    if not 0 <= value < 1 << 63:
        raise AttestationRefused(Reason.MALFORMED, f"{value} is no number or time of collateral")
    return value


def _check_window(first_s: int, last_s: int, now_s: int) -> None:
    if not first_s <= now_s <= last_s:
        raise AttestationRefused(Reason.COLLATERAL_WINDOW, f"valid from {first_s} to {last_s}, now {now_s}")
