"""The leak meter finds each of the traps that the guide describes, and none in the examples."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from auction import Auction
from hypothesis import given, settings
from hypothesis import strategies as st
from voting import Vote

from keephold.base.errors import Rejected
from keephold.contract.records import Event
from keephold.testing.leaks import SeenCall, SeenContract, differences, table

LEAKY = """
from keephold import Address, Call, Contract, Event, Map, call, require

class Won(Event):
    amount: int

class Leaky(Contract, pad=(256, 1024)):
    tally: Map[int, int]
    best: int = 0
    leader: Address | None = None
    note: str = ""

    @call
    def vote(self, ctx: Call, answer: int) -> None:
        self.tally[answer] = self.tally.get(answer, 0) + 1

    @call
    def bid(self, ctx: Call, amount: int) -> None:
        leads = amount > self.best
        self.best = amount if leads else self.best
        self.leader = ctx.sender if leads else self.leader

    @call
    def write(self, ctx: Call, note: str) -> None:
        self.note = note

    @call
    def bet(self, ctx: Call, number: int) -> None:
        if number == 7:
            ctx.emit(Won(number), to=(ctx.sender,))

    @call
    def guess(self, ctx: Call, number: int) -> None:
        require(number == 7, "wrong")
        self.best = number

    @call
    def drop(self, ctx: Call, number: int) -> None:
        self.tally[1] = number
        if number == 7:
            del self.tally[1]
"""


@pytest.fixture(scope="module")
def leaky_class(tmp_path_factory):
    directory = tmp_path_factory.mktemp("leaky")
    (directory / "leaky_example.py").write_text(LEAKY)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(directory))
        from leaky_example import Leaky

        yield Leaky
    del sys.modules["leaky_example"]


@pytest.mark.parametrize(
    ("method", "before", "secrets", "what"),
    [
        ("vote", 1, (1, 2), "slots, by the calls that wrote them"),
        ("bid", 10, (5, 15), "slots written, by size"),
        ("write", "", ("short", "x" * 400), "bytes sent"),
        ("bet", 1, (1, 7), "events, by size"),
        ("guess", 7, (1, 7), "slots written, by size"),
        ("drop", 1, (1, 7), "1 deleted"),
    ],
)
def test_each_trap_is_found(net, alice, bob, leaky_class, method, before, secrets, what):
    def story(secret):
        leaky = net.deploy(leaky_class, sender=alice)
        for who, argument in ((alice, before), (bob, secret)):
            with suppress(Rejected):
                getattr(leaky.as_(who), method)(argument)

    with pytest.raises(AssertionError) as found:
        net.assert_indistinguishable(story, *secrets)
    assert what in str(found.value)


@given(first=st.integers(1, 2**64), second=st.integers(1, 2**64))
@settings(max_examples=25, deadline=None)
def test_bids_look_alike(net, first, second):
    alice, bob, carol = (net.account(name) for name in ("alice", "bob", "carol"))

    def story(amount):
        auction = net.deploy(Auction, "a clock", 1000, 60, sender=alice)
        auction.as_(bob).bid(500_000)
        auction.as_(carol).bid(amount)

    net.assert_indistinguishable(story, first, second, observer=bob)


@pytest.mark.parametrize("secrets", [(0, 1), (1, 0)])
def test_ballots_look_alike_even_repeated(net, alice, bob, carol, secrets):
    def story(answer):
        vote = net.deploy(Vote, "?", ("no", "yes"), (alice, bob, carol), 1, 60, sender=alice)
        vote.as_(bob).cast(0)
        vote.as_(carol).cast(answer)
        vote.as_(bob).cast(answer)

    net.assert_indistinguishable(story, *secrets, observer=carol)


def test_what_the_winner_makes_public_is_a_difference(net, alice, bob):
    def story(amount):
        auction = net.deploy(Auction, "a clock", 1, 60, sender=alice)
        auction.as_(bob).bid(amount)
        net.warp(60)
        auction.as_(alice).close()

    with pytest.raises(AssertionError, match="what the observer can open"):
        net.assert_indistinguishable(story, 5, 6)


def test_a_story_about_an_older_contract_is_compared_from_where_it_begins(net, alice, bob, carol):
    vote = net.deploy(Vote, "?", ("no", "yes"), (bob, carol), 1, 60, sender=alice)
    vote.as_(bob).cast(0)
    net.assert_indistinguishable(lambda answer: vote.as_(carol).cast(answer), 0, 1)
    assert vote.as_(carol).my_ballot() is None


def seen(**changes: object) -> SeenContract:
    call = {"sender": "alice", "size": 512, "receipt": 512, "writes": {"a": 600, "b": 600}, "events": ()}
    return SeenContract("Gold", (SeenCall(**{**call, **changes}),), ())


def test_names_of_slots_do_not_count():
    assert differences([seen()], [seen(writes={"x": 600, "y": 600})]) == []


def test_the_table():
    found = differences([seen()], [seen(sender="bob", writes={"a": 600}, events=(9, 9))])
    lines = table(found, "5", "99999").splitlines()
    assert lines[0].split("  ")[0] == "what an operator sees"
    assert [" ".join(line.split()) for line in lines[2:]] == [
        "Gold, call 1: sender alice bob",
        "Gold, call 1: slots written, by size 2 x 600 1 x 600",
        "Gold, call 1: events, by size none 2 x 9",
        "Gold, slots, by the calls that wrote them 2 by 1 1 by 1",
    ]
    other = SeenContract("Gold", seen().calls, (Event(),))
    assert [row.where for row in differences([seen()], [other])] == ["Gold, what the observer can open"]
    assert differences([seen()], [])[0].where == "contracts called"
