"""The auction, as its users and its rivals see it. `keephold test examples/auction --net devnet` runs it for real."""

from __future__ import annotations

import pytest
from auction import Auction, Closed, Outcome
from hypothesis import given, settings
from hypothesis import strategies as st

SECONDS = 4
RESERVE = 100


@pytest.fixture
def auction(net, alice):
    return net.deploy(Auction, "a painting", RESERVE, SECONDS, sender=alice)


def test_the_highest_bid_wins_and_only_it_is_told(net, auction, alice, bob, carol, dave):
    auction.as_(bob).bid(250)
    auction.as_(carol).bid(300)
    auction.as_(dave).bid(120)
    assert auction.as_(bob).my_bid() == 250
    assert auction.as_(alice).my_bid() == 0  # the seller learns nothing either
    with net.rejects("still_open"):
        auction.result()
    net.warp(SECONDS)
    assert auction.as_(dave).close() == Outcome(carol.address, 300)
    assert auction.result() == Outcome(carol.address, 300)
    assert net.events(contract=auction) == [Closed(Outcome(carol.address, 300))]


def test_of_equal_bids_the_earlier_wins(net, auction, bob, carol):
    auction.as_(bob).bid(200)
    auction.as_(carol).bid(200)
    net.warp(SECONDS)
    assert auction.as_(bob).close().winner == bob.address


def test_below_the_reserve_nothing_is_sold_and_no_bid_is_refused(net, auction, bob, carol):
    auction.as_(bob).bid(RESERVE - 1)
    net.warp(SECONDS)
    assert auction.as_(carol).close() == Outcome(None, 0)


def test_what_is_refused(net, auction, alice, bob):
    with net.rejects("own_auction"):
        auction.as_(alice).bid(500)
    with net.rejects("no_bid"):
        auction.as_(bob).bid(0)
    auction.as_(bob).bid(150)
    with net.rejects("already_bid"):
        auction.as_(bob).bid(151)
    with net.rejects("still_open"):
        auction.as_(bob).close()
    net.warp(SECONDS)
    with net.rejects("too_late"):
        auction.as_(bob).bid(900)
    auction.as_(bob).close()
    with net.rejects("closed"):
        auction.as_(bob).close()


@given(bids=st.lists(st.integers(1, 400), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_the_winner_is_the_first_of_the_highest(net, bids):
    if net.snapshot() is None:
        pytest.skip("many auctions take long on a ledger")
    seller, *bidders = (net.account(name) for name in ("alice", "bob", "carol", "dave", "erin", "frank", "grace"))
    auction = net.deploy(Auction, "a painting", RESERVE, SECONDS, sender=seller)
    for bidder, amount in zip(bidders, bids, strict=False):
        auction.as_(bidder).bid(amount)
    net.warp(SECONDS)
    outcome = auction.as_(seller).close()
    if max(bids) < RESERVE:
        assert outcome == Outcome(None, 0)
    else:
        assert outcome == Outcome(bidders[bids.index(max(bids))].address, max(bids))
