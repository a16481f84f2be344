"""Results: what assigned workers say a batch did, accepted in order, on the right state, by quorum where asked.

The rules cannot judge the content: it is sealed, and deterministic, so that honest workers say the same. They enforce
that an accepted result is the next one, that it leads to the state root it names, and that nothing in it is left to a
worker's choice but where it ends.

What an accepted result sends to other contracts happens with it, or not at all (`messages`).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from keephold.base.ids import ContractId, Height
from keephold.base.limits import MAX_BATCH, MAX_EVENTS, MAX_SEALED_RECEIPT, MAX_SEALED_VALUE, MAX_WRITES
from keephold.chain import merkle
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import dissents, messages
from keephold.ledger.rules.context import (
    NOTHING,
    Applied,
    BlockContext,
    Consumed,
    check_instance,
    live_registration,
    refused,
)
from keephold.ledger.rules.voting import vote
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    Batch,
    ContractRecord,
    batch_path,
    contract_path,
    inbox_head,
    receipt_leaf,
    result_digest,
)
from keephold.protocol.transactions import Result, SubmitResult, Transaction

_NO_BATCH: Final = Batch(height=(1 << 63) - 1, before=bytes(32), entries=())


def submit(
    state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes, body: SubmitResult
) -> Applied:
    """Count a worker's result; once enough workers said the same, it happens.

    Raises:
        LedgerRefused: those of `check_entitled`, `_check_form` and `_check_next`; `result_malformed`, `already_voted`.
    """
    result = body.result
    contract = ContractId(result.contract)
    # (1) An assigned worker's live instance, (2) a well-formed result, (3) the next one.
    record = check_entitled(state, block, transaction, body)
    _check_form(result)
    batch = _check_next(state, block, contract, record, result)
    letters = messages.letters_of(state, batch, result)
    messages.check(letters, result)
    # (4) It leads where it says.
    writes = [(write.tag, write.value or None) for write in result.writes]
    slots = state.slot_map(contract).update(writes)
    if slots.root != result.root:
        raise refused(Refusal.RESULT_MALFORMED, "its writes do not lead to its root")
    # (5) Each worker votes once for the next result.
    agreement = vote(state, transaction, identity, contract, record, lambda: result_digest(result))
    if agreement is None:
        return NOTHING
    # (6) It happens.
    state.write_slots(contract, writes, slots)
    state.put(
        contract_path(contract),
        replace(
            record,
            done=record.done + result.count,
            version=record.version + 1,
            state_root=slots.root,
            votes=(),
            settled=agreement.settled,
        ),
    )
    _consume(state, contract, batch, result)
    # (7) Who said otherwise is named.
    dissents.name(state, block, contract, "result", agreement.outvoted, accepted=identity)
    leaves = [
        receipt_leaf(contract, entry, call, receipt)
        for entry, (call, receipt) in enumerate(zip(batch.entries, result.receipts, strict=False), result.first)
    ]
    consumed = Consumed(contract, result.first, result.count)
    return Applied((consumed, *messages.carry(state, block, letters, result)), merkle.root(leaves))


def check_entitled(state: Overlay, block: BlockContext, transaction: Transaction, body: SubmitResult) -> ContractRecord:
    """Return the contract's record if the sender may vote on its results at all.

    Raises:
        LedgerRefused: those of `live_registration`; `superseded`, `unknown_contract`, `not_assigned`,
            `contract_not_active` or `wrong_epoch`.
    """
    worker = live_registration(state, block, transaction.sender, "worker")
    check_instance(worker, body.instance)
    record = state.find(contract_path(ContractId(body.result.contract)), ContractRecord)
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    if transaction.sender not in record.workers:
        raise refused(Refusal.NOT_ASSIGNED)
    if record.phase not in ("active", "rotating"):
        raise refused(Refusal.CONTRACT_NOT_ACTIVE, f"phase {record.phase}")
    if body.result.epoch != record.epoch:
        raise refused(Refusal.WRONG_EPOCH, f"epoch {body.result.epoch}, present {record.epoch}")
    return record


def _check_form(result: Result) -> None:
    """Refuse a result with two spellings, or without bounds: `result_malformed`."""
    if result.count != len(result.receipts) or result.count > MAX_BATCH:
        raise refused(Refusal.RESULT_MALFORMED, "one receipt an entry, within one batch")
    if any(len(receipt) > MAX_SEALED_RECEIPT for receipt in result.receipts):
        raise refused(Refusal.RESULT_MALFORMED, f"a receipt has at most {MAX_SEALED_RECEIPT} bytes")
    tags = [write.tag for write in result.writes]
    # Tag 0 stands for "from the start" wherever slots are paged: nothing may lie there.
    if len(tags) > MAX_WRITES or any(left >= right for left, right in pairwise((bytes(32), *tags))):
        raise refused(Refusal.RESULT_MALFORMED, f"at most {MAX_WRITES} writes, sorted, none twice")
    if any(len(write.value) > MAX_SEALED_VALUE for write in result.writes):
        raise refused(Refusal.RESULT_MALFORMED, f"a slot has at most {MAX_SEALED_VALUE} bytes")
    if len(result.events) > MAX_EVENTS:
        raise refused(Refusal.RESULT_MALFORMED, f"at most {MAX_EVENTS} events")


def _check_next(
    state: Overlay, block: BlockContext, contract: ContractId, record: ContractRecord, result: Result
) -> Batch:
    """Return the batch that the result consumes a part of.

    Raises:
        LedgerRefused: `out_of_order`, `rotating` or `wrong_pre_state`.
    """
    # (1) Exactly the next entries, which one earlier block appended.
    if result.first != record.done + 1:
        raise refused(Refusal.OUT_OF_ORDER, f"first {result.first}, expected {record.done + 1}")
    batch = state.get(batch_path(contract, result.first), _NO_BATCH)
    if batch.height >= block.height or result.count > len(batch.entries):
        raise refused(Refusal.OUT_OF_ORDER, "entries that are not there, or of two blocks")
    # (2) These entries and no others: the hash chain up to the last one consumed.
    head = batch.before
    for index, entry in enumerate(batch.entries[: result.count], result.first):
        head = inbox_head(head, index, entry, Height(batch.height))
    if head != result.head:
        raise refused(Refusal.OUT_OF_ORDER, "another inbox head")
    # (3) The old epoch of a change consumes what came before the change.
    if record.rotation and result.first + result.count - 1 > record.rotation[0].drain:
        raise refused(Refusal.ROTATING, f"entries after {record.rotation[0].drain} wait for the next epoch")
    # (4) On the present state.
    if result.version != record.version or result.pre_root != record.state_root:
        raise refused(Refusal.WRONG_PRE_STATE, f"version {result.version}, present {record.version}")
    return batch


def _consume(state: Overlay, contract: ContractId, batch: Batch, result: Result) -> None:
    """Take the consumed entries off the batch; what remains is found under its own first entry."""
    state.delete(batch_path(contract, result.first))
    rest = batch.entries[result.count :]
    if rest:
        following = result.first + result.count
        letters = tuple(index for index in batch.letters if index >= following)
        state.put(batch_path(contract, following), Batch(batch.height, result.head, rest, letters))
