"""Key epochs: ended by the creator, or by the rules when a worker that may hold the keys is excluded.

Who may hold the keys of an epoch: the workers assigned, and those that left since it began (`departed`). Leaving by
itself ends no epoch: a lapsed lease says nothing bad about anyone, and the creator's next `Rotate` shuts out who left.
But an exclusion (revoked, delisted, demoted below what the contract accepts) ends the epoch of every contract that the
worker is or was assigned to within it, `MAX_ROTATIONS` in a block, the others in the blocks that follow.

An epoch can be given up for another one as long as nothing is sealed under it: in `keying`, or while the epoch before
still drains. Once slots are sealed under it the migration goes on to its end, and the next one follows at once.
"""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_ROTATIONS, MAX_SEALED_VALUE
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import dissents
from keephold.ledger.rules.assignments import begin_epoch, put_due, settle, stay
from keephold.ledger.rules.context import (
    NOTHING,
    Applied,
    BlockContext,
    check_instance,
    live_registration,
    refused,
)
from keephold.ledger.rules.voting import vote
from keephold.protocol.refusals import Refusal
from keephold.protocol.rotation import Page, is_of_epoch, may_migrate, migration_digest, migration_page
from keephold.protocol.state import (
    ContractRecord,
    Due,
    Roster,
    Rotation,
    contract_path,
    departed_path,
    due_path,
)
from keephold.protocol.transactions import Migration, Rotate, SubmitMigration, Transaction


def rotate(state: Overlay, _: BlockContext, transaction: Transaction, __: bytes, body: Rotate) -> Applied:
    """End the present key epoch, as its creator asks.

    Raises:
        LedgerRefused: `unknown_contract`, `not_creator`, `rotating` or `contract_not_active`.
    """
    contract = ContractId(body.contract)
    record = state.find(contract_path(contract), ContractRecord)
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    if transaction.sender != record.creator:
        raise refused(Refusal.NOT_CREATOR, "only its creator ends a contract's key epoch")
    if record.phase == "rotating":
        raise refused(Refusal.ROTATING, f"epoch {record.epoch} ends already")
    if record.phase != "active":
        raise refused(Refusal.CONTRACT_NOT_ACTIVE, f"phase {record.phase}")
    _begin(state, contract, record)
    return NOTHING


def submit(
    state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes, body: SubmitMigration
) -> Applied:
    """Count a worker's page; once enough workers said the same, it happens.

    Raises:
        LedgerRefused: those of `check_entitled` and `_check_next`; `not_drained`, `not_agreed`, `result_malformed` or
            `already_voted`.
    """
    migration = body.migration
    contract = ContractId(migration.contract)
    # (1) An assigned worker's live instance, and the rotation under way.
    record = check_entitled(state, block, transaction, body)
    # (2) Nothing is sealed anew before every call of the old epoch is consumed, and the new keys agreed upon.
    if record.rotation and record.done < record.rotation[0].drain:
        waiting = record.rotation[0].drain - record.done
        raise refused(Refusal.NOT_DRAINED, f"{waiting} entries of epoch {record.epoch} wait")
    if not may_migrate(record):
        raise refused(Refusal.NOT_AGREED, f"the keys of epoch {migration.to_epoch}")
    # (3) The next page, all of it, on the present state, and (4) well-formed.
    page = _check_next(state, contract, record, migration)
    _check_form(migration, page)
    # (5) It leads where it says.
    changes = [(tag, None) for tag, _ in page.slots] + [(write.tag, write.value) for write in migration.writes]
    slots = state.slot_map(contract).update(changes)
    if slots.root != migration.root:
        raise refused(Refusal.RESULT_MALFORMED, "its writes do not lead to its root")
    # (6) Each worker votes once for the next page.
    agreement = vote(state, transaction, identity, contract, record, lambda: migration_digest(migration))
    if agreement is None:
        return NOTHING
    # (7) It happens.
    state.write_slots(contract, changes, slots)
    rotation = replace(record.rotation[0], cursor=page.until, pages=record.rotation[0].pages + 1)
    after = replace(
        record,
        version=record.version + 1,
        state_root=slots.root,
        votes=(),
        settled=agreement.settled,
        rotation=(rotation,),
    )
    if page.is_last:
        _activate(state, contract, after, rotation)
    else:
        state.put(contract_path(contract), after)
    # (8) Who said otherwise is named.
    dissents.name(state, block, contract, "migration", agreement.outvoted, accepted=identity)
    return NOTHING


