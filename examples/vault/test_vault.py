"""The vault, as its officers use it and as one of them attacks it; what it signs is run by another implementation.

`keephold test examples/vault --net devnet` runs it for real.
"""

from __future__ import annotations

import pytest
from broadcast import assembled
from btclib.exceptions import BTClibValueError
from psbts import digests, extracted, psbt
from vault import Payee, Proposed, Signed, Staged, Stopped, Vault, parse_psbt
from vaults import BANK, COIN, DELAY, FEE, LIMIT, PERIOD, SHOP, STRANGER, coin, payment, policy

from keephold import Address
from keephold.base.errors import BadShare


@pytest.fixture
def vault(net, alice, bob, carol):
    return net.deploy(Vault, policy(alice, bob, carol), sender=alice)


@pytest.fixture
def script(vault, alice):
    return vault.as_(alice).receive()


def approved(vault, raw, *officers):
    number = vault.as_(officers[0]).stage(raw)
    for officer in officers:
        vault.as_(officer).approve(number)
    return number


def signatures(net, vault, number, officer):
    count = vault.as_(officer).sign(number)
    return tuple(net.released(vault, f"payment/{number}/{at}", officer).signature for at in range(count))


def paid(net, vault, raw, *officers):
    """Have it signed, and return what a node takes, after another implementation ran its scripts."""
    made = signatures(net, vault, approved(vault, raw, *officers), officers[0])
    sent = extracted(raw, made)
    assert assembled(parse_psbt(raw), made) == sent
    return sent


def waits(net, vault, number, officer):
    """Tell that it is signed after the delay and, where a test has the clock, not before."""
    if net.snapshot() is not None:
        with net.rejects("too_early"):
            vault.as_(officer).sign(number)
    net.warp(DELAY)
    return signatures(net, vault, number, officer)


def has_spent(net, vault, officer, sats):
    """Tell what counts towards the limit; on a ledger, whose clock goes on, the delay may be over."""
    return net.snapshot() is None or vault.as_(officer).terms()[1] == sats


