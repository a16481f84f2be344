"""Credit: what may follow from one account's call is bounded, however it spreads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keephold.base.limits import MAX_MESSAGES, MESSAGE_CREDIT
from keephold.contract import context
from keephold.protocol.channel import message_number, room, share

CREDIT = st.integers(0, MESSAGE_CREDIT)


@given(CREDIT, st.integers(0, MAX_MESSAGES), st.booleans())
def test_what_is_handed_on_never_exceeds_what_was_there(credit: int, sent: int, answered: bool) -> None:
    left = share(credit, sent, is_answered=answered)
    parts = sent + answered
    assert parts * (left + 1) <= credit or left < 0 or not parts


@given(CREDIT, st.booleans())
def test_whoever_may_send_leaves_enough_for_every_answer(credit: int, answered: bool) -> None:
    sent = room(credit, is_answered=answered)
    assert sent <= MAX_MESSAGES
    if sent:
        assert share(credit, sent, is_answered=answered) >= 1
    if sent < MAX_MESSAGES:
        assert share(credit, sent + 1, is_answered=answered) < 1


@given(st.data())
def test_no_call_leads_to_more_entries_than_its_credit(data) -> None:
    waiting, entries = [(MESSAGE_CREDIT, False)], 0
    while waiting:
        credit, answered = waiting.pop()
        entries += 1
        sent = data.draw(st.integers(0, room(credit, is_answered=answered)))
        left = share(credit, sent, is_answered=answered)
        assert left >= 0
        waiting += [(left, data.draw(st.booleans())) for _ in range(sent)] + [(left, False)] * answered
    assert entries <= MESSAGE_CREDIT + 1


@given(st.integers(1, 1 << 50), st.integers(0, MAX_MESSAGES - 1))
def test_rules_and_sandbox_number_alike_and_rise(entry: int, position: int) -> None:
    assert message_number(entry, position) == context.message_number(entry, position)
    assert message_number(entry, position) < message_number(entry, position + 1) < message_number(entry + 1, 0)
