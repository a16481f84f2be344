"""Registrations: who is an enclave, in which role, until when. One live instance an identity.

Nobody who relies on a registration believes this record: enclaves and clients fetch the transaction and verify it. The
rules verify it all the same, so that assignments and seats go only to enclaves that the others will accept.
"""

from __future__ import annotations

from typing import Final

from keephold.attestation.policy import check_anchor
from keephold.attestation.verify import VerifiedIdentity, unverified_subject, verify
from keephold.base.errors import AttestationRefused, CryptoError
from keephold.base.ids import ContractId, PublicKey
from keephold.crypto import signing
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.assignments import offer, roster, unassign
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, refused
from keephold.ledger.rules.roll import end, enrol
from keephold.ledger.rules.rotation import expel
from keephold.protocol.evidence import Claim, Collateral, Role, collateral_key
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    CollateralRecord,
    CommitteeRecord,
    ContractRecord,
    Registration,
    Roster,
    collateral_path,
    committee_path,
    contract_path,
    departed_path,
    registration_path,
)
from keephold.protocol.transactions import Register, Transaction

_ROLES: Final[dict[str, Role]] = {"worker": "worker", "gatekeeper": "gatekeeper"}


def register(state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes, body: Register) -> Applied:
    """Register the sender's instance, or renew its lease.

    Raises:
        LedgerRefused: `wrong_role`, `revoked`, `operator_unproven`, `anchor`, `attestation`, `superseded` or `seated`.
    """
    sender = PublicKey(transaction.sender)
    path = registration_path(sender)
    # (1) A role there is, and an identity that governance did not end.
    role = _ROLES.get(body.role)
    if role is None:
        raise refused(Refusal.WRONG_ROLE, "worker or gatekeeper")
    if sender in state.law.revoked:
        raise refused(Refusal.REVOKED, "revoked by governance")
    # (2) The operator vouches for this identity in this role on this network.
    try:
        signing.verify(body.operator, body.operator_signature, SIGN_OPERATOR, block.network, sender, body.role.encode())
    except CryptoError as error:
        raise refused(Refusal.OPERATOR_UNPROVEN, str(error)) from error
    # (3) The quote is younger than a recent block of this chain, and (4) the enclave is what it claims to be.
    _check_anchor(state, block, body)
    verified, collateral, judged_by = _verify(state, block, sender, role, body)
    # (5) An instance of its own: the evidence of one boot registers once.
    before = state.find(path, Registration)
    if before is not None and before.instance == body.instance:
        raise refused(Refusal.SUPERSEDED, "this instance is registered already")
    # (6) Seats stay seats, and independent of each other.
    _check_seat(state, sender, verified)
    after = Registration(
        identity=sender,
        role=role,
        operator=body.operator,
        instance=body.instance,
        encryption_key=body.encryption_key,
        transaction=identity,
        level=verified.level,
        measurement=verified.measurement,
        platform=verified.platform,
        vendor=verified.vendor.name,
        collateral=collateral,
        judged_by=judged_by,
        height=block.height,
        lease_ns=block.time_ns + state.law.timing.lease_ns,
    )
    if before is not None and before.status == "live" and before.role != role:
        end(state, block, before, "lapsed")
    state.put(path, after)
    enrol(state, after)
    if role == "worker":
        _revise(state, block, after)
        offer(state, block, after)
    return NOTHING


def _check_anchor(state: Overlay, block: BlockContext, body: Register) -> None:
    anchor = block.anchor(body.anchor_height)
    if anchor is None or anchor.hash != body.anchor_hash:
        raise refused(Refusal.ANCHOR, "not a recent block of this chain")
    try:
        check_anchor(state.law.attestation, anchor_ns=anchor.time_ns, now_ns=block.time_ns)
    except AttestationRefused as error:
        raise refused(Refusal.ANCHOR, error.detail) from error


def _verify(
    state: Overlay, block: BlockContext, sender: PublicKey, role: Role, body: Register
) -> tuple[VerifiedIdentity, bytes, bytes]:
    """Return what the evidence proves; path and transaction of the collateral that judged it."""
    claim = Claim(
        network=block.network,
        role=role,
        signing_key=sender,
        encryption_key=body.encryption_key,
        operator=body.operator,
        instance=body.instance,
        anchor_height=body.anchor_height,
        anchor_hash=body.anchor_hash,
    )
    try:
        path = collateral_path(collateral_key(unverified_subject(body.evidence)))
        collateral = state.attachment(path, Collateral)
        record = state.find(path, CollateralRecord)
        if collateral is None or record is None:
            raise refused(Refusal.ATTESTATION, "no collateral for this kind of platform on the ledger")
        verified = verify(
            body.evidence,
            claim,
            collateral,
            state.law.attestation,
            record.floor,
            network=block.network,
            now_ns=block.time_ns,
        )
    except AttestationRefused as error:
        raise refused(Refusal.ATTESTATION, str(error)) from error
    return verified, path, record.transaction


def _check_seat(state: Overlay, sender: PublicKey, verified: VerifiedIdentity) -> None:
    """Refuse to let a seat change its role, or meet another seat's operator or platform: `seated`.

    A seat about to be taken is one as well. Those in office and their successors are apart: an operator may well
    replace its own gatekeeper.
    """
    committee = state.get(committee_path(), CommitteeRecord())
    for seated in (committee.members, committee.successors):
        if sender in seated:
            _check_among(state, sender, verified, seated)


def _check_among(state: Overlay, sender: PublicKey, verified: VerifiedIdentity, seated: tuple[bytes, ...]) -> None:
    if verified.claim.role != "gatekeeper":
        raise refused(Refusal.SEATED, "a gatekeeper in office takes no other role")
    for member in seated:
        other = state.find(registration_path(PublicKey(member)), Registration)
        if member == sender or other is None:
            continue
        if other.operator == verified.claim.operator or other.platform == verified.platform:
            raise refused(Refusal.SEATED, "another seat has this operator or platform")


def _revise(state: Overlay, block: BlockContext, worker: Registration) -> None:
    """Take away the contracts that do not accept the worker any more, as it is now."""
    lost = []
    for contract in roster(state, worker.identity):
        record = state.find(contract_path(ContractId(contract)), ContractRecord)
        if record is not None and not _may_keep(state, worker, record):
            lost.append(contract)
    if lost:
        unassign(state, block, worker.identity, only=tuple(lost))
    # Demoted: where it is not good enough any more, the keys that it holds end too, if it left before as well. One
    # that merely moved next to another is no worse than it was.
    demoted = []
    for contract in state.get(departed_path(PublicKey(worker.identity)), Roster()).contracts:
        record = state.find(contract_path(ContractId(contract)), ContractRecord)
        if record is not None and worker.level > record.policy.level:
            demoted.append(contract)
    if demoted:
        expel(state, worker.identity, only=tuple(demoted))


def _may_keep(state: Overlay, worker: Registration, record: ContractRecord) -> bool:
    """Say whether a contract still accepts one of its workers, by level and, under a quorum, by independence."""
    if worker.level > record.policy.level:
        return False
    if record.policy.quorum == 1:
        return True
    others = (state.find(registration_path(PublicKey(other)), Registration) for other in record.workers)
    return not any(
        other is not None
        and other.identity != worker.identity
        and (other.operator == worker.operator or other.platform == worker.platform)
        for other in others
    )
