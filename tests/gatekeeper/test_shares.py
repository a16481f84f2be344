"""One usable share at every moment: killed between any two changes of the disk, a gatekeeper comes back with it."""

from __future__ import annotations

import secrets

import pytest
from gatekeeper_relay import INPUT, Relay, member
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadShare
from keephold.custody.secret import release


@pytest.fixture
def relay() -> Relay:
    made = Relay()
    made.generate("abc", 2)
    return made


def test_the_key_outlives_its_holders(relay: Relay) -> None:
    seed, master = relay.seed("a", "b"), relay.office.master
    relay.reshare("abd", 2, silent="c")
    assert relay.seed("a", "d") == relay.seed("b", "d") == seed
    relay.reshare("defgh", 3, silent="a")
    assert relay.seed("d", "f", "h") == seed
    assert (relay.office.master, relay.office.sharing_epoch) == (master, 3)
    assert [relay.stored(name) for name in "bdefgh"] == [[], ["share"], ["share"], ["share"], ["share"], ["share"]]


def changes(name: str) -> int:
    """How often a member's disk changes in the resharing of these tests."""
    probe = Relay()
    probe.generate("abc", 2)
    probe.boot(name)
    before = probe.vaults[name].changes
    probe.reshare("abd", 2)
    return probe.vaults[name].changes - before


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("name", "at"), [(name, at) for name in "acd" for at in range(1, 1 + changes(name))], ids=str)
def test_killed_at_every_point_it_has_exactly_one_usable_share(relay: Relay, name: str, at: int, after: bool) -> None:
    """`a` stays, `c` leaves, `d` is new."""
    seed, old = relay.seed("a", "b"), relay.office
    relay.boot(name)
    vault = relay.vaults[name]
    vault.dies_at, vault.dies_after = vault.changes + at, after
    relay.reshare("abd", 2)
    assert relay.killed == [name]
    new = relay.office
    assert (new.sharing_epoch, {seat.member for seat in new.seats}) == (2, {member(n) for n in "abd"})
    for who in "abd":
        assert relay.members[who].share_for(new) is not None
        assert relay.members[who].share_for(old) is None
        assert relay.stored(who) == ["share"]
    assert relay.stored("c") == []
    assert relay.seed("a", "b") == relay.seed("a", "d") == relay.seed("b", "d") == seed
    # And once more from the disk alone.
    again = relay.boot(name)
    assert (again.share_for(new) is not None) is (name != "c")
    assert again.share_for(old) is None


def test_between_the_two_shares_each_serves_its_own_committee(relay: Relay) -> None:
    """The new share is stored, the switch not proven yet: the old one is in use, and a restart changes nothing."""
    old = relay.office
    a = relay.members["a"]
    a.settle = lambda _: None  # nothing is proven to it
    relay.reshare("abd", 2)
    assert relay.stored("a") == ["share", "share-next"]
    again = relay.boot("a")
    assert again.share_for(old).scalar() == a.share_for(old).scalar()
    assert again.share_for(relay.office).scalar() != again.share_for(old).scalar()
    # An older proof that arrives late erases nothing newer.
    again.settle(old)
    assert relay.stored("a") == ["share", "share-next"]
    again.settle(relay.office)
    assert relay.stored("a") == ["share"]
    again.settle(old)
    assert again.share_for(relay.office) is not None


def test_partials_of_two_sharings_do_not_combine(relay: Relay) -> None:
    old, stale = relay.office, relay.members["b"].share_for(relay.office)
    late = release.partial(stale, INPUT, secrets.token_bytes)
    relay.reshare("abd", 2)
    fresh = release.partial(relay.members["d"].share_for(relay.office), INPUT, secrets.token_bytes)
    for keys in (old, relay.office):
        with pytest.raises(BadShare):
            release.combine([late, fresh], keys, INPUT)


def test_a_resharing_that_fails_leaves_everyone_as_he_was(relay: Relay) -> None:
    seed, old = relay.seed("a", "b"), relay.office
    relay.reshare("abd", 2, silent="bc")
    assert relay.state.phase == "failed"
    assert relay.office == old
    assert [relay.stored(name) for name in "abcd"] == [["share"], ["share"], ["share"], []]
    assert relay.seed("b", "c") == seed
    relay.reshare("abd", 2)
    assert relay.seed("a", "d") == seed


def test_a_member_that_lost_its_share_gets_a_new_one(relay: Relay) -> None:
    seed = relay.seed("a", "b")
    del relay.vaults["a"]
    relay.boot("a")
    relay.reshare("abd", 2)
    assert relay.seed("a", "d") == seed


def test_another_master_key_erases_nothing(relay: Relay) -> None:
    other = Relay()
    other.generate("abc", 2)
    a = relay.members["a"]
    a.settle(other.office)
    assert a.share_for(relay.office) is not None
    assert a.share_for(other.office) is None


STEP = st.tuples(
    st.sets(st.sampled_from("abcdefg"), min_size=2, max_size=5),
    st.integers(1, 3),
    st.sets(st.sampled_from("abcdefg"), max_size=2),
    st.tuples(st.sampled_from("abcdefg"), st.integers(1, 5), st.booleans()),
)


@settings(max_examples=12, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=4))
def test_any_history_of_handovers_silences_and_deaths_keeps_the_key(steps) -> None:
    """Whoever comes, goes, is silent or dies: the same key, one share for who is in office, none for who is not."""
    relay = Relay()
    relay.generate("abc", 2)
    seed, master = relay.seed("a", "c"), relay.office.master
    for names, wanted, silent, (mortal, at, after) in steps:
        before = relay.office
        vault = relay.vaults.get(mortal)
        if vault is not None:
            vault.dies_at, vault.dies_after = vault.changes + at, after
        relay.reshare("".join(sorted(names)), min(wanted, (len(names) + 1) // 2), silent="".join(silent))
        for vault in relay.vaults.values():
            vault.dies_at = -1
        # The silent hear of it in the end.
        for one in relay.members.values():
            one.settle(relay.office)
        assert relay.office.master == master
        if relay.state.phase == "failed":
            assert relay.office == before
        holders = [name for name in relay.members if relay.members[name].share_for(relay.office) is not None]
        assert {member(name) for name in holders} == {seat.member for seat in relay.office.seats}
        for name in relay.members:
            assert relay.stored(name) == (["share"] if name in holders else [])
        assert relay.seed(*holders[: relay.office.threshold]) == seed
        assert relay.seed(*holders[-relay.office.threshold :]) == seed
