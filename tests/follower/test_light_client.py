"""Generated chains: what follows is accepted, and each rule, broken alone, refuses under its own name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from follower_blocks import CHAIN, FOUR, KEYS, NEXT, START, TRUSTED, block, commit_of, members
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import HeaderInvalid, NotEnoughTrust, TrustExpired
from keephold.chain.header import ABSENT, BlockIdFlag, CommitSig
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto import ed25519
from keephold.follower.light_client import (
    DEFAULT_TRUSTING_PERIOD_NS,
    MAX_CLOCK_DRIFT_NS,
    TrustedState,
    verify_adjacent,
    verify_header,
    verify_skipping,
)

PUBLIC = [key.public for key in KEYS]

# --- what follows is accepted


def test_from_genesis_block_by_block_with_changing_sets() -> None:
    sets = [members(0), members(0, 1), members(1, 2, 3), members(4, 5), members(6)]
    trusted = TrustedState.from_genesis(CHAIN, sets[0], START)
    for at, validators in enumerate(sets):
        following = sets[min(at + 1, len(sets) - 1)]
        step = block(at + 1, validators, following)
        trusted = step.after(trusted)
        assert trusted.header == step.signed.header
        assert trusted.next_validators == following
    assert trusted.height == len(sets)


def test_an_unchanged_set_need_not_be_repeated() -> None:
    trusted = verify_header(TRUSTED, NEXT.signed, TRUSTED.next_validators, None, NEXT.signed.header.time_ns)
    assert trusted.next_validators == FOUR
    changed = block(7, FOUR, members(0, 1))
    with pytest.raises(HeaderInvalid, match="next validators of this header"):
        verify_header(trusted, changed.signed, FOUR, None, changed.signed.header.time_ns)


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 11), min_size=1), st.sets(st.integers(0, 11), min_size=1), st.sets(st.integers(0, 11)))
def test_skipping_counts_the_power_that_really_signed(old, new, away) -> None:
    """The verdict is the one that the definition of the thresholds gives."""
    trusted = TrustedState.from_header(block(5, members(*old)).signed.header, members(*old))
    validators = members(*new)
    seats = [PUBLIC.index(member.public_key) for member in validators.validators]
    step = block(9, validators, absent=[at for at, seed in enumerate(seats) if seed in away])
    signed = new - away
    if 3 * len(signed & old) <= len(old):
        with pytest.raises(NotEnoughTrust):
            step.after(trusted)
    elif 3 * len(signed) <= 2 * len(new):
        with pytest.raises(HeaderInvalid, match="two thirds"):
            step.after(trusted)
    else:
        assert step.after(trusted).height == 9


def test_power_counts_not_heads() -> None:
    heavy = ValidatorSet.of([Validator(KEYS[0].public, 70), *(Validator(KEYS[at].public, 10) for at in (1, 2, 3))])
    trusted = TrustedState.from_header(block(5, heavy).signed.header, heavy)
    assert block(6, heavy, absent=[1, 2, 3]).after(trusted).height == 6
    with pytest.raises(HeaderInvalid, match="two thirds"):
        block(6, heavy, absent=[0]).after(trusted)


# --- rule 1


def test_1_the_trusted_header_must_be_within_the_trusting_period() -> None:
    expiry = TRUSTED.header.time_ns + DEFAULT_TRUSTING_PERIOD_NS
    assert NEXT.after(TRUSTED, expiry - 1).height == 6
    for step in (NEXT, block(9, FOUR)):
        with pytest.raises(TrustExpired):
            step.after(TRUSTED, expiry)


def test_1_the_period_is_the_trusted_states_own() -> None:
    short = TrustedState.from_header(TRUSTED.header, FOUR, 2 * NANOSECONDS)
    assert NEXT.after(short).trusting_period_ns == 2 * NANOSECONDS
    with pytest.raises(TrustExpired):
        block(7, FOUR).after(short)


# --- rule 2


def test_2_another_chain() -> None:
    with pytest.raises(HeaderInvalid, match="another chain"):
        block(6, FOUR, header={"chain_id": "other"}, chain="other").after(TRUSTED)
    with pytest.raises(HeaderInvalid, match="another chain"):
        block(1, FOUR).after(TrustedState.from_genesis("other", FOUR, START))


def test_2_signatures_of_another_chain_do_not_count() -> None:
    with pytest.raises(HeaderInvalid, match="two thirds"):
        block(6, FOUR, chain="other").after(TRUSTED)


def test_2_another_block_protocol() -> None:
    with pytest.raises(HeaderInvalid, match="protocol"):
        block(6, FOUR, header={"version_block": 12}).after(TRUSTED)


def test_2_a_commit_for_another_height_or_header() -> None:
    other = block(7, FOUR).signed.commit
    with pytest.raises(HeaderInvalid, match="another height"):
        NEXT.with_commit(other).after(TRUSTED)
    forged = commit_of(replace(NEXT.signed.header, app_hash=b"\x09" * 32), FOUR, KEYS)
    with pytest.raises(HeaderInvalid, match="another header"):
        NEXT.with_commit(forged).after(TRUSTED)


# --- rule 3


@pytest.mark.parametrize("height", [1, 4, 5])
def test_3_heights_only_rise(height) -> None:
    step = block(height, FOUR, header={"time_ns": TRUSTED.header.time_ns + 1})
    with pytest.raises(HeaderInvalid, match="height"):
        step.after(TRUSTED)


@pytest.mark.parametrize("height", [6, 9])
@pytest.mark.parametrize("ahead", [-1, 0])
def test_3_time_rises(height, ahead) -> None:
    with pytest.raises(HeaderInvalid, match="time"):
        block(height, FOUR, header={"time_ns": TRUSTED.header.time_ns + ahead}).after(TRUSTED)


def test_3_the_future_is_ten_seconds_away() -> None:
    arrival = NEXT.signed.header.time_ns - MAX_CLOCK_DRIFT_NS
    assert NEXT.after(TRUSTED, arrival + 1).height == 6
    with pytest.raises(HeaderInvalid, match="future"):
        NEXT.after(TRUSTED, arrival)


# --- rule 4


def test_4_the_validators_are_those_of_the_header() -> None:
    with pytest.raises(HeaderInvalid, match="validators of this header"):
        replace(NEXT, validators=members(0, 1, 2, 4)).after(TRUSTED)


@pytest.mark.parametrize("height", [6, 9])
def test_4_one_entry_for_each_validator(height) -> None:
    step = block(height, FOUR)
    votes = step.signed.commit.signatures
    for other in (votes[:3], (*votes, ABSENT), (*votes, votes[0])):
        with pytest.raises(HeaderInvalid, match="one commit entry"):
            step.with_votes(*other).after(TRUSTED)


# --- rule 5


def test_5_an_adjacent_header_has_the_announced_validators() -> None:
    with pytest.raises(HeaderInvalid, match="announced"):
        block(6, members(0, 1, 2, 3, 4)).after(TRUSTED)


def test_5_exactly_a_third_is_not_enough_to_skip() -> None:
    trusted = TrustedState.from_header(block(5, members(0, 1, 2)).signed.header, members(0, 1, 2))
    with pytest.raises(NotEnoughTrust):
        block(9, members(0, 4, 5)).after(trusted)
    assert block(9, members(0, 1, 5)).after(trusted).height == 9


def test_5_each_trusted_member_counts_once() -> None:
    """Two entries under one address: with one member's power twice, a third would be reached."""
    step = block(9, members(0, 4, 5))
    trusted = TrustedState.from_header(block(5, FOUR).signed.header, FOUR)
    mine = next(vote for vote in step.signed.commit.signatures if vote.address in FOUR.by_address)
    with pytest.raises(HeaderInvalid, match="two votes of one validator"):
        step.with_votes(mine, mine, mine).after(trusted)


