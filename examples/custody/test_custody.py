"""The wallet, as its officers use it and as one of them attacks it; what it signs is judged by `eth_account`.

`keephold test examples/custody --net devnet` runs it for real.
"""

from __future__ import annotations

import pytest
from judge import checksummed, sender
from wallets import BANK, DELAY, FEE, GWEI, LIMIT, PERIOD, SHOP, STRANGER, policy, unsigned

from custody import Custody, Frozen, Payee, Signed, Staged, assembled, keccak256
from keephold import Address
from keephold.base.errors import BadShare


def to(payee):
    return {"to": checksummed(payee)}


@pytest.fixture
def wallet(net, alice, bob, carol):
    return net.deploy(Custody, 1, policy(alice, bob, carol), sender=alice)


def approved(wallet, raw, *officers):
    number = wallet.as_(officers[0]).stage(raw)
    for officer in officers:
        wallet.as_(officer).approve(number)
    return number


def paid(net, wallet, raw, *officers):
    number = approved(wallet, raw, *officers)
    net.warp(DELAY)
    return net.released(wallet, wallet.as_(officers[0]).sign(number), officers[0])


def test_two_of_three_pay_after_the_delay_and_ethereum_agrees_who_signed(net, wallet, alice, bob, carol, dave):
    raw = unsigned()
    number = approved(wallet, raw, alice, bob)
    with net.rejects("not_released"):
        net.released(wallet, f"payment/{number}", alice)
    net.warp(DELAY)
    topic = wallet.as_(carol).sign(number)
    released = net.released(wallet, topic, carol)
    sent = assembled(raw, released.signature)
    assert sender(sent) == checksummed(wallet.ethereum_address())
    assert released.message == keccak256(raw)
    # Every officer may have it, and nobody else.
    assert net.released(wallet, topic, alice) == released
    with net.rejects("not_released"):
        net.released(wallet, topic, dave)
    assert [type(event) for event in net.events(bob, wallet)] == [Staged, Signed]
    assert net.events(dave, wallet) == []
    assert wallet.as_(alice).terms()[1:] == (1, LIMIT // 2 + FEE, False)


def test_the_address_stays_and_is_the_wallets_own(net, wallet, alice, bob):
    other = net.deploy(Custody, 1, policy(alice, bob), sender=alice)
    assert wallet.ethereum_address() == wallet.ethereum_address() != other.ethereum_address()
    assert len(wallet.ethereum_address()) == 20


def test_no_signature_without_quorum_and_delay(net, wallet, alice, bob, carol):
    number = approved(wallet, unsigned(), alice)
    wallet.as_(alice).approve(number)  # once more counts once
    net.warp(DELAY)
    with net.rejects("no_quorum"):
        wallet.as_(alice).sign(number)
    wallet.as_(bob).approve(number)
    if net.snapshot() is not None:  # a ledger's clock does not wait
        with net.rejects("too_early"):
            wallet.as_(alice).sign(number)
    net.warp(DELAY)
    wallet.as_(alice).sign(number)
    with net.rejects("signed"):
        wallet.as_(alice).sign(number)
    with net.rejects("signed"):
        wallet.as_(carol).approve(number)


REFUSED = [
    ("wrong_chain", {"chainId": 5}),
    ("unknown_payee", to(STRANGER)),
    ("over_limit", {"value": LIMIT + 1}),
    ("over_fee_limit", {"gas": 21_001}),
    ("over_fee_limit", {"maxFeePerGas": 30 * GWEI + 1}),
    ("no_data", {"data": b"\x01", "gas": 21_000}),
    ("no_data", {"accessList": ({"address": checksummed(SHOP), "storageKeys": ()},)}),
    ("bad_transaction", {"maxPriorityFeePerGas": 31 * GWEI}),
    ("bad_transaction", {"gas": 20_999}),
    ("bad_transaction", {"value": 1 << 128}),
]


@pytest.mark.parametrize(("code", "changes"), REFUSED, ids=range(len(REFUSED)))
def test_what_the_policy_does_not_allow_is_not_staged(net, wallet, alice, code, changes):
    with net.rejects(code):
        wallet.as_(alice).stage(unsigned(**changes))


def test_a_payee_that_takes_data_gets_it(net, wallet, alice, bob):
    access = ({"address": checksummed(BANK), "storageKeys": ("0x" + "00" * 32,)},)
    raw = unsigned(data=b"\xa9\x05\x9c\xbb" + bytes(64), accessList=access, **to(BANK))
    released = paid(net, wallet, raw, alice, bob)
    assert sender(assembled(raw, released.signature)) == checksummed(wallet.ethereum_address())


def test_nonces_are_signed_in_order_and_once(net, wallet, alice, bob):
    second, first, rival = (
        approved(wallet, unsigned(nonce=nonce, value=value), alice, bob) for nonce, value in ((1, 1), (0, 2), (0, 3))
    )
    net.warp(DELAY)
    with net.rejects("wrong_nonce"):
        wallet.as_(alice).sign(second)
    wallet.as_(alice).sign(first)
    with net.rejects("wrong_nonce"):
        wallet.as_(alice).sign(rival)
    wallet.as_(alice).sign(second)
    with net.rejects("nonce_used"):
        wallet.as_(alice).stage(unsigned(nonce=1))


def test_a_payment_whose_fees_are_too_low_holds_up_the_others_no_longer_than_the_quorum_lets_it(
    net, wallet, alice, bob, carol
):
    low = {"maxFeePerGas": 2 * GWEI}
    paid(net, wallet, unsigned(**low), alice, bob)
    # Only fees may differ, both are higher, and one officer alone gets nothing signed.
    higher = {"maxFeePerGas": 3 * GWEI, "maxPriorityFeePerGas": 2 * GWEI}
    for other in ({"value": 1}, to(BANK), {"maxPriorityFeePerGas": GWEI}, {"maxFeePerGas": 2 * GWEI}, {"chainId": 5}):
        with net.rejects("wrong_chain" if "chainId" in other else "nonce_used"):
            wallet.as_(alice).stage(unsigned(**higher | other))
    raw = unsigned(**higher)
    number = approved(wallet, raw, carol)
    net.warp(DELAY)
    with net.rejects("no_quorum"):
        wallet.as_(carol).sign(number)
    wallet.as_(bob).approve(number)
    net.warp(DELAY)
    released = net.released(wallet, wallet.as_(carol).sign(number), carol)
    assert sender(assembled(raw, released.signature)) == checksummed(wallet.ethereum_address())
    # It counts again, the next nonce is the same, and what was outbid is not signed once more.
    assert wallet.as_(alice).terms()[1:3] == (1, LIMIT + 21_000 * 5 * GWEI)
    with net.rejects("nonce_used"):
        wallet.as_(alice).stage(unsigned(**low))
    paid(net, wallet, unsigned(nonce=1), alice, bob)
    with net.rejects("nonce_used"):
        wallet.as_(alice).stage(unsigned(**higher | {"maxFeePerGas": 4 * GWEI, "maxPriorityFeePerGas": 3 * GWEI}))


def test_two_that_outbid_the_same_are_signed_in_the_order_of_their_fees_or_one_of_them_not(net, wallet, alice, bob):
    paid(net, wallet, unsigned(maxFeePerGas=2 * GWEI), alice, bob)
    more, most = (
        approved(wallet, unsigned(maxFeePerGas=fee * GWEI, maxPriorityFeePerGas=fee * GWEI), alice, bob)
        for fee in (3, 4)
    )
    net.warp(DELAY)
    wallet.as_(alice).sign(most)
    with net.rejects("wrong_nonce"):
        wallet.as_(alice).sign(more)


def test_a_payment_with_too_little_gas_for_the_chain_and_one_that_was_a_mistake_do_not_hold_up_the_others(
    net, wallet, alice, bob
):
    call = {"data": b"\1" * 64, **to(BANK)}

    def fees(gwei, **changes):
        return {"maxFeePerGas": gwei * GWEI, "maxPriorityFeePerGas": gwei * GWEI, **changes}

    # No chain takes 64 bytes of data for the gas that a transaction without any needs.
    paid(net, wallet, unsigned(**call | fees(1)), alice, bob)
    paid(net, wallet, unsigned(**call | fees(2, gas=60_000)), alice, bob)
    # Nothing at all, to whomever; it is no way to another payment.
    nothing = fees(3, value=0, **to(SHOP))
    with net.rejects("nonce_used"):
        wallet.as_(alice).stage(unsigned(**nothing | {"value": 1}))
    with net.rejects("nonce_used"):
        wallet.as_(alice).stage(unsigned(**nothing | {"data": b"\1", **to(BANK)}))
    with net.rejects("unknown_payee"):
        wallet.as_(alice).stage(unsigned(**nothing | to(STRANGER)))
    mistake = approved(wallet, unsigned(**call | fees(4, gas=60_000)), alice, bob)
    released = paid(net, wallet, unsigned(**nothing), alice, bob)
    assert sender(assembled(unsigned(**nothing), released.signature)) == checksummed(wallet.ethereum_address())
    with net.rejects("wrong_nonce"):
        wallet.as_(alice).sign(mistake)
    paid(net, wallet, unsigned(nonce=1), alice, bob)


def test_a_period_has_a_limit_and_ends(net, wallet, alice, bob):
    if net.snapshot() is None:
        pytest.skip("an hour is long to wait")
    for nonce in range(3):
        paid(net, wallet, unsigned(nonce=nonce, value=LIMIT), alice, bob)
    number = approved(wallet, unsigned(nonce=3, value=0), alice, bob)
    net.warp(DELAY)
    with net.rejects("over_period_limit"):
        wallet.as_(alice).sign(number)
    net.warp(PERIOD)
    wallet.as_(alice).sign(number)


def test_one_officer_freezes_and_the_quorum_unfreezes(net, wallet, alice, bob, carol, dave):
    number = approved(wallet, unsigned(), alice, bob)
    net.warp(DELAY)
    with net.rejects("forbidden"):
        wallet.as_(dave).freeze()
    wallet.as_(carol).freeze()
    for act in (lambda: wallet.as_(alice).sign(number), lambda: wallet.as_(alice).stage(unsigned())):
        with net.rejects("frozen"):
            act()
    assert wallet.as_(carol).unfreeze() is False
    assert wallet.as_(carol).unfreeze() is False  # once more counts once
    assert wallet.as_(alice).unfreeze() is True
    with net.rejects("not_frozen"):
        wallet.as_(alice).unfreeze()
    # What was on its way is void: whoever froze had a reason.
    with net.rejects("void"):
        wallet.as_(alice).sign(number)
    assert Frozen(carol.address) in net.events(bob, wallet)
    paid(net, wallet, unsigned(), alice, bob)


def test_the_quorum_changes_officers_after_the_delay_frozen_or_not(net, wallet, alice, bob, carol, dave):
    """Carol turns against the others, and freezes whatever they do: she cannot keep them from removing her."""
    pending = approved(wallet, unsigned(), alice, bob)
    wallet.as_(carol).freeze()
    change = wallet.as_(alice).propose(policy(alice, bob, dave))
    wallet.as_(alice).agree(change)
    with net.rejects("no_quorum"):
        wallet.as_(alice).enact(change)
    wallet.as_(bob).agree(change)
    wallet.as_(carol).freeze()
    net.warp(DELAY)
    rival = wallet.as_(carol).propose(policy(carol, quorum=1))
    wallet.as_(bob).enact(change)
    for act in (
        lambda: wallet.as_(carol).freeze(),
        lambda: wallet.as_(carol).agree(rival),
        lambda: wallet.as_(carol).payment(pending),
        lambda: wallet.as_(carol).terms(),
    ):
        with net.rejects("forbidden"):
            act()
    with net.rejects("void"):
        wallet.as_(alice).agree(rival)
    with net.rejects("void"):
        wallet.as_(alice).enact(change)
    wallet.as_(dave).unfreeze()
    wallet.as_(alice).unfreeze()
    with net.rejects("void"):
        wallet.as_(alice).approve(pending)
    paid(net, wallet, unsigned(), dave, alice)


def test_a_change_of_policy_waits_for_the_delay(net, wallet, alice, bob):
    if net.snapshot() is None:
        pytest.skip("a ledger's clock does not wait")
    change = wallet.as_(alice).propose(policy(alice, quorum=1))
    wallet.as_(alice).agree(change)
    wallet.as_(bob).agree(change)
    with net.rejects("too_early"):
        wallet.as_(alice).enact(change)
    net.warp(DELAY)
    wallet.as_(alice).enact(change)
    assert wallet.as_(alice).terms()[0] == policy(alice, quorum=1)


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": 0},
        {"quorum": 4},
        {"delay_ns": -1},
        {"period_ns": 0},
        {"payees": (Payee(b"short", 1),)},
        {"payees": (Payee(SHOP, 1), Payee(SHOP, 2))},
    ],
    ids=range(6),
)
def test_policies_that_are_none(net, alice, bob, carol, changes):
    with net.rejects("bad_policy"):
        net.deploy(Custody, 1, policy(alice, bob, carol, **changes), sender=alice)
    with net.rejects("bad_policy"):
        net.deploy(Custody, 1, policy(alice, bob, bob), sender=alice)
    # Nobody could be told a signature: a contract reads none, and 65 accounts are too many.
    many = tuple(Address(at.to_bytes(32, "big")) for at in range(65))
    for officers in ((alice.address, Address(bytes(32), "contract")), many):
        with net.rejects("bad_policy"):
            net.deploy(Custody, 1, policy(officers=officers), sender=alice)


