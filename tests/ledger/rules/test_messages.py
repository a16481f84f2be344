"""Messages between contracts, as the rules carry them: with the result or not at all, each answered once, bounded."""

from __future__ import annotations

import pytest

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId
from keephold.base.limits import MAX_BATCH, MAX_SEALED_CALL, MESSAGE_CREDIT
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import messages
from keephold.ledger.rules.context import BlockContext
from keephold.ledger.rules.inbox import append_letter
from keephold.protocol.channel import (
    AnswerEntry,
    Channel,
    Draining,
    EpochRecord,
    LetterRecord,
    Message,
    MessageEntry,
    UndeliveredEntry,
    id_of,
    message_number,
    room,
    share,
)
from keephold.protocol.codec import encode
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Batch, batch_path, channel_path, epoch_path, letter_path
from keephold.protocol.transactions import Rotate
from keephold.protocol.wire import InboxRequest

NOWHERE = ContractId(b"n" * 32)


@pytest.fixture
def pair(desk, new_key):
    """Two active contracts of one worker; a call to the first waits."""
    (worker,) = desk.enrol("worker")
    contracts = []
    for source in ("a", "b"):
        contract = desk.deploy(new_key("alice"), source=source)
        desk.activate(contract, worker)
        contracts.append(contract)
    desk.send(new_key("alice"), desk.call(contracts[0]))
    return desk, worker, *contracts


def to(target, entry: int = 1, **changes) -> Message:
    return Message(
        **{"entry": entry, "target": target, "target_epoch": 1, "sealed": b"sealed", "is_answered": True} | changes
    )


def waiting(desk, contract, index: int):
    record = desk.record(letter_path(contract, index), LetterRecord)
    return None if record is None else record.entry


def test_a_message_arrives_with_its_result_and_its_answer_with_the_answers(pair) -> None:
    desk, worker, source, target = pair
    desk.send(worker, desk.result(worker, source, messages=(to(target), to(target, is_answered=False))))
    first = waiting(desk, target, 1)
    credit = share(MESSAGE_CREDIT, 2, is_answered=False)
    assert first == MessageEntry(source, 1, 1, message_number(1, 0), credit, b"sealed", is_answered=True)
    assert waiting(desk, target, 2).number == message_number(1, 1)
    batch = desk.record(batch_path(target, 1), Batch)
    assert batch.letters == (1, 2)
    assert batch.entries[0] == id_of(encode(first))
    assert desk.record(channel_path(source, target), Channel) == Channel((Draining(1, 1, 2),))
    # The answer is the receipt; a message that wants none has none.
    desk.send(worker, desk.result(worker, target, 2, receipts=(b"answer", b"")))
    assert waiting(desk, target, 1) is None
    answer = waiting(desk, source, 2)
    assert answer == AnswerEntry(target, 1, 1, first.number, share(credit, 0, is_answered=True), b"answer")
    assert desk.record(channel_path(source, target), Channel) == Channel((Draining(1, 1, 1),))
    # Nobody answers an answer.
    desk.send(worker, desk.result(worker, source, receipts=(b"",)))
    assert desk.contract(source).inbox_count == 2
    assert desk.record(channel_path(source, target), Channel) is None


def test_a_refused_result_sends_nothing(pair) -> None:
    desk, worker, source, target = pair
    good = desk.result(worker, source, messages=(to(target),))
    assert (
        desk.refused(worker, desk.result(worker, source, version=7, messages=(to(target),))) is Refusal.WRONG_PRE_STATE
    )
    assert desk.contract(target).inbox_count == 0
    (other,) = desk.enrol("other")
    stolen = desk.result(other, source, messages=(to(target),))
    assert desk.refused(other, stolen) is Refusal.NOT_ASSIGNED
    assert desk.contract(target).inbox_count == 0
    desk.send(worker, good)
    assert desk.contract(target).inbox_count == 1
    # Sent twice, it counts once.
    assert desk.refused(worker, good) is Refusal.OUT_OF_ORDER
    assert desk.contract(target).inbox_count == 1