def check_entitled(
    state: Overlay, block: BlockContext, transaction: Transaction, body: SubmitMigration
) -> ContractRecord:
    """Return the contract's record if the sender may vote on its migration at all.

    Raises:
        LedgerRefused: those of `live_registration`; `superseded`, `unknown_contract`, `not_assigned`, `not_rotating`
            or `wrong_epoch`.
    """
    worker = live_registration(state, block, transaction.sender, "worker")
    check_instance(worker, body.instance)
    record = state.find(contract_path(ContractId(body.migration.contract)), ContractRecord)
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    if transaction.sender not in record.workers:
        raise refused(Refusal.NOT_ASSIGNED)
    if not record.rotation:
        raise refused(Refusal.NOT_ROTATING, f"phase {record.phase}")
    epochs = (record.epoch, record.rotation[0].to_epoch)
    if (body.migration.from_epoch, body.migration.to_epoch) != epochs:
        raise refused(Refusal.WRONG_EPOCH, f"from {epochs[0]} to {epochs[1]}")
    return record


def expel(state: Overlay, identity: bytes, *, only: tuple[bytes, ...] | None = None) -> None:
    """End the key epochs of which a worker that was just excluded may hold keys (all, or of `only` these contracts).

    The caller has unassigned it already: it can get no key of the epochs that begin.
    """
    for contract in state.get(departed_path(PublicKey(identity)), Roster()).contracts:
        if only is None or contract in only:
            put_due(state, contract)
    start_due(state)


def start_due(state: Overlay) -> None:
    """Begin what is due, oldest first, as far as this block has room."""
    due = state.get(due_path(), Due()).contracts
    begun = 0
    while begun < len(due) and state.counted("rotations") < MAX_ROTATIONS:
        contract = ContractId(due[begun])
        begun += 1
        record = state.find(contract_path(contract), ContractRecord)
        if record is not None:
            state.count("rotations")
            _begin(state, contract, record)
    if begun:
        if due[begun:]:
            state.put(due_path(), Due(due[begun:]))
        else:
            state.delete(due_path())


def _begin(state: Overlay, contract: ContractId, record: ContractRecord) -> None:
    """End an epoch: with the state sealed anew where there is one; at once where nothing is sealed under it."""
    rotation = record.rotation[0] if record.rotation else None
    if record.phase in ("waiting", "keying"):
        record = replace(record, epoch=record.epoch + 1, publications=())
    elif record.phase == "active":
        record = replace(record, phase="rotating", rotation=(Rotation(record.epoch + 1, drain=record.inbox_count),))
    elif rotation is not None and rotation.pages:
        record = replace(record, rotation=(replace(rotation, again=True),))
    elif rotation is not None:
        record = replace(record, rotation=(Rotation(rotation.to_epoch + 1, drain=rotation.drain),))
    settle(state, contract, stay(state, contract, record))


def _activate(state: Overlay, contract: ContractId, record: ContractRecord, rotation: Rotation) -> None:
    """Let the next epoch begin; the one before is closed for good, for epochs only rise."""
    active = replace(
        record,
        phase="active",
        epoch=rotation.to_epoch,
        publications=rotation.publications,
        signing_key=rotation.signing_key,
        encryption_key=rotation.encryption_key,
        rotation=(),
    )
    begin_epoch(state, contract, active.epoch)
    settle(state, contract, active)
    if rotation.again:
        put_due(state, contract)
        start_due(state)


def _check_next(state: Overlay, contract: ContractId, record: ContractRecord, migration: Migration) -> Page:
    """Return the page that the migration has to be of.

    Raises:
        LedgerRefused: `wrong_pre_state` or `out_of_order`.
    """
    if migration.version != record.version or migration.pre_root != record.state_root:
        raise refused(Refusal.WRONG_PRE_STATE, f"version {migration.version}, present {record.version}")
    cursor = record.rotation[0].cursor
    page = migration_page(state.slot_map(contract), cursor, migration.to_epoch)
    if (migration.after, migration.until, migration.is_last) != (cursor, page.until, page.is_last):
        raise refused(Refusal.OUT_OF_ORDER, "not the page behind the cursor")
    return page


def _check_form(migration: Migration, page: Page) -> None:
    """Refuse a page with two spellings, more slots than it takes, or slots of another epoch: `result_malformed`."""
    tags = [write.tag for write in migration.writes]
    if len(tags) > len(page.slots) or any(left >= right for left, right in pairwise((bytes(32), *tags))):
        raise refused(Refusal.RESULT_MALFORMED, "no more slots than before, sorted, none twice")
    if any(len(write.value) > MAX_SEALED_VALUE for write in migration.writes):
        raise refused(Refusal.RESULT_MALFORMED, f"a slot has at most {MAX_SEALED_VALUE} bytes")
    if not all(is_of_epoch(write.value, migration.to_epoch) for write in migration.writes):
        raise refused(Refusal.RESULT_MALFORMED, f"a slot that is not of epoch {migration.to_epoch}")