def test_strangers_do_nothing(net, wallet, alice, dave):
    number = wallet.as_(alice).stage(unsigned())
    mine = wallet.as_(dave)
    for act in (
        lambda: mine.stage(unsigned()),
        lambda: mine.approve(number),
        lambda: mine.sign(number),
        mine.unfreeze,
        lambda: mine.propose(policy(dave, quorum=1)),
        lambda: mine.agree(1),
        lambda: mine.enact(1),
    ):
        with net.rejects("forbidden"):
            act()
    with net.rejects("not_found"):
        wallet.as_(alice).sign(number + 1)


def test_nobody_outside_tells_amount_or_payee(net, alice, bob, carol):
    def story(secret):
        wallet = net.deploy(Custody, 1, policy(alice, bob, carol), sender=alice)
        paid(net, wallet, unsigned(value=secret[0], **to(secret[1])), alice, bob)

    net.assert_indistinguishable(story, (1, SHOP), (LIMIT, BANK), observer=None)


@pytest.mark.attack
def test_an_approval_ordered_twice_is_no_quorum(net, wallet, alice):
    """Nor is one that another sender sends as his own; and no key signs in the hands of one gatekeeper."""
    number = approved(wallet, unsigned(), alice)
    with net.attack.replay(wallet), net.attack.redirect(wallet):
        net.warp(DELAY)
        with net.rejects("no_quorum"):
            wallet.as_(alice).sign(number)
    with net.attack.take_gatekeepers(1) as seized, pytest.raises(BadShare):
        seized.slots(wallet)
