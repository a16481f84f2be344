"""Vendor collateral from the outside: read what a file says, judge it as the ledger will, bring it, tell what is there.

Collateral is public and signed by the vendor, so whoever brings it is trusted with nothing; without it no enclave is
admitted, and it expires, so somebody has to bring it again and again. What the ledger would refuse is refused here
first, against the law and the floor that this client proves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, final

import msgspec

from keephold.attestation.collateral import VerifiedCollateral, unverified_subject, verify_collateral
from keephold.base.errors import AttestationRefused, InputError, LedgerRefused, ProofInvalid
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.outside import outside_network
from keephold.client.patience import within
from keephold.protocol.codec import decode
from keephold.protocol.evidence import Collateral, CollateralFloor, CollateralSubject, collateral_key
from keephold.protocol.governance import Constitution
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CollateralRecord, collateral_path
from keephold.protocol.transactions import UpdateCollateral, open_signed

_Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-fA-F]{2})*$")]
SOON_NS: Final = 7 * 86_400 * 10**9
"""What expires within this is warned about."""


class Bundle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of collateral: JSON, field for field DCAP's `quote3` collateral; lists and signatures in hexadecimal."""

    pck_crl_issuer_chain: str
    root_ca_crl: _Hex
    pck_crl: _Hex
    tcb_info_issuer_chain: str
    tcb_info: str
    """Character by character as the vendor signed it."""
    tcb_info_signature: _Hex
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: _Hex


def parse_bundle(raw: bytes, vendor: str) -> Collateral:
    """Return the collateral in a file; nothing of it is verified.

    Raises:
        InputError: it is no such file.
    """
    try:
        bundle = msgspec.json.decode(raw, type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"not a collateral bundle: {error}") from error
    return Collateral(
        vendor=vendor,
        pck_crl_issuer_chain=bundle.pck_crl_issuer_chain,
        root_ca_crl=bytes.fromhex(bundle.root_ca_crl),
        pck_crl=bytes.fromhex(bundle.pck_crl),
        tcb_info_issuer_chain=bundle.tcb_info_issuer_chain,
        tcb_info=bundle.tcb_info,
        tcb_info_signature=bytes.fromhex(bundle.tcb_info_signature),
        qe_identity_issuer_chain=bundle.qe_identity_issuer_chain,
        qe_identity=bundle.qe_identity,
        qe_identity_signature=bytes.fromhex(bundle.qe_identity_signature),
    )


def bundle_of(collateral: Collateral) -> bytes:
    """Return collateral as a file."""
    fields = {name: getattr(collateral, name) for name in Bundle.__struct_fields__}
    shown = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    return msgspec.json.encode(Bundle(**shown))


@final
@dataclass(frozen=True, slots=True)
class OnLedger:
    """The collateral of one kind of platform, as the ledger has it."""

    subject: CollateralSubject
    time_ns: int
    """Of the newest block."""
    verified: VerifiedCollateral | None
    """None if the ledger has none, or what it has holds no more."""
    reason: str
    """Why there is none; empty if there is."""
    floor: CollateralFloor
    """What the next one has to be above."""


async def subjects(connection: Connection, more: Iterable[Collateral] = ()) -> tuple[CollateralSubject, ...]:
    """Return the kinds of platform that live enclaves are, and those that files are about.

    Raises:
        AttestationRefused: a file of no vendor of the policy, or not its authority's.
        ChainRefused, NodeUnreachable
    """
    policy = (await lawful(connection)).attestation
    seen = await outside_network(connection)
    named = sorted({item.judged_by for item in (*seen.workers, *seen.gatekeepers)})
    brought = await connection.follower.transactions(named)
    bodies = [open_signed(raw, connection.network).body for raw in brought.values()]
    told = [body.collateral for body in bodies if isinstance(body, UpdateCollateral)]
    return tuple(sorted({unverified_subject(item, policy) for item in (*told, *more)}, key=collateral_key))


async def lawful(connection: Connection) -> Constitution:
    """Return the law in force.

    Raises:
        ChainRefused, NodeUnreachable
    """
    return (await connection.follower.law()).at(connection.follower.view.time_ns)


async def survey(connection: Connection, more: Iterable[Collateral] = ()) -> tuple[OnLedger, ...]:
    """Return what the ledger has for every kind of platform that `subjects` names.

    Raises:
        As `subjects`.
    """
    return tuple([await on_ledger(connection, subject) for subject in await subjects(connection, more)])


async def on_ledger(connection: Connection, subject: CollateralSubject) -> OnLedger:
    """Return what the ledger has for a kind of platform, judged by now's law and time.

    Raises:
        ChainRefused, NodeUnreachable
    """
    follower = connection.follower
    policy = (await lawful(connection)).attestation
    path = collateral_path(collateral_key(subject))
    raw = (await follower.prove([path]))[path]
    now_ns = follower.view.time_ns
    if raw is None:
        return OnLedger(subject, now_ns, None, "none was ever brought", CollateralFloor())
    record = decode(raw, CollateralRecord)
    brought = (await follower.transactions([record.transaction])).get(record.transaction)
    if brought is None:
        raise ProofInvalid("the node does not have the collateral's transaction")
    body = open_signed(brought, connection.network).body
    if not isinstance(body, UpdateCollateral):
        raise ProofInvalid("the collateral's transaction is not one")
    try:
        verified = verify_collateral(body.collateral, policy, CollateralFloor(), now_ns=now_ns)
    except AttestationRefused as error:
        return OnLedger(subject, now_ns, None, str(error), record.floor)
    return OnLedger(subject, now_ns, verified, "", record.floor)


async def bring(connection: Connection, account: Account, collateral: Collateral, deadline: float) -> bool:
    """Put collateral on the ledger as `account`; False if the ledger has nothing older to replace.

    Raises:
        AttestationRefused: the ledger would refuse it: vendor, signatures, validity, or older than what is there.
        LedgerRefused: it did refuse it.
        TimeoutError: not there after `deadline` seconds.
        ChainRefused, NodeUnreachable
    """
    async with within(asyncio.get_running_loop().time() + deadline):
        # (1) As the rules do: under the vendor's root, current, and not below what is there.
        policy = (await lawful(connection)).attestation
        present = await on_ledger(connection, unverified_subject(collateral, policy))
        verified = verify_collateral(collateral, policy, present.floor, now_ns=present.time_ns)
        if verified.subject != present.subject:
            raise LedgerRefused(Refusal.COLLATERAL.word, "another subject than it was looked up by")
        if verified.floor == present.floor:
            return False
        # (2) Brought once the proven record is at least as new; another one may have come first.
        await connection.effect(
            await connection.transact(account, UpdateCollateral(collateral)),
            collateral_path(collateral_key(present.subject)),
            lambda raw: raw is not None and verified.floor.admits(decode(raw, CollateralRecord).floor),
        )
    return True
