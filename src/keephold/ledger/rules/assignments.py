"""Who runs what: a deterministic choice among live workers, kept in three places that always agree.

A contract's record names its workers, a worker's roster names its contracts, and `Waiting` names the contracts that
still want workers. Everything that takes a worker away passes through `unassign`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from keephold.base.ids import ContractId, PublicKey
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import BlockContext, is_live
from keephold.protocol.state import (
    ContractRecord,
    Registration,
    Roll,
    Roster,
    Waiting,
    contract_path,
    registration_path,
    roll_path,
    roster_path,
    waiting_path,
)

MAX_OFFERS: Final = 256
"""Waiting contracts that one registration may be given; the next registration takes more."""

_ENDED: Final = ("refused", "suspended")


def accepts(state: Overlay, block: BlockContext, record: ContractRecord, worker: Registration) -> bool:
    """Say whether the contract's policy lets this worker run it, beside those that run it already."""
    # (1) Live, good enough, and not one whose derivation is disputed.
    if not is_live(worker, block) or worker.level > record.policy.level:
        return False
    if worker.identity in record.suspended or worker.identity in record.workers:
        return False
    # (2) Votes count only if one operator or one machine cannot cast two.
    if record.policy.quorum == 1:
        return True
    return all(
        other.operator != worker.operator and other.platform != worker.platform
        for other in _registrations(state, record.workers)
    )


def assign(state: Overlay, block: BlockContext, contract: ContractId, record: ContractRecord) -> ContractRecord:
    """Fill the contract's seats from live workers, those with the fewest contracts first; return its new record."""
    while len(record.workers) < record.policy.workers:
        roll = state.get(roll_path("worker"), Roll())
        candidates = [
            (len(_roster(state, worker.identity)), worker.identity)
            for worker in _registrations(state, tuple(entry.identity for entry in roll.entries))
            if accepts(state, block, record, worker)
        ]
        if not candidates:
            break
        record = _seat(state, contract, record, min(candidates)[1])
    return settle(state, contract, record)


def offer(state: Overlay, block: BlockContext, worker: Registration) -> None:
    """Give a worker that just registered the contracts that waited for one, in order of deployment."""
    given = 0
    for entry in state.get(waiting_path(), Waiting()).contracts:
        contract = ContractId(entry)
        record = state.find(contract_path(contract), ContractRecord)
        if record is not None and accepts(state, block, record, worker):
            settle(state, contract, _seat(state, contract, record, worker.identity))
            given += 1
        if given == MAX_OFFERS:
            break


def unassign(state: Overlay, block: BlockContext, identity: bytes, *, only: tuple[bytes, ...] | None = None) -> None:
    """Take contracts away from a worker (all of them, or `only` these) and give each to another, if there is one."""
    for entry in _roster(state, identity):
        if only is not None and entry not in only:
            continue
        contract = ContractId(entry)
        record = state.find(contract_path(contract), ContractRecord)
        if record is not None:
            assign(state, block, contract, dismiss(state, contract, record, identity))


def dismiss(state: Overlay, contract: ContractId, record: ContractRecord, identity: bytes) -> ContractRecord:
    """Return the record without this worker and its votes; its roster loses the contract.

    While keys are not agreed upon, its publication goes too: who is gone counts for nothing.
    """
    path = roster_path(PublicKey(identity))
    left = tuple(entry for entry in _roster(state, identity) if entry != contract)
    if left:
        state.put(path, Roster(left))
    else:
        state.delete(path)
    kept = record.publications
    if record.phase != "active":
        kept = tuple(item for item in record.publications if item.worker != identity)
    return replace(
        record,
        workers=tuple(worker for worker in record.workers if worker != identity),
        publications=kept,
        votes=tuple(vote for vote in record.votes if vote.worker != identity),
    )


def settle(state: Overlay, contract: ContractId, record: ContractRecord) -> ContractRecord:
    """Store the record with the phase that its workers and publications imply; keep `Waiting` in step."""
    if record.phase in ("waiting", "keying"):
        # Keys are agreed upon when two published the same, or the only worker did. Differing ones never meet here:
        # a dispute opens a new epoch at once.
        agreed = sum(item.worker in record.workers for item in record.publications)
        if record.workers and agreed >= min(2, len(record.workers)):
            record = replace(record, phase="active")
        else:
            record = replace(record, phase="keying" if record.workers else "waiting")
    if not record.publications:
        record = replace(record, signing_key=b"", encryption_key=b"")
    state.put(contract_path(contract), record)
    waiting = state.get(waiting_path(), Waiting()).contracts
    wants = record.phase not in _ENDED and len(record.workers) < record.policy.workers
    if wants != (contract in waiting):
        kept = (*waiting, contract) if wants else tuple(entry for entry in waiting if entry != contract)
        state.put(waiting_path(), Waiting(kept))
    return record


def roster(state: Overlay, identity: bytes) -> tuple[bytes, ...]:
    """Return the contracts assigned to a worker, sorted."""
    return _roster(state, identity)


def _seat(state: Overlay, contract: ContractId, record: ContractRecord, identity: bytes) -> ContractRecord:
    contracts = list(_roster(state, identity))
    insort(contracts, contract)
    state.put(roster_path(PublicKey(identity)), Roster(tuple(contracts)))
    return replace(record, workers=(*record.workers, identity))


def _roster(state: Overlay, identity: bytes) -> tuple[bytes, ...]:
    return state.get(roster_path(PublicKey(identity)), Roster()).contracts


def _registrations(state: Overlay, identities: tuple[bytes, ...]) -> Iterator[Registration]:
    for identity in identities:
        registration = state.find(registration_path(PublicKey(identity)), Registration)
        if registration is not None:
            yield registration