def test_two_of_three_pay_within_limits_at_once_and_bitcoin_takes_it(net, vault, script, alice, bob, carol, dave):
    raw = payment([coin(script), coin(script, 2, hash_type=1)])
    number = vault.as_(alice).stage(raw)
    vault.as_(alice).approve(number)
    with net.rejects("no_quorum"):
        vault.as_(alice).sign(number)
    vault.as_(bob).approve(number)
    topics = [f"payment/{number}/{at}" for at in range(2)]
    with net.rejects("not_released"):
        net.released(vault, topics[0], alice)
    made = signatures(net, vault, number, carol)
    # Another implementation finalises the PSBT and runs the scripts; what the vault's own reader makes is the same.
    sent = extracted(raw, made)
    assert assembled(parse_psbt(raw), made) == sent
    assert [net.released(vault, topic, bob).message for topic in topics] == [*digests(raw)]
    for topic in topics:
        with net.rejects("not_released"):
            net.released(vault, topic, dave)
    assert [type(event) for event in net.events(bob, vault)] == [Staged, Signed]
    assert net.events(dave, vault) == []
    assert has_spent(net, vault, alice, LIMIT // 2 + FEE)


def test_each_address_has_a_key_of_its_own(net, vault, script, alice, bob):
    second = vault.as_(bob).receive()
    assert script != second
    assert [len(one) for one in (script, second)] == [34, 34]
    assert [vault.as_(bob).script(number) for number in (1, 2)] == [script, second]
    for number in (0, 3):
        with net.rejects("not_found"):
            vault.as_(bob).script(number)
    raw = payment([coin(script), coin(second, 2)], to=BANK, change=second)
    paid(net, vault, raw, alice, bob)
    # Signatures in the other's place are none.
    number = approved(vault, payment([coin(script, 3), coin(second, 4)]), alice, bob)
    with pytest.raises(BTClibValueError):
        extracted(payment([coin(script, 3), coin(second, 4)]), signatures(net, vault, number, alice)[::-1])


# --- what a PSBT may claim ---


def test_coins_of_others_are_not_spent_beside_its_own(net, vault, script, alice, bob):
    """Whoever gets the vault to sign for a coin of his own has the vault's coins pay the fee, or his debts."""
    other = net.deploy(Vault, policy(alice, bob), sender=alice).as_(alice).receive()
    for foreign in (other, SHOP, b"\x51\x21" + script[2:], script + b"\0", script[:-1], b"\x52" + script[1:], b""):
        with net.rejects("foreign_input"):
            vault.as_(alice).stage(psbt([coin(script), coin(foreign, 2)], [(SHOP, 2 * COIN - FEE)]))
        with net.rejects("foreign_input"):
            vault.as_(alice).stage(psbt([coin(foreign)], [(script, COIN - FEE)]))


def test_a_signature_over_a_wrong_claim_is_worth_nothing(net, vault, script, alice, bob):
    """Alice says that a coin holds less than it does: all the rest would be fees, which nobody saw."""
    second = vault.as_(alice).receive()
    honest = [coin(script), coin(second, 2)]
    lies = (
        [coin(script, sats=COIN // 2), coin(second, 2)],
        [coin(script), coin(second, 2, sats=COIN + 1)],
        [coin(second), coin(script, 2)],
    )
    for lie in lies:
        kept = sum(one.sats for one in lie) - LIMIT - FEE
        outputs = [(SHOP, LIMIT), (script, kept)]
        made = signatures(net, vault, approved(vault, psbt(lie, outputs), alice, bob), alice)
        extracted(psbt(lie, outputs), made)  # good if it were so
        with pytest.raises(BTClibValueError, match="invalid taproot key path signature"):
            extracted(psbt(honest, outputs), made)
        # Not for one of the coins, nor over the very transaction that was signed.
        assert not {*digests(psbt(honest, outputs))} & {*digests(psbt(lie, outputs))}


def test_fees_are_bounded_with_delay_and_without(net, vault, script, alice):
    for to in (SHOP, STRANGER, script):
        with net.rejects("over_fee_limit"):
            vault.as_(alice).stage(payment([coin(script)], to=to, fee=FEE + 1))
    with net.rejects("bad_psbt"):
        vault.as_(alice).stage(payment([coin(script)], fee=-1))
    # Change that is forgotten is a fee.
    with net.rejects("over_fee_limit"):
        vault.as_(alice).stage(psbt([coin(script)], [(SHOP, LIMIT)]))


def test_only_what_lets_nobody_add_or_exchange_anything_is_signed(net, vault, script, alice):
    for kind in (2, 3, 0x81, 0x82, 0x83):
        with net.rejects("bad_psbt"):
            vault.as_(alice).stage(payment([coin(script, hash_type=kind)]))


@pytest.mark.parametrize(
    ("to", "sats", "change"),
    [
        (STRANGER, 1, None),
        (SHOP, LIMIT + 1, None),
        (SHOP, LIMIT, STRANGER),
        (SHOP, LIMIT, b"\x51\x20" + bytes(31) + b"\1"),
        (SHOP, LIMIT, SHOP),
        (b"\x6a\x04note", 0, None),
    ],
    ids=["a stranger", "too much", "change to a stranger", "change to a key of no one", "in two parts", "data"],
)
def test_beyond_the_limits_nothing_leaves_before_the_delay(net, vault, script, alice, bob, to, sats, change):
    raw = payment([coin(script)], sats, to=to, change=change)
    number = approved(vault, raw, alice, bob)
    extracted(raw, waits(net, vault, number, alice))
    assert has_spent(net, vault, alice, 0)  # the limit is of what leaves without delay


def test_a_vote_is_for_one_transaction(net, vault, script, alice, bob):
    """Neither another PSBT nor the same once more is approved by it, and nothing is signed twice."""
    raw = payment([coin(script)])
    number = approved(vault, raw, alice, bob)
    for other in (payment([coin(script, 2)]), payment([coin(script)], to=BANK), raw):
        again = vault.as_(alice).stage(other)
        with net.rejects("no_quorum"):
            vault.as_(alice).sign(again)
    made = signatures(net, vault, number, alice)
    with net.rejects("signed"):
        vault.as_(alice).sign(number)
    with net.rejects("signed"):
        vault.as_(bob).approve(number)
    with net.rejects("signed"):
        vault.as_(bob).cancel(number)
    with pytest.raises(BTClibValueError):
        extracted(payment([coin(script, 2)]), made)


# --- limits in time ---


def test_a_period_has_a_limit_and_ends(net, vault, script, alice, bob):
    if net.snapshot() is None:
        pytest.skip("a day is long to wait")
    for at in range(3):
        paid(net, vault, payment([coin(script, at)], LIMIT), alice, bob)
    raw = payment([coin(script, 3)], 0, fee=1)
    number = approved(vault, raw, alice, bob)
    with net.rejects("too_early"):
        vault.as_(alice).sign(number)
    # To itself, too, as fees are spent. The delay is one way on, the next period the other.
    waits(net, vault, number, alice)
    late = approved(vault, payment([coin(script, 4)], LIMIT), alice, bob)
    net.warp(PERIOD)
    fresh = approved(vault, payment([coin(script, 5)], LIMIT), alice, bob)
    vault.as_(alice).sign(fresh)
    assert has_spent(net, vault, alice, LIMIT + FEE)
    vault.as_(alice).sign(late)
    assert has_spent(net, vault, alice, LIMIT + FEE)


def test_the_same_coins_count_once_and_at_their_dearest(net, vault, script, alice, bob):
    """A fee that was too low is raised, and what was signed is called back: of these, a chain takes one."""

    def pay(coins, sats, fee, expected):
        paid(net, vault, payment(coins, sats, fee=fee), alice, bob)
        assert has_spent(net, vault, alice, expected)

    two = [coin(script), coin(script, 2)]
    pay(two, LIMIT, FEE // 2, LIMIT + FEE // 2)
    pay(two, LIMIT, FEE, LIMIT + FEE)
    pay(two[::-1], 0, FEE, LIMIT + FEE)
    pay(two, LIMIT, FEE, LIMIT + FEE)
    # With one coin more, or one less, it is another payment: both may come to pass.
    pay(two[:1], LIMIT, FEE, 2 * (LIMIT + FEE))
    pay([*two, coin(script, 3)], LIMIT, FEE, 3 * (LIMIT + FEE))
    number = approved(vault, payment(two[1:], 1), alice, bob)
    if net.snapshot() is not None:
        with net.rejects("too_early"):
            vault.as_(alice).sign(number)


# --- officers against each other ---


def test_one_officer_cancels_what_is_not_signed(net, vault, script, alice, bob, carol):
    number = approved(vault, payment([coin(script)], to=STRANGER), alice, bob)
    vault.as_(carol).cancel(number)
    net.warp(DELAY)
    for act in (vault.as_(alice).sign, vault.as_(alice).approve, vault.as_(alice).cancel):
        with net.rejects("cancelled"):
            act(number)
    assert Stopped(number, carol.address) in net.events(bob, vault)
    assert vault.as_(bob).payment(number).state == "cancelled"
    paid(net, vault, payment([coin(script)]), alice, bob)


def test_one_officer_freezes_and_another_policy_ends_it(net, vault, script, alice, bob, carol):
    number = approved(vault, payment([coin(script)]), alice, bob)
    early = vault.as_(alice).propose(policy(alice, bob, carol))
    vault.as_(carol).freeze()
    for act in (
        lambda: vault.as_(alice).sign(number),
        lambda: vault.as_(alice).cancel(number),
        lambda: vault.as_(alice).stage(payment([coin(script)])),
    ):
        with net.rejects("frozen"):
            act()

    def enact(change):
        for officer in (alice, bob):
            vault.as_(officer).agree(change)
        net.warp(DELAY)
        vault.as_(alice).enact(change)
        return vault.as_(alice).terms()[2]

    # What was proposed before the freeze does not end it: whoever froze may have done so because of it.
    assert enact(early) is True
    assert enact(vault.as_(alice).propose(policy(alice, bob, carol))) is False
    with net.rejects("void"):
        vault.as_(alice).sign(number)
    assert Stopped(0, carol.address) in net.events(bob, vault)
    paid(net, vault, payment([coin(script)]), alice, bob)


def test_another_policy_voids_what_was_approved_under_the_one_before(net, vault, script, alice, bob, carol):
    number = approved(vault, payment([coin(script)]), alice, bob)
    change, rival = (vault.as_(alice).propose(policy(alice, bob, carol, fee_limit=limit)) for limit in (1, 2))
    for officer in (alice, bob):
        vault.as_(officer).agree(change)
        vault.as_(officer).agree(rival)
    net.warp(DELAY)
    vault.as_(carol).enact(change)
    for act in (vault.as_(alice).sign, vault.as_(alice).approve, vault.as_(alice).cancel):
        with net.rejects("void"):
            act(number)
    with net.rejects("void"):
        vault.as_(alice).enact(rival)
    with net.rejects("over_fee_limit"):
        vault.as_(alice).stage(payment([coin(script)]))


def test_a_vote_more_than_needed_starts_no_delay_anew(net, vault, script, alice, bob, carol):
    number = approved(vault, payment([coin(script)], to=STRANGER), alice, bob)
    net.warp(DELAY)
    for officer in (carol, alice):
        vault.as_(officer).approve(number)
    vault.as_(alice).sign(number)


def test_the_quorum_removes_an_officer_who_freezes_for_ever(net, vault, script, alice, bob, carol, dave):
    pending = approved(vault, payment([coin(script)]), alice, bob)
    change = vault.as_(alice).propose(policy(alice, bob, dave))
    assert Proposed(change, alice.address, policy(alice, bob, dave)) in net.events(carol, vault)
    rival = vault.as_(carol).propose(policy(carol, quorum=1))
    vault.as_(alice).agree(change)
    vault.as_(carol).freeze()
    with net.rejects("no_quorum"):
        vault.as_(alice).enact(change)
    vault.as_(bob).agree(change)
    if net.snapshot() is not None:
        with net.rejects("too_early"):
            vault.as_(alice).enact(change)
    vault.as_(carol).freeze()
    net.warp(DELAY)
    vault.as_(bob).enact(change)
    mine = vault.as_(carol)
    for act in (mine.freeze, mine.receive, mine.terms, lambda: mine.agree(rival), lambda: mine.payment(pending)):
        with net.rejects("forbidden"):
            act()
    with net.rejects("void"):
        vault.as_(alice).agree(rival)
    last = vault.as_(dave).propose(policy(alice, bob, dave))
    for officer in (dave, alice):
        vault.as_(officer).agree(last)
    net.warp(DELAY)
    vault.as_(dave).enact(last)
    paid(net, vault, payment([coin(script)]), dave, alice)


@pytest.mark.parametrize(
    "changes",
    [
        {"quorum": 0},
        {"quorum": 4},
        {"delay_ns": -1},
        {"period_ns": 0},
        {"payees": (Payee(SHOP, 1), Payee(SHOP, 2))},
        {"officers": ()},
        {"officers": (Address(bytes(32)), Address(bytes(32))), "quorum": 1},
        {"officers": (Address(bytes(32)), Address(bytes(32), "contract")), "quorum": 1},
        {"officers": tuple(Address(at.to_bytes(32, "big")) for at in range(65))},
    ],
    ids=range(9),
)
def test_policies_that_are_none(net, vault, alice, bob, carol, changes):
    with net.rejects("bad_policy"):
        net.deploy(Vault, policy(alice, bob, carol, **changes), sender=alice)
    with net.rejects("bad_policy"):
        vault.as_(alice).propose(policy(alice, bob, carol, **changes))


def test_strangers_do_nothing(net, vault, script, alice, dave):
    number = vault.as_(alice).stage(payment([coin(script)]))
    mine = vault.as_(dave)
    for act in (
        mine.receive,
        lambda: mine.stage(payment([coin(script)])),
        lambda: mine.approve(number),
        lambda: mine.cancel(number),
        lambda: mine.sign(number),
        mine.freeze,
        lambda: mine.propose(policy(dave, quorum=1)),
        lambda: mine.agree(1),
        lambda: mine.enact(1),
        lambda: mine.script(1),
    ):
        with net.rejects("forbidden"):
            act()
    with net.rejects("not_found"):
        vault.as_(alice).sign(number + 1)


def test_nobody_outside_tells_amount_or_payee(net, alice, bob, carol):
    def story(secret):
        vault = net.deploy(Vault, policy(alice, bob, carol), sender=alice)
        script = vault.as_(alice).receive()
        paid(net, vault, payment([coin(script)], secret[0], to=secret[1]), alice, bob)

    net.assert_indistinguishable(story, (1, SHOP), (LIMIT, BANK), observer=None)


def test_how_many_coins_are_spent_is_seen(net, alice, bob, carol):
    def story(count):
        vault = net.deploy(Vault, policy(alice, bob, carol), sender=alice)
        script = vault.as_(alice).receive()
        paid(net, vault, payment([coin(script, at) for at in range(count)]), alice, bob)

    net.assert_indistinguishable(story, 2, 2, observer=None)
    with pytest.raises(AssertionError, match="slots"):
        net.assert_indistinguishable(story, 1, 2, observer=None)


@pytest.mark.attack
def test_an_approval_ordered_twice_is_no_quorum(net, vault, script, alice):
    """Nor is one that another sender sends as his own; and no key signs in the hands of one gatekeeper."""
    number = approved(vault, payment([coin(script)]), alice)
    with net.attack.replay(vault), net.attack.redirect(vault), net.rejects("no_quorum"):
        vault.as_(alice).sign(number)
    with net.attack.take_gatekeepers(1) as seized, pytest.raises(BadShare):
        seized.slots(vault)
