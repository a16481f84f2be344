"""Hostile orders: any message from anyone at any time is accepted, or refused with one declared error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.errors import LedgerRefused
from keephold.custody.public import transcript
from keephold.protocol.codec import decode, encode
from keephold.protocol.custody import DkgComplaint, DkgDealing, DkgKeys, DkgVerdict, RoundState

REASONS = {"wrong_round", "wrong_phase", "not_seated", "dealing_refused"}


def check(state: RoundState) -> None:
    """What holds in every state."""
    assert decode(encode(state), RoundState) == state
    assert len({(drop.role, drop.seat) for drop in state.drops}) == len(state.drops)
    keys = transcript.outcome(state)
    assert (keys is not None) == (state.phase == "done")
    if keys is not None:
        assert len(keys.seats) >= state.threshold


def applied(state: RoundState, sender: Any, message: Any, time_ns: int) -> RoundState:
    """The next state, different from this one; or this one, with one of the four reasons."""
    reason = None
    after = state
    try:
        after = transcript.apply(state, sender, message, time_ns=time_ns)
    except LedgerRefused as refused:
        reason = refused.reason
    assert (after == state) == (reason in REASONS)
    return after


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_any_order_of_messages_is_accepted_or_refused(finished: Any, data: st.DataObject) -> None:
    state, time_ns = finished.opened, 50
    senders = [party.member for party in finished.opened.receivers] + [b"\x00" * 32]
    log = finished.accepted
    position = 0
    for _ in range(data.draw(st.integers(0, 30))):
        time_ns += data.draw(st.sampled_from([0, 0, 0, 0, 1, 400, 1_000]))
        state = transcript.tick(state, time_ns=time_ns)
        check(state)
        if data.draw(st.booleans()):  # the honest next message, so that deep states are reached
            position = min(position, len(log) - 1)
            _, sender, message = log[position]
            position += 1
        else:
            _, sender, message = data.draw(st.sampled_from(log))
            sender = data.draw(st.sampled_from([sender, *senders]))
            message = replace(message, round=data.draw(st.sampled_from([message.round, state.round])))
        state = applied(state, sender, message, time_ns)
        check(state)


def upto(finished: Any, kind: type) -> tuple[RoundState, list[Any]]:
    """The state before the first message of `kind`, and those messages."""
    state, log = finished.opened, list(finished.accepted)
    while not isinstance(log[0][2], kind):
        time_ns, sender, message = log.pop(0)
        state = transcript.apply(state, sender, message, time_ns=time_ns)
    return state, log


def refusal(state: RoundState, sender: Any, message: Any, time_ns: int = 50) -> str:
    with pytest.raises(LedgerRefused) as refused:
        transcript.apply(state, sender, message, time_ns=time_ns)
    return refused.value.reason


def test_out_of_place(finished: Any) -> None:
    state, log = upto(finished, DkgDealing)
    _, sender, message = log[0]
    assert refusal(state, sender, replace(message, round=6)) == "wrong_round"
    assert refusal(state, bytes(32), message) == "not_seated"
    assert refusal(state, sender, DkgVerdict(7)) == "wrong_phase"
    assert refusal(state, sender, message, time_ns=state.deadline_ns) == "wrong_phase"
    spoken = transcript.apply(state, sender, message, time_ns=50)
    assert refusal(spoken, sender, message) == "wrong_phase"
    assert refusal(finished.ledger, sender, DkgVerdict(7)) == "wrong_phase"


@pytest.mark.parametrize(
    "change",
    [
        {"commitments": ()},
        {"commitments": (bytes(32),) * 3},
        {"commitments": (b"\xff" * 32,) * 3},
        {"envelopes": ()},
        {"envelopes": (b"",) * 5},
        {"envelopes": (b"\x01" * 4000,) * 5},
        {"pepper": b""},
        {"peppers": (b"\x01" * 1297,) * 5},
    ],
)
def test_a_dealing_of_the_wrong_shape_is_refused(finished: Any, change: dict[str, Any]) -> None:
    state, log = upto(finished, DkgDealing)
    assert refusal(state, log[0][1], replace(log[0][2], **change)) == "dealing_refused"


@pytest.mark.parametrize(
    "change",
    [
        {"keys": ()},
        {"keys": (bytes(1216),) * 5},  # an X25519 half of small order: nobody could seal to it
        {"keys": (b"\xff" * 1216,) * 5},
        {"pepper_key": b"\x01" * 1216},
    ],
)
def test_keys_that_nobody_can_seal_to_are_refused(finished: Any, change: dict[str, Any]) -> None:
    state, log = upto(finished, DkgKeys)
    assert refusal(state, log[0][1], replace(log[0][2], **change)) == "dealing_refused"


def test_the_dropped_have_no_say_any_more(finished: Any) -> None:
    state, log = upto(finished, DkgDealing)
    for _, sender, message in log[:4]:
        state = transcript.apply(state, sender, message, time_ns=50)
    state = transcript.tick(state, time_ns=state.deadline_ns)
    late = log[4][1]
    assert [(drop.member, drop.reason) for drop in state.drops] == [(late, "silent-dealing")]
    assert refusal(state, late, DkgVerdict(7), time_ns=state.deadline_ns - 1) == "not_seated"


def test_who_gave_its_verdict_complains_no_more(finished: Any) -> None:
    state, log = upto(finished, DkgVerdict)
    _, sender, message = log[0]
    state = transcript.apply(state, sender, message, time_ns=50)
    late = DkgComplaint(7, 1, bytes(32), (bytes(32),), (bytes(32),), b"")
    assert refusal(state, sender, late) == "wrong_phase"
    assert refusal(state, log[1][1], late) == "dealing_refused"


def test_time_alone_ends_every_ceremony(finished: Any) -> None:
    state, time_ns = finished.opened, 50
    while state.phase not in ("done", "failed"):
        time_ns = state.deadline_ns
        assert transcript.tick(state, time_ns=time_ns - 1) == state
        state = transcript.tick(state, time_ns=time_ns)
    assert state.phase == "failed"
    assert len(state.drops) == 5


def test_the_record_stays_small(finished: Any) -> None:
    """Envelopes and keys are kept as digests: the whole round of five fits where one member's keys would not."""
    largest = max(len(encode(message)) for _, _, message in finished.accepted)
    assert len(encode(finished.ledger)) < largest