def test_5_entries_that_do_not_count_give_no_trust() -> None:
    everyone = range(4)
    for how in ({"absent": everyone}, {"nil": everyone}, {"chain": "other"}):
        with pytest.raises(NotEnoughTrust):
            block(9, FOUR, **how).after(TRUSTED)


def test_5_a_genesis_vouches_for_height_1_alone() -> None:
    genesis = TrustedState.from_genesis(CHAIN, FOUR, START)
    assert genesis.is_genesis
    assert not block(1, FOUR).after(genesis).is_genesis
    with pytest.raises(NotEnoughTrust, match="height 1"):
        block(2, FOUR).after(genesis)
    with pytest.raises(HeaderInvalid, match="announced"):
        block(1, members(0)).after(genesis)


# --- rule 6


@pytest.mark.parametrize("height", [6, 9])
def test_6_the_next_validators_are_those_of_the_header(height) -> None:
    step = replace(block(height, FOUR), following=members(0, 1))
    with pytest.raises(HeaderInvalid, match="next validators of this header"):
        step.after(TRUSTED)


@pytest.mark.parametrize("height", [6, 9])
@pytest.mark.parametrize("kind", ["absent", "nil"])
def test_6_two_thirds_must_sign_and_only_commit_votes_count(height, kind) -> None:
    assert block(height, FOUR, **{kind: [1]}).after(TRUSTED).height == height
    with pytest.raises(HeaderInvalid, match="two thirds"):
        block(height, FOUR, **{kind: [1, 3]}).after(TRUSTED)


