"""Whatever is fed to an inbox, what it calls proven is what the hash chain says."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from worker_ledger import Ledger

from keephold.base.errors import ProofInvalid
from keephold.base.limits import MAX_BATCH
from keephold.crypto.hashing import sha256
from keephold.worker.inbox import Inbox, head_before

EMPTY = bytes(32)


def raws(start: int, count: int) -> list[bytes]:
    return [b"call %d" % at for at in range(start, start + count)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["whole", "none", "invented", "short"])), max_size=12))
def test_proven_entries_are_the_ledgers_entries(blocks):
    ledger, inbox, made = Ledger(), Inbox(0, EMPTY), 0
    for count, shown in blocks:
        calls = ledger.order(*raws(made, count))
        made += count
        height = ledger.height - 1
        if inbox.tip == ledger.record.inbox_count - count:
            told = {"whole": calls, "none": [], "short": calls[:-1]}.get(shown)
            if told is None:
                told = [(sha256(b"invented"), b"invented"), *calls]
            inbox.follow(ledger.ordering(height), told)
        inbox.confirm(ledger.record.inbox_count, ledger.record.inbox_head)
        inbox.settle(ledger.height)
        while inbox.proven < ledger.record.inbox_count:
            inbox.extend(ledger.batch(inbox.proven + 1))
        assert inbox.tip == inbox.proven == ledger.record.inbox_count
        assert inbox.head_at(inbox.tip) == ledger.record.inbox_head
    ids = [identity for _, batch in ledger.batches for identity in batch.entries]
    seen, at = [], 0
    while batch := inbox.batch_after(at):
        assert len({entry.ordering.height for entry in batch}) == 1
        seen += [entry.id for entry in batch]
        at = batch[-1].index
        inbox.consume(at)
    assert seen == ids


def test_a_batch_on_another_head_does_not_continue_the_inbox():
    ledger, inbox = Ledger(), Inbox(0, EMPTY)
    inbox.follow(ledger.ordering(1), ledger.order(*raws(0, 2)))
    inbox.confirm(2, ledger.record.inbox_head)
    ledger.order(*raws(2, 2))
    good = ledger.batch(3)
    with pytest.raises(ProofInvalid, match="does not continue"):
        inbox.extend(good._replace(batch=replace(good.batch, before=b"x" * 32)))
    assert inbox.tip == 2
    inbox.extend(good)
    assert inbox.tip == 4


def test_a_rewritten_past_is_an_error():
    ledger, inbox = Ledger(), Inbox(0, EMPTY)
    inbox.follow(ledger.ordering(1), ledger.order(*raws(0, 2)))
    inbox.confirm(2, ledger.record.inbox_head)
    with pytest.raises(ProofInvalid):
        inbox.confirm(2, b"x" * 32)


def test_a_block_below_the_newest_entry_is_not_appended_again():
    ledger, inbox = Ledger(), Inbox(0, EMPTY)
    calls = ledger.order(*raws(0, 2))
    inbox.follow(ledger.ordering(1), calls)
    inbox.follow(ledger.ordering(1), calls)
    assert inbox.tip == 2


def test_no_more_than_a_batch_is_taken_from_a_block():
    inbox = Inbox(0, EMPTY)
    inbox.follow(Ledger().ordering(1), [(sha256(raw), raw) for raw in raws(0, MAX_BATCH + 5)])
    assert inbox.tip == MAX_BATCH


def test_several_batches_of_one_block_are_taken_one_by_one():
    """What other contracts send in one block has no quota: it comes in more than one batch."""
    ledger, inbox = Ledger(), Inbox(0, EMPTY)
    ledger.order(*raws(0, 3))
    whole = ledger.batch(1)
    ids = whole.batch.entries
    inbox.extend(whole._replace(batch=replace(whole.batch, entries=ids[:2])))
    inbox.extend(whole._replace(first=3, batch=replace(whole.batch, before=head_before(whole, 2), entries=ids[2:])))
    inbox.confirm(3, ledger.record.inbox_head)
    assert [[entry.index for entry in inbox.batch_after(at)] for at in range(4)] == [[1, 2], [2], [3], []]
    inbox.consume(2)
    assert [entry.index for entry in inbox.batch_after(2)] == [3]


def test_the_head_before_an_entry_comes_from_its_batch_only():
    ledger = Ledger()
    ledger.order(*raws(0, 3))
    batch = ledger.batch(1)
    assert head_before(batch, 0) == EMPTY
    assert head_before(batch, 3) == ledger.record.inbox_head
    for outside in (-1, 4):
        with pytest.raises(ProofInvalid):
            head_before(batch, outside)