MALFORMED = {
    "to itself": lambda it: (to(it[2]),),
    "from an entry that is not consumed": lambda it: (to(it[3], 2),),
    "of an epoch, unsealed": lambda it: (to(it[3], sealed=b""),),
    "of no epoch, sealed": lambda it: (to(it[3], target_epoch=0),),
    "too large": lambda it: (to(it[3], sealed=bytes(MAX_SEALED_CALL + 1)),),
    "too many": lambda it: (to(it[3]),) * (room(MESSAGE_CREDIT, is_answered=False) + 1),
}


@pytest.mark.parametrize("made", MALFORMED.values(), ids=MALFORMED)
def test_malformed(pair, made) -> None:
    desk, worker, source, _ = pair
    assert desk.refused(worker, desk.result(worker, source, messages=made(pair))) is Refusal.RESULT_MALFORMED


def test_messages_come_in_the_order_of_their_entries(pair, new_key) -> None:
    desk, worker, source, target = pair
    desk.send(worker, desk.result(worker, source))
    desk.block(*desk.signed(new_key("alice"), *[desk.call(source)] * 2))
    turned = desk.result(worker, source, 2, messages=(to(target, 3), to(target, 2)))
    assert desk.refused(worker, turned) is Refusal.RESULT_MALFORMED


@pytest.mark.parametrize("receipts", [(b"", b""), (b"x", b"x")], ids=["an answer left out", "an answer nobody wants"])
def test_every_message_is_answered_that_wants_to_be_and_no_other(pair, receipts) -> None:
    desk, worker, source, target = pair
    desk.send(worker, desk.result(worker, source, messages=(to(target), to(target, is_answered=False))))
    assert desk.refused(worker, desk.result(worker, target, 2, receipts=receipts)) is Refusal.RESULT_MALFORMED


@pytest.mark.parametrize("changes", [{"target_epoch": 0, "sealed": b""}, {"target_epoch": 9}])
def test_a_message_to_what_never_was_active_goes_back_unread(pair, new_key, changes) -> None:
    desk, worker, source, _ = pair
    desk.send(worker, desk.result(worker, source, messages=(to(NOWHERE, **changes),)))
    credit = share(MESSAGE_CREDIT, 1, is_answered=False) - 1
    assert waiting(desk, source, 2) == UndeliveredEntry(NOWHERE, message_number(1, 0), credit)
    # Who wants no answer is told nothing.
    desk.send(worker, desk.result(worker, source, receipts=(b"",)))
    desk.send(new_key("alice"), desk.call(source))
    desk.send(worker, desk.result(worker, source, messages=(to(NOWHERE, 3, is_answered=False, **changes),)))
    assert desk.contract(source).inbox_count == 3


def test_a_full_inbox_takes_messages_and_marks_them(pair, monkeypatch) -> None:
    desk, worker, source, target = pair
    monkeypatch.setattr(messages, "MAX_INBOX_BACKLOG", 1)
    desk.send(worker, desk.result(worker, source, messages=(to(target), to(target))))
    assert not waiting(desk, target, 1).is_shed
    assert waiting(desk, target, 2).is_shed


def test_while_the_epoch_changes_messages_wait_for_the_next_one(pair, new_key) -> None:
    desk, worker, source, target = pair
    desk.send(new_key("alice"), desk.call(target))
    desk.send(new_key("alice"), Rotate(target))
    desk.send(worker, desk.result(worker, source, messages=(to(target),)))
    assert desk.contract(target).rotation[0].drain == 1
    assert desk.contract(target).inbox_count == 2
    desk.send(worker, desk.result(worker, target))
    assert desk.refused(worker, desk.result(worker, target, receipts=(b"answer",))) is Refusal.ROTATING
    # The change does not wait for it, and what it is sealed under drains.
    assert desk.record(epoch_path(target, 1), EpochRecord) is not None
    assert desk.record(channel_path(source, target), Channel) == Channel((Draining(1, 1, 1),))


