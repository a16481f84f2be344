"""The escrow, with its coin. `keephold test examples/escrow --net devnet` runs it for real."""

from __future__ import annotations

import pytest
from coin import Coin
from escrow import Escrow

from keephold import Address


@pytest.fixture
def coin(net, alice):
    return net.deploy(Coin, 1000, sender=alice)


@pytest.fixture
def escrow(net, coin, judy):
    return net.deploy(Escrow, coin.address, sender=judy)


def funded(net, coin, escrow, alice, bob, amount=300):
    coin.as_(alice).allow(escrow.address, amount)
    number = escrow.as_(alice).fund(bob, amount)
    net.settle()
    return number


def test_the_buyer_pays_in_and_the_seller_is_paid_out(net, coin, escrow, alice, bob):
    number = funded(net, coin, escrow, alice, bob)
    assert escrow.as_(bob).deal(number).state == "held"
    assert coin.as_(alice).balance() == 700
    escrow.as_(alice).accept(number)
    net.settle()
    assert escrow.as_(bob).deal(number).state == "closed"
    assert coin.as_(bob).balance() == 300


def test_the_seller_gives_back(net, coin, escrow, alice, bob):
    number = funded(net, coin, escrow, alice, bob)
    with net.rejects("not_yours"):
        escrow.as_(bob).accept(number)
    escrow.as_(bob).give_back(number)
    net.settle()
    assert coin.as_(alice).balance() == 1000


def test_a_payment_that_the_coin_refuses_holds_nothing(net, coin, escrow, alice, bob):
    coin.as_(alice).allow(escrow.address, 10)
    number = escrow.as_(alice).fund(bob, 11)
    net.settle()
    assert escrow.as_(alice).deal(number).state == "closed"
    assert coin.as_(alice).balance() == 1000
    with net.rejects("not_held"):
        escrow.as_(alice).accept(number)


def test_a_coin_that_is_not_there_holds_nothing(net, alice, bob, judy):
    escrow = net.deploy(Escrow, Address.contract(b"n" * 32), sender=judy)
    number = escrow.as_(alice).fund(bob, 5)
    net.settle()
    assert escrow.as_(alice).deal(number).state == "closed"


def test_nobody_is_paid_twice(net, coin, escrow, alice, bob):
    number = funded(net, coin, escrow, alice, bob)
    escrow.as_(alice).accept(number)
    net.settle()
    with net.rejects("not_held"):
        escrow.as_(alice).accept(number)
    with net.rejects("not_held"):
        escrow.as_(bob).give_back(number)


def test_a_handler_is_nobodys_to_call(escrow, alice):
    with pytest.raises(AttributeError):
        escrow.as_(alice).on_paid_out(1)


def test_the_amount_is_not_seen(net, alice, bob, judy):
    def story(amount):
        coin = net.deploy(Coin, 1000, sender=alice)
        escrow = net.deploy(Escrow, coin.address, sender=judy)
        number = funded(net, coin, escrow, alice, bob, amount)
        escrow.as_(alice).accept(number)

    net.assert_indistinguishable(story, 5, 900, observer=judy)


@pytest.mark.attack
def test_a_deal_is_paid_out_once_whatever_node_and_validators_do(net, coin, escrow, alice, bob):
    number = funded(net, coin, escrow, alice, bob)
    with net.attack.withhold_results(patience=5), net.refuses():
        escrow.as_(alice).accept(number)
    net.settle()
    with net.attack.replay(escrow), net.attack.redirect(escrow):
        net.settle()
        assert escrow.as_(bob).deal(number).state == "closed"
        assert coin.as_(bob).balance() == 300
