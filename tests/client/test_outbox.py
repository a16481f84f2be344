"""Nonces in order, the same bytes again, nothing signed twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.ids import NetworkId
from keephold.client.outbox import (
    DOUBT_SECONDS,
    LATER_SECONDS,
    LONGEST_DOUBT_SECONDS,
    WINDOW,
    Failed,
    Ordered,
    Outbox,
    Unclear,
    Waiting,
)
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import RevokePermits, open_signed
from keephold.protocol.wire import Verdict

NETWORK = NetworkId(bytes(32))
KEY = SigningKey(SecretBytes(bytes(31) + b"\x01"))
ACCEPTED = Verdict()
BAD_NONCE = Verdict(Refusal.BAD_NONCE)
MANY, LARGE = 1000, 1 << 30


def outbox(nonce: int = 0) -> Outbox:
    made = Outbox(NETWORK)
    made.open(KEY.public, nonce)
    return made


def put(box: Outbox, now: float = 0.0):
    return box.sign(KEY, lambda _: RevokePermits(), now)


def test_nonces_count_from_the_proven_one() -> None:
    box = outbox(7)
    flights = [put(box), put(box)]
    assert [open_signed(flight.raw, NETWORK).nonce for flight in flights] == [7, 8]
    assert box.due(0, MANY, LARGE) == flights
    box.open(KEY.public, 0)
    assert put(box).nonce == 9


def test_batches_are_bounded_and_never_empty() -> None:
    box = outbox()
    flights = [put(box) for _ in range(3)]
    assert box.due(0, 2, LARGE) == flights[:2]
    assert box.due(0, MANY, 1) == flights[:1]


def test_an_account_has_a_window() -> None:
    box = outbox()
    flights = [put(box) for _ in range(WINDOW + 1)]
    assert box.due(0, MANY, LARGE) == flights[:-1]
    box.settle(flights[0])
    assert box.due(0, MANY, LARGE) == flights[1:]


def test_accepted_is_not_proven_so_the_same_bytes_are_offered_again() -> None:
    box = outbox()
    flight = put(box)
    assert box.answered(flight, ACCEPTED, 0) == Waiting()
    assert box.due(DOUBT_SECONDS - 0.1, MANY, LARGE) == []
    assert box.due(DOUBT_SECONDS, MANY, LARGE) == [flight]
    assert box.answered(flight, Verdict(height=5), DOUBT_SECONDS) == Ordered(5)
    box.settle(flight)
    assert box.due(99, MANY, LARGE) == []
    assert box.next_due() is None


def test_doubt_comes_later_where_proofs_take_long_but_never_too_late() -> None:
    box = outbox()
    for spent, patience in ((1.0, DOUBT_SECONDS), (2.5, DOUBT_SECONDS), (20.0, 7.078), (1000.0, LONGEST_DOUBT_SECONDS)):
        proven = put(box)
        box.answered(proven, ACCEPTED, 10)
        box.answered(proven, ACCEPTED, 10 + spent / 2)  # a second offer does not make the proof younger
        box.proven(proven, 10 + spent)
        late = put(box)
        box.answered(late, ACCEPTED, 100)
        assert late.due == pytest.approx(100 + patience, abs=0.001)
        box.settle(late)


def test_what_no_node_accepted_says_nothing_about_proofs() -> None:
    box = outbox()
    flight = put(box)
    box.proven(flight, 50)  # its answer to the offer was lost
    assert flight.ended
    box.answered(late := put(box), ACCEPTED, 100)
    assert late.due == 100 + DOUBT_SECONDS


def test_after_the_node_was_away_everything_is_offered_again() -> None:
    box = outbox()
    flights = [put(box), put(box)]
    for flight in flights:
        box.answered(flight, ACCEPTED, 0)
    box.doubt(1)
    assert box.due(1, MANY, LARGE) == flights
    box.unanswered(flights, 1, 0.5)
    assert box.due(1.4, MANY, LARGE) == []
    assert box.due(1.5, MANY, LARGE) == flights


@pytest.mark.parametrize("code", [Refusal.QUOTA, Refusal.INBOX_FULL])
def test_a_passing_refusal_holds_the_account_back_in_order(code: Refusal) -> None:
    box = outbox()
    first, second = put(box), put(box)
    assert box.answered(first, Verdict(code), 0) == Waiting()
    assert box.answered(second, BAD_NONCE, 0) == Waiting()
    assert box.due(LATER_SECONDS / 2, MANY, LARGE) == []
    assert box.due(LATER_SECONDS, MANY, LARGE) == [first, second]


def test_a_refusal_fails_those_behind_and_frees_their_nonces() -> None:
    box = outbox()
    first, second, third = put(box), put(box), put(box)
    outcome = box.answered(second, Verdict(Refusal.CONTRACT_NOT_ACTIVE, "not yet"), 0)
    assert isinstance(outcome, Failed)
    assert [(flight, error.reason) for flight, error in outcome.flights] == [
        (second, "contract_not_active"),
        (third, "bad_nonce"),
    ]
    assert box.due(0, MANY, LARGE) == [first]
    assert put(box).nonce == 1
    assert box.answered(third, ACCEPTED, 0) == Waiting()
    assert len(box.due(0, MANY, LARGE)) == 2


def test_a_foreign_nonce_is_resolved_by_proof() -> None:
    box = outbox()
    first, second = put(box), put(box)
    assert box.answered(first, BAD_NONCE, 0) == Unclear()
    assert box.resynchronised(first, 0, 0) == Waiting()
    outcome = box.resynchronised(first, 5, 0)
    assert isinstance(outcome, Failed)
    assert [flight for flight, _ in outcome.flights] == [first, second]
    assert put(box).nonce == 5


def test_unknown_codes_are_refusals() -> None:
    box = outbox()
    outcome = box.answered(put(box), Verdict(999), 0)
    assert isinstance(outcome, Failed)
    assert outcome.flights[0][1].reason == "code_999"


VERDICTS = st.sampled_from([ACCEPTED, Verdict(height=3), BAD_NONCE, *(Verdict(code) for code in Refusal)])


@given(
    st.lists(st.tuples(st.sampled_from(["put", "answer", "settle", "doubt", "resync"]), st.integers(0, 5), VERDICTS))
)
def test_whatever_a_node_says_a_live_nonce_has_one_transaction(steps) -> None:
    box = outbox()
    flights = []
    now = 0.0
    for step, which, verdict in steps:
        now += 1.0
        live = [flight for flight in flights if not flight.ended]
        if step == "put" or not live:
            flights.append(put(box, now))
            continue
        flight = live[which % len(live)]
        if step == "answer":
            box.answered(flight, verdict, now)
        elif step == "settle":
            box.settle(flight)
        elif step == "doubt":
            box.doubt(now)
        else:
            box.resynchronised(flight, which, now)
        nonces = [item.nonce for item in flights if not item.ended]
        assert len(set(nonces)) == len(nonces)
        offered = [item.nonce for item in box.due(now + 60, MANY, LARGE)]
        assert offered == sorted(nonces)