def test_a_ping_pong_ends_by_itself(pair) -> None:
    """Two contracts that answer every message with another: what follows from one call is bounded."""
    desk, worker, source, target = pair
    entries, turn = 1, (source, target)
    desk.send(worker, desk.result(worker, source, messages=(to(target, is_answered=False),)))
    while True:
        own, other = turn = turn[::-1]
        record = desk.contract(own)
        assert record.inbox_count == record.done + 1
        entries += 1
        more = desk.result(worker, own, receipts=(b"",), messages=(to(other, record.done + 1, is_answered=False),))
        if room(waiting(desk, own, record.done + 1).credit, is_answered=False) == 0:
            assert desk.refused(worker, more) is Refusal.RESULT_MALFORMED
            break
        desk.send(worker, more)
    assert entries <= MESSAGE_CREDIT


def test_readers_find_what_no_account_signed(node, new_key) -> None:
    (worker,) = node.enrol("worker")
    source = node.deploy(new_key("alice"), source="a")
    target = node.deploy(new_key("alice"), source="b")
    for contract in (source, target):
        node.activate(contract, worker)
    node.send(new_key("alice"), node.call(source))
    node.send(worker, node.result(worker, source, messages=(to(target),)))
    entry = waiting(node, target, 1)
    (found,) = node.reader.inbox(InboxRequest(target, 1)).entries
    assert found.raw == encode(entry)
    node.send(worker, node.result(worker, target, receipts=(b"answer",)))
    assert [row.raw for row in node.reader.inbox(InboxRequest(target, 1)).entries] == [encode(entry)]


def test_a_part_of_a_batch_leaves_the_other_messages_waiting(pair) -> None:
    desk, worker, source, target = pair
    desk.send(worker, desk.result(worker, source, messages=(to(target), to(target))))
    desk.send(worker, desk.result(worker, target, receipts=(b"answer",)))
    assert desk.record(batch_path(target, 2), Batch).letters == (2,)
    assert waiting(desk, target, 2) is not None
    assert desk.record(channel_path(source, target), Channel) == Channel((Draining(1, 1, 2),))  # with the answer


def test_what_one_block_sends_a_contract_comes_in_batches_of_bounded_size(pair, new_key) -> None:
    desk, worker, source, target = pair
    each = room(MESSAGE_CREDIT, is_answered=False)
    entries = MAX_BATCH // each + 4
    desk.send(worker, desk.result(worker, source))
    alice, bob = ([desk.call(source)] * (entries // 2) for _ in range(2))
    desk.block(*desk.signed(new_key("alice"), *alice), *desk.signed(new_key("bob"), *bob))
    sent = tuple(to(target, 2 + at // each, is_answered=False) for at in range(entries * each))
    desk.send(worker, desk.result(worker, source, entries, messages=sent))
    desk.send(new_key("alice"), desk.call(target))
    ends = {1: MAX_BATCH, MAX_BATCH + 1: len(sent), len(sent) + 1: len(sent) + 1}
    for first, last in ends.items():
        batch = desk.record(batch_path(target, first), Batch)
        assert first + len(batch.entries) - 1 == last
        assert batch.letters == tuple(range(first, min(last, len(sent)) + 1))
    # And no result consumes a part of two.
    assert desk.refused(worker, desk.result(worker, target, MAX_BATCH + 1)) is Refusal.RESULT_MALFORMED
    for count in (100, MAX_BATCH - 100, len(sent) - MAX_BATCH):
        desk.send(worker, desk.result(worker, target, count, receipts=(b"",) * count))
    assert desk.refused(worker, desk.result(worker, target, 2)) is Refusal.OUT_OF_ORDER
    desk.send(worker, desk.result(worker, target))
    assert desk.contract(target).done == desk.contract(target).inbox_count == len(sent) + 1


def test_nothing_arrives_where_no_contract_is(desk) -> None:
    state = Overlay(desk.application.map.newest)
    block = BlockContext(desk.network, desk.height + 1, 1, desk.application.map.anchor)
    with pytest.raises(LedgerRefused, match="unknown_contract"):
        append_letter(state, block, NOWHERE, UndeliveredEntry(NOWHERE, 1, 1))
