"""Fetch collateral from a caching service of the vendor's kind (PCCS, version 4 of its interface).

Nothing that comes from there is believed: what is wrong with it, `collateral.bring` or the ledger refuses. Only sizes
are bounded here. Tried against a server of the tests that speaks as we know the interface; **never against a vendor**.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote

import httpx2
import msgspec

from keephold.base.errors import InputError, NodeUnreachable
from keephold.base.limits import MAX_COLLATERAL_PART
from keephold.protocol.evidence import Collateral, PckAuthority, Tee

_TIMEOUT_S: Final = 30.0
_DER_SEQUENCE: Final = 0x30
_SIGNATURE: Final = 64


class _TcbInfo(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="tcbInfo")
    signature: str


class _Identity(msgspec.Struct, frozen=True):
    document: msgspec.Raw = msgspec.field(name="enclaveIdentity")
    signature: str


def fetch(url: str, *, vendor: str, tee: Tee, authority: PckAuthority, fmspc: bytes) -> Collateral:
    """Return the collateral of one kind of platform from the service at `url`; nothing of it is verified.

    Raises:
        NodeUnreachable: the service does not answer, or with an error.
        InputError: what it answers is no collateral.
    """
    with httpx2.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as http:
        pck_crl, pck_chain = _get(
            http, f"/sgx/certification/v4/pckcrl?ca={authority}&encoding=der", "SGX-PCK-CRL-Issuer-Chain"
        )
        root_crl, _ = _get(http, "/sgx/certification/v4/rootcacrl", None)
        tcb, tcb_chain = _get(http, f"/{tee}/certification/v4/tcb?fmspc={fmspc.hex()}", "TCB-Info-Issuer-Chain")
        qe, qe_chain = _get(http, f"/{tee}/certification/v4/qe/identity", "SGX-Enclave-Identity-Issuer-Chain")
    try:
        tcb_info, identity = msgspec.json.decode(tcb, type=_TcbInfo), msgspec.json.decode(qe, type=_Identity)
        return Collateral(
            vendor=vendor,
            pck_crl_issuer_chain=pck_chain,
            root_ca_crl=_list(root_crl),
            pck_crl=_list(pck_crl),
            tcb_info_issuer_chain=tcb_chain,
            # Raw: the signature is over these characters, and another encoder's would differ.
            tcb_info=bytes(tcb_info.document).decode(),
            tcb_info_signature=_signature(tcb_info.signature),
            qe_identity_issuer_chain=qe_chain,
            qe_identity=bytes(identity.document).decode(),
            qe_identity_signature=_signature(identity.signature),
        )
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InputError(f"{url} answered what is no collateral: {error}") from error


def _get(http: httpx2.Client, path: str, chain: str | None) -> tuple[bytes, str]:
    """Return a body, and the certificate chain that its header carries, percent-encoded."""
    body = b""
    try:
        with http.stream("GET", path) as answer:
            if answer.status_code != httpx2.codes.OK:
                raise NodeUnreachable(f"{http.base_url}{path}: status {answer.status_code}")
            for part in answer.iter_bytes():
                body += part
                if len(body) > 2 * MAX_COLLATERAL_PART:  # a list in hexadecimal is twice its size
                    raise InputError(f"{http.base_url}{path}: more than any part of collateral")
            header = "" if chain is None else answer.headers.get(chain, "")
    except httpx2.HTTPError as error:
        raise NodeUnreachable(f"{http.base_url}{path}: {error}") from error
    if chain is not None and not header:
        raise InputError(f"{http.base_url}{path}: no {chain}")
    return body, unquote(header)


def _list(body: bytes) -> bytes:
    """Return a revocation list as DER, which begins with a sequence; the service writes some in hexadecimal."""
    return body if body[:1] == bytes([_DER_SEQUENCE]) else bytes.fromhex(body.decode("ascii"))


def _signature(text: str) -> bytes:
    signature = bytes.fromhex(text)
    if len(signature) != _SIGNATURE:
        raise ValueError(f"a signature of {len(signature)} bytes")
    return signature