def test_6_exactly_two_thirds_is_not_enough() -> None:
    three = members(0, 1, 2)
    trusted = TrustedState.from_header(block(5, three).signed.header, three)
    with pytest.raises(HeaderInvalid, match="20 of 30"):
        block(6, three, absent=[0]).after(trusted)


@pytest.mark.parametrize("height", [6, 9])
def test_6_an_entry_is_under_its_members_address(height) -> None:
    """Up to the entry at which more than two thirds signed: CometBFT looks no further either."""
    step = block(height, FOUR)
    one, two, three, four = step.signed.commit.signatures
    with pytest.raises(HeaderInvalid, match="entry 0 of the commit is under another address"):
        step.with_votes(replace(one, address=b"\x00" * 20), two, three, four).after(TRUSTED)
    with pytest.raises(HeaderInvalid, match="entry 0 of the commit is under another address"):
        step.with_votes(two, one, three, four).after(TRUSTED)
    assert step.with_votes(one, two, three, replace(four, address=b"\x00" * 20)).after(TRUSTED).height == height


@pytest.mark.parametrize("height", [6, 9])
@pytest.mark.parametrize("bad", [b"\x00" * 64, b"\xff" * 64, b"\x01"])
def test_6_a_bad_signature_is_not_counted_and_not_fatal(height, bad) -> None:
    step = block(height, FOUR)
    one, two, three, four = step.signed.commit.signatures
    assert step.with_votes(replace(one, signature=bad), two, three, four).after(TRUSTED).height == height
    with pytest.raises(HeaderInvalid, match="two thirds"):
        step.with_votes(replace(one, signature=bad), replace(two, signature=bad), three, four).after(TRUSTED)


def test_6_a_key_that_is_no_point_is_not_counted_and_not_fatal() -> None:
    broken = ValidatorSet.of([*FOUR.validators, Validator(b"\x00" * 32, 12)])
    trusted = TrustedState.from_header(block(5, FOUR, broken).signed.header, broken)
    head = block(6, FOUR, header={"validators_hash": broken.hash()})
    votes = {vote.address: vote for vote in head.signed.commit.signatures}
    junk = CommitSig(BlockIdFlag.COMMIT, broken.proposer.address, START, b"\x00" * 64)
    entries = [votes.get(member.address, junk) for member in broken.validators]
    assert replace(head.with_votes(*entries), validators=broken).after(trusted).height == 6


def test_6_each_entry_is_verified_at_most_once(monkeypatch) -> None:
    calls = []
    genuine = ed25519.verify
    monkeypatch.setattr(ed25519, "verify", lambda *arguments: (calls.append(arguments), genuine(*arguments)))
    block(9, FOUR).after(TRUSTED)
    assert len(calls) == len(set(calls)) == 3  # more than two thirds of four


# --- the state


def test_block_1_may_carry_the_genesis_time_but_no_earlier_one() -> None:
    genesis = TrustedState.from_genesis(CHAIN, FOUR, START)
    assert block(1, FOUR, header={"time_ns": START}).after(genesis).height == 1
    with pytest.raises(HeaderInvalid, match="time"):
        block(1, FOUR, header={"time_ns": START - 1}).after(genesis)


def test_a_genesis_does_not_expire_but_its_first_header_does() -> None:
    late = START + 100 * DEFAULT_TRUSTING_PERIOD_NS
    first = block(1, FOUR).after(TrustedState.from_genesis(CHAIN, FOUR, START), late)
    with pytest.raises(TrustExpired):
        block(2, FOUR).after(first, late)


def test_a_pinned_header_comes_with_its_own_next_validators() -> None:
    with pytest.raises(HeaderInvalid, match="trusted header"):
        TrustedState.from_header(TRUSTED.header, members(0))


def test_the_named_functions_keep_to_their_heights() -> None:
    now = block(9, FOUR).signed.header.time_ns
    far = block(9, FOUR)
    with pytest.raises(HeaderInvalid, match="adjacent"):
        verify_adjacent(TRUSTED, far.signed, FOUR, None, now)
    assert verify_skipping(TRUSTED, NEXT.signed, FOUR, None, now).height == 6
