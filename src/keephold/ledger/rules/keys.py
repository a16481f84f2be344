"""Contract keys: asked for by assigned workers, released by seated gatekeepers, published by those who derived them.

The ledger carries partials and believes publications only as far as workers agree; gatekeepers and clients verify for
themselves. What the rules add is order: one epoch at a time, and a dispute ends it for all who took part.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from keephold.base.errors import BadKey
from keephold.base.ids import ContractId
from keephold.base.limits import MAX_KEY_ITEMS, MAX_SEALED_PARTIALS
from keephold.crypto import hpke, signing
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import PUBLICATION
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.assignments import assign, dismiss, settle
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, check_instance, live_registration, refused
from keephold.protocol.lines import ChannelLine, parties
from keephold.protocol.refusals import Refusal
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import (
    CommitteeRecord,
    ContractRecord,
    Publication,
    Rotation,
    committee_path,
    contract_path,
)
from keephold.protocol.transactions import KeyRelease, KeyRequest, PublishKey, RefuseCode, Transaction


def request(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: KeyRequest) -> Applied:
    """Ask for keys; the gatekeepers answer what they can justify.

    Raises:
        LedgerRefused: those of `live_registration`; `superseded`, `wrong_phase`, `too_large`, `unknown_contract`,
            `not_assigned` or `wrong_epoch`.
    """
    # (1) A live worker, this instance of it.
    worker = live_registration(state, block, transaction.sender, "worker")
    check_instance(worker, body.instance)
    # (2) There is somebody to answer, and the question is bounded.
    if not state.get(committee_path(), CommitteeRecord()).keys:
        raise refused(Refusal.WRONG_PHASE, "no committee in office yet")
    if not 1 <= len(body.items) <= MAX_KEY_ITEMS or len(set(body.items)) != len(body.items):
        raise refused(Refusal.TOO_LARGE, f"1 to {MAX_KEY_ITEMS} different lines")
    # (3) Assigned to the contract, or to one end of the channel, in epochs that are present or on their way in; of a
    # channel, also in those that passed: whether something still waits under them is for the gatekeepers to see.
    for line in body.items:
        records = [(_record(state, party.contract), party.epoch) for party in parties(line)]
        if not any(transaction.sender in record.workers for record, _ in records):
            raise refused(Refusal.NOT_ASSIGNED)
        for record, epoch in records:
            if epoch is not None and not (isinstance(line, ChannelLine) and epoch < record.epoch):
                _check_epoch(epoch, *open_epochs(record))
    return NOTHING


def release(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: KeyRelease) -> Applied:
    """Carry one gatekeeper's partials to the instance that asked.

    Raises:
        LedgerRefused: those of `live_registration`; `not_seated`, `superseded` or `too_large`.
    """
    # (1) A gatekeeper in office, with a live lease.
    live_registration(state, block, transaction.sender, "gatekeeper")
    committee = state.get(committee_path(), CommitteeRecord())
    if not any(seat.member == transaction.sender for keys in committee.keys for seat in keys.seats):
        raise refused(Refusal.NOT_SEATED, "no gatekeeper in office")
    # (2) For a live worker, and the instance whose key sealed it.
    check_instance(live_registration(state, block, body.worker, "worker"), body.instance)
    # (3) Bounded.
    if len(body.sealed) > MAX_SEALED_PARTIALS:
        raise refused(Refusal.TOO_LARGE, f"partials have at most {MAX_SEALED_PARTIALS} bytes")
    return NOTHING


def publish(
    state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes, body: PublishKey
) -> Applied:
    """Vouch for a contract's public keys; agreement activates the contract, disagreement is a dispute.

    Raises:
        LedgerRefused: those of `live_registration`; `superseded`, `unknown_contract`, `not_assigned`, `wrong_epoch`,
            `already_published` or `malformed`.
    """
    contract = ContractId(body.contract)
    # (1) A live worker, this instance of it, assigned, in the newest epoch.
    worker = live_registration(state, block, transaction.sender, "worker")
    check_instance(worker, body.instance)
    record = _assigned(state, contract, transaction.sender)
    _check_epoch(body.epoch, open_epochs(record)[-1])
    rotation = record.rotation[0] if record.rotation else None
    published = record.publications if rotation is None else rotation.publications
    # (2) Once.
    if any(item.worker == transaction.sender for item in published):
        raise refused(Refusal.ALREADY_PUBLISHED, "by this worker, in this epoch")
    # (3) Keys that can be used.
    try:
        signing.check_public(body.signing_key)
        hpke.check_public(body.encryption_key)
    except BadKey as error:
        raise refused(Refusal.MALFORMED, str(error)) from error
    digest = tagged_hash(PUBLICATION, contract, number(body.epoch), body.signing_key, body.encryption_key)
    # (4) The same as everyone before, or a dispute.
    if any(item.digest != digest for item in published):
        _dispute(state, block, contract, record, transaction.sender)
        return NOTHING
    if record.phase == "active" or (rotation is not None and rotation.pages):
        # Those who left vouch no more once others do: the list stays as short as the assignment.
        published = tuple(item for item in published if item.worker in record.workers)
    changes: dict[str, Any] = {
        "publications": (*published, Publication(transaction.sender, identity, digest)),
        "signing_key": body.signing_key,
        "encryption_key": body.encryption_key,
    }
    if rotation is not None:
        changes = {"rotation": (replace(rotation, **changes),)}
    settle(state, contract, replace(record, **changes))
    return NOTHING


def refuse_code(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: RefuseCode) -> Applied:
    """End a contract whose code the sandbox does not load, before it ever ran.

    Raises:
        LedgerRefused: those of `live_registration`; `superseded`, `unknown_contract`, `not_assigned` or
            `already_published`: code that once loaded cannot be refused.
    """
    contract = ContractId(body.contract)
    worker = live_registration(state, block, transaction.sender, "worker")
    check_instance(worker, body.instance)
    record = _assigned(state, contract, transaction.sender)
    if record.publications:
        raise refused(Refusal.ALREADY_PUBLISHED, "this code was loaded by a worker")
    reason = f"line {body.line}: {body.reason}" if body.line else body.reason
    for assigned in record.workers:
        record = dismiss(state, contract, record, assigned)
    settle(state, contract, replace(record, phase="refused", refusal=reason))
    return NOTHING


def _dispute(state: Overlay, block: BlockContext, contract: ContractId, record: ContractRecord, sender: bytes) -> None:
    """Suspend the disputants.

    While nothing is sealed under the keys they are in doubt themselves: all who published are suspended and the next
    epoch takes their place. Afterwards the epoch stays, for state is sealed under it: only the newcomer who disagrees
    is suspended (docs/adr/0010).
    """
    disputants: tuple[bytes, ...] = (sender,)
    if record.rotation:
        rotation = record.rotation[0]
        if not rotation.pages:
            disputants = (*(item.worker for item in rotation.publications), sender)
            record = replace(record, rotation=(Rotation(rotation.to_epoch + 1, drain=rotation.drain),))
    elif not record.version:
        disputants = (*(item.worker for item in record.publications), sender)
        record = replace(record, epoch=record.epoch + 1, publications=(), votes=(), phase="waiting")
    record = replace(record, suspended=(*record.suspended, *disputants))
    for worker in disputants:
        if worker in record.workers:
            record = dismiss(state, contract, record, worker)
    assign(state, block, contract, record)


def _record(state: Overlay, contract: bytes) -> ContractRecord:
    record = state.find(contract_path(ContractId(contract)), ContractRecord)
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    return record


def _assigned(state: Overlay, contract: bytes, worker: bytes) -> ContractRecord:
    record = _record(state, contract)
    if worker not in record.workers:
        raise refused(Refusal.NOT_ASSIGNED)
    return record


def _check_epoch(epoch: int, *present: int) -> None:
    if epoch not in present:
        raise refused(Refusal.WRONG_EPOCH, f"epoch {epoch}, present {' and '.join(map(str, present))}")
