"""Every adversary of `net.attack` does what it says, and does not get what it is after."""

from __future__ import annotations

import pytest
from auction import Auction
from coin import Coin

from keephold.base.errors import BadShare, ChainRefused, DeadlineExceeded, NoLiveWorker, Rejected

pytestmark = pytest.mark.attack


@pytest.fixture
def coin(net, alice):
    return net.deploy(Coin, 1000, sender=alice)


def pay(coin, source, to, amount):
    coin.as_(source).transfer(to, amount)


def test_calls_that_a_node_keeps_to_itself_run_once_when_it_lets_them_go(net, coin, alice, bob):
    with net.attack.withhold_calls(patience=4), pytest.raises(DeadlineExceeded):
        pay(coin, alice, bob, 5)
    pay(coin, alice, bob, 1)
    assert coin.as_(bob).balance() == 6


def test_results_that_a_node_keeps_to_itself_count_once(net, coin, alice, bob):
    with net.attack.withhold_results(patience=4), pytest.raises(DeadlineExceeded):
        pay(coin, alice, bob, 5)
    pay(coin, alice, bob, 1)
    assert coin.as_(bob).balance() == 6


def test_the_last_call_is_ordered_first(net, coin, alice, bob, carol):
    pay(coin, alice, bob, 5)
    with net.attack.reorder() as calls:
        calls.make(coin.as_(alice).transfer, carol, 990)
        calls.make(coin.as_(bob).transfer, alice, 5)
    assert calls.outcomes == (None, None)
    pay(coin, carol, bob, 10)
    with net.attack.reorder() as calls:
        calls.make(coin.as_(bob).transfer, carol, 10)
        calls.make(coin.as_(carol).transfer, alice, 981)
    first, last = calls.outcomes
    assert first is None
    assert isinstance(last, Rejected)  # it came before what would have paid for it


def test_a_call_is_not_run_again_when_validators_order_it_again(net, coin, alice, bob):
    pay(coin, alice, bob, 5)
    with net.attack.replay(coin):
        assert coin.as_(bob).balance() == 5
    pay(coin, alice, bob, 5)
    assert coin.as_(bob).balance() == 10


def test_a_ciphertext_is_of_no_use_to_another_sender_or_elsewhere(net, coin, alice, bob):
    other = net.deploy(Coin, 1000, sender=alice)
    pay(coin, alice, bob, 5)
    with net.attack.redirect(coin), net.attack.redirect(coin, to=other):
        assert coin.as_(bob).balance() == 5
        assert other.as_(bob).balance() == 0


def test_nobody_is_answered_from_a_past(net, coin, alice, bob):
    with net.attack.roll_back() as past:
        pay(coin, alice, bob, 5)
        past.show()
        net.assert_truth_or_refusal(coin.as_(bob).balance, 5)
        with net.refuses():
            pay(coin, alice, bob, 5)
    assert coin.as_(bob).balance() == 5


def test_nothing_is_sealed_to_a_key_that_a_node_made_up(net, coin, alice, bob):
    with net.attack.swap_key(), pytest.raises(ChainRefused):
        pay(coin, alice, bob, 5)
    assert coin.as_(bob).balance() == 0


def test_a_forged_receipt_is_not_believed(net, coin, alice, bob):
    with net.attack.forge_receipts(), pytest.raises(ChainRefused):
        pay(coin, alice, bob, 5)
    assert coin.as_(bob).balance() == 5


def test_what_was_acknowledged_outlives_every_worker(net, coin, alice, bob):
    pay(coin, alice, bob, 5)
    with net.attack.end_workers(patience=4), pytest.raises(NoLiveWorker):
        coin.as_(bob).balance()
    assert coin.as_(bob).balance() == 5


@pytest.mark.parametrize(("kind", "reason"), [("no hardware", "signature"), ("other code", "measurement")])
def test_who_is_no_worker_is_not_registered(net, kind, reason):
    with net.attack.fake_worker(kind) as impostor:
        assert not impostor.is_registered
        assert impostor.refused.startswith(f"attestation: {reason}")


def test_fewer_gatekeepers_than_the_threshold_open_nothing_and_enough_open_everything(net, coin, alice, bob):
    pay(coin, alice, bob, 5)
    with net.attack.take_gatekeepers(1) as seized, pytest.raises(BadShare):
        seized.slots(coin)
    with net.attack.take_gatekeepers(2) as seized:
        assert any(value == b"5" or b'"5"' in value for value in seized.slots(coin).values())
    with pytest.raises(ValueError, match="3 gatekeepers"), net.attack.take_gatekeepers(4):
        pass


def test_the_clock_stands_still_until_it_is_turned(net, bob, alice):
    auction = net.deploy(Auction, "a clock", 1, 3600, sender=alice)
    auction.as_(bob).bid(5)
    before = net.block
    with net.rejects("still_open"):
        auction.as_(alice).close()
    net.mine(3)
    assert net.block.time_ns < before.time_ns + 10**9
    net.warp(20 * 86_400)
    assert net.block.time_ns >= before.time_ns + 20 * 86_400 * 10**9
    auction.as_(alice).close()
    with net.attack.end_workers():
        pass
    assert auction.as_(bob).my_bid() == 5
