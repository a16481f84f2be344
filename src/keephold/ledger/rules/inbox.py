"""Appending to an inbox: a hash chain, cut into batches, whatever kind the entry is.

A batch is what a worker executes at once, so it is bounded by entries, and not by what a block holds: calls of one
block have a quota, but whatever other contracts' results send arrives. What exceeds a batch begins another one.
"""

from __future__ import annotations

from msgspec.structs import replace

from keephold.base.ids import ContractId, Height
from keephold.base.limits import MAX_BATCH
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import Appended, BlockContext, refused
from keephold.protocol.channel import InboxEntry, LetterRecord, id_of, sender_of
from keephold.protocol.codec import encode
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Batch, ContractRecord, batch_path, contract_path, inbox_head, letter_path


def append(
    state: Overlay, block: BlockContext, contract: ContractId, record: ContractRecord, identity: bytes
) -> Appended:
    """Append a call by its transaction id; the caller has judged it."""
    return Appended(contract, _append(state, block, contract, record, identity))


def append_letter(state: Overlay, block: BlockContext, contract: ContractId, entry: InboxEntry) -> Appended:
    """Append what no account signed to the inbox of a contract.

    Raises:
        LedgerRefused: `unknown_contract`.
    """
    record = state.find(contract_path(contract), ContractRecord)
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    raw = encode(entry)
    identity = id_of(raw)
    index = record.inbox_count + 1
    state.put(letter_path(contract, index), LetterRecord(entry))
    _append(state, block, contract, record, identity, index)
    return Appended(contract, index, identity, raw, sender_of(entry))


def _append(
    state: Overlay,
    block: BlockContext,
    contract: ContractId,
    record: ContractRecord,
    identity: bytes,
    *letters: int,
) -> int:
    entry = record.inbox_count + 1
    opened = ("open batch", contract)
    first = entry - state.counted(*opened) % MAX_BATCH
    batch = state.get(batch_path(contract, first), Batch(block.height, record.inbox_head, ()))
    state.count(*opened)
    grown = replace(batch, entries=(*batch.entries, identity), letters=(*batch.letters, *letters))
    state.put(batch_path(contract, first), grown)
    head = inbox_head(record.inbox_head, entry, identity, Height(block.height))
    state.put(contract_path(contract), replace(record, inbox_count=entry, inbox_head=head))
    return entry
