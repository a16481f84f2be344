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
from keephold.base.limits import MAX_CONTRACTS_PER_WORKER, MAX_DEPARTED
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import holders
from keephold.ledger.rules.context import BlockContext, is_live
from keephold.protocol.channel import EpochRecord
from keephold.protocol.rotation import is_agreed
from keephold.protocol.state import (
    ContractRecord,
    Departures,
    Due,
    Registration,
    Roll,
    Roster,
    Waiting,
    contract_path,
    departed_path,
    departures_path,
    due_path,
    epoch_path,
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
    # (2) With room left: deployments are cheap, and none may starve the contracts that are there.
    if len(_roster(state, worker.identity)) >= MAX_CONTRACTS_PER_WORKER:
        return False
    # (3) Votes count only if one operator or one machine cannot cast two.
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

    While keys are not agreed upon, its publication goes too: who is gone counts for nothing. That it may hold the keys
    is noted until their epoch ends.
    """
    _put_roster(state, roster_path(PublicKey(identity)), _without(_roster(state, identity), contract))
    record = replace(
        record,
        workers=_without(record.workers, identity),
        votes=tuple(vote for vote in record.votes if vote.worker != identity),
    )
    if record.phase in ("waiting", "keying"):
        kept = tuple(item for item in record.publications if item.worker != identity)
        record = replace(record, publications=kept)
    elif record.rotation and not record.rotation[0].pages:
        rotation = record.rotation[0]
        kept = tuple(item for item in rotation.publications if item.worker != identity)
        record = replace(record, rotation=(replace(rotation, publications=kept),))
    return _depart(state, contract, record, identity)


def settle(state: Overlay, contract: ContractId, record: ContractRecord) -> ContractRecord:
    """Store the record with the phase that its workers and publications imply; keep `Waiting` and `holders` in step."""
    if record.phase in ("waiting", "keying"):
        if is_agreed(record.publications, record.workers):
            record = replace(record, phase="active")
            begin_epoch(state, contract, record.epoch)
        else:
            record = replace(record, phase="keying" if record.workers else "waiting")
    if not record.publications:
        record = replace(record, signing_key=b"", encryption_key=b"")
    holders.note(state, contract, state.find(contract_path(contract), ContractRecord), record)
    state.put(contract_path(contract), record)
    waiting = state.get(waiting_path(), Waiting()).contracts
    wants = record.phase not in _ENDED and len(record.workers) < record.policy.workers
    if wants != (contract in waiting):
        kept = (*waiting, contract) if wants else tuple(entry for entry in waiting if entry != contract)
        state.put(waiting_path(), Waiting(kept))
    return record


def begin_epoch(state: Overlay, contract: ContractId, epoch: int) -> None:
    """Note in which block a key epoch begins: messages sent from the next block on are sealed under it."""
    state.put(epoch_path(contract, epoch), EpochRecord(state.base.height + 1))


def roster(state: Overlay, identity: bytes) -> tuple[bytes, ...]:
    """Return the contracts assigned to a worker, sorted."""
    return _roster(state, identity)


def stay(state: Overlay, contract: ContractId, record: ContractRecord) -> ContractRecord:
    """Return the record with nobody departed: the epoch whose keys they may hold ends."""
    for identity in record.departed:
        path = departed_path(PublicKey(identity))
        left = _without(state.get(path, Roster()).contracts, contract)
        _put_roster(state, path, left)
        if not left:
            _put_departures(state, _without(state.get(departures_path(), Departures()).workers, identity))
    return replace(record, departed=())


def put_due(state: Overlay, contract: bytes) -> None:
    """Have a contract's key epoch ended as soon as a block has room for it."""
    due = state.get(due_path(), Due()).contracts
    if contract not in due:
        state.put(due_path(), Due((*due, contract)))


def _depart(state: Overlay, contract: ContractId, record: ContractRecord, identity: bytes) -> ContractRecord:
    """Note that a worker which left may hold the keys of the present epoch, on both sides."""
    if identity in record.departed:
        return record
    path = departed_path(PublicKey(identity))
    left = state.get(path, Roster()).contracts
    if not left:
        workers = state.get(departures_path(), Departures()).workers
        _put_departures(state, tuple(sorted((*workers, identity))))
    _put_roster(state, path, tuple(sorted((*left, contract))))
    if len(record.departed) + 1 >= MAX_DEPARTED:
        put_due(state, contract)
    return replace(record, departed=(*record.departed, identity))


def _put_departures(state: Overlay, workers: tuple[bytes, ...]) -> None:
    if workers:
        state.put(departures_path(), Departures(workers))
    else:
        state.delete(departures_path())


def _put_roster(state: Overlay, path: bytes, contracts: tuple[bytes, ...]) -> None:
    if contracts:
        state.put(path, Roster(contracts))
    else:
        state.delete(path)


def _without(entries: tuple[bytes, ...], gone: bytes) -> tuple[bytes, ...]:
    return tuple(entry for entry in entries if entry != gone)


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
