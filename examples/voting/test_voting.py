"""The vote, as voters and onlookers see it. `keephold test examples/voting --net devnet` runs it for real."""

from __future__ import annotations

import pytest
from voting import Counted, Vote

SECONDS = 4
NO, YES = 0, 1


@pytest.fixture
def vote(net, alice, bob, carol, dave):
    roll = (bob, carol, dave)
    return net.deploy(Vote, "move the office?", ("no", "yes"), roll, 2, SECONDS, sender=alice)


def test_ballots_are_private_and_the_tally_public(net, vote, alice, bob, carol, dave):
    vote.as_(bob).cast(YES)
    vote.as_(carol).cast(NO)
    vote.as_(dave).cast(YES)
    assert vote.as_(bob).my_ballot() == YES
    assert vote.as_(alice).my_ballot() is None  # who asked the question reads nobody's ballot
    with net.rejects("still_open"):
        vote.result()
    net.warp(SECONDS)
    vote.as_(alice).close()
    assert vote.result() == (1, 2)
    assert net.events(contract=vote) == [Counted((1, 2))]


def test_a_later_ballot_replaces_an_earlier_one(net, vote, alice, bob, carol):
    vote.as_(bob).cast(YES)
    vote.as_(bob).cast(NO)
    vote.as_(carol).cast(NO)
    net.warp(SECONDS)
    vote.as_(alice).close()
    assert vote.result() == (2, 0)


def test_of_too_few_ballots_nothing_is_published(net, vote, alice, bob):
    vote.as_(bob).cast(YES)
    net.warp(SECONDS)
    vote.as_(alice).close()
    assert vote.result() == ()


def test_what_is_refused(net, vote, alice, bob):
    with net.rejects("not_enrolled"):
        vote.as_(alice).cast(YES)
    with net.rejects("no_such_answer"):
        vote.as_(bob).cast(2)
    with net.rejects("still_open"):
        vote.as_(bob).close()
    net.warp(SECONDS)
    with net.rejects("too_late"):
        vote.as_(bob).cast(YES)
    vote.as_(bob).close()
    with net.rejects("closed"):
        vote.as_(bob).close()
