"""Histories of validators that come, go and change power: the light client says what the specification says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from follower_blocks import CHAIN, START, Block, commit_of
from follower_histories import MEMBERS, Past, Verdict, blocks_of, expected, pasts, signing, validator_set
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import ChainRefused, HeaderInvalid, NotEnoughTrust
from keephold.chain.header import BlockId, BlockIdFlag, SignedHeader
from keephold.chain.proto import NANOSECONDS
from keephold.follower.light_client import TrustedState

NOW = START + 3600 * NANOSECONDS


def trusting(block: Block) -> TrustedState:
    return TrustedState.from_header(block.signed.header, block.following)


def judged(trusted: TrustedState, block: Block) -> tuple[Verdict, TrustedState]:
    try:
        return "trusted", block.after(trusted, NOW)
    except NotEnoughTrust:
        return "bisect", trusted
    except HeaderInvalid:
        return "invalid", trusted


def bisect(trusted: TrustedState, blocks: list[Block], height: int) -> tuple[list[int], TrustedState]:
    """Reach a height, halving where trust does not suffice; return the heights verified, and where that led."""
    goals, steps = [height], []
    while goals:
        found, trusted = judged(trusted, blocks[goals[-1] - 1])
        if found == "trusted":
            steps.append(goals.pop())
        else:
            assert found == "bisect"
            goals.append((trusted.height + goals[-1]) // 2)
    return steps, trusted


@settings(max_examples=60)
@given(past=pasts())
def test_each_step_from_any_height_to_any_later_one_has_the_specifications_verdict(past: Past) -> None:
    blocks = blocks_of(past)
    for trusted in range(1, past.top):
        for height in range(trusted + 1, past.top + 1):
            found, _ = judged(trusting(blocks[trusted - 1]), blocks[height - 1])
            assert found == expected(past, trusted, height)


@settings(max_examples=40)
@given(past=pasts(honest=True))
def test_sequential_and_skipping_end_at_the_same_header(past: Past) -> None:
    blocks = blocks_of(past)
    one_by_one = TrustedState.from_genesis(CHAIN, validator_set(past.at(1)), START)
    for block in blocks:
        one_by_one = block.after(one_by_one, NOW)
    steps, skipping = bisect(trusting(blocks[0]), blocks, past.top)
    assert skipping == one_by_one
    assert steps == sorted(set(steps))
    if expected(past, 1, past.top) == "trusted":
        assert steps == [past.top]


@settings(max_examples=40)
@given(past=pasts(honest=True), data=st.data())
def test_a_block_altered_in_any_way_is_refused_from_any_height(past: Past, data: st.DataObject) -> None:
    blocks = blocks_of(past)
    trusted = data.draw(st.integers(1, past.top - 1), label="trusted")
    height = data.draw(st.integers(trusted + 1, past.top), label="height")
    forged = data.draw(st.sampled_from(FORGERIES), label="forgery")(past, blocks[height - 1])
    if forged is None:
        return
    with pytest.raises(ChainRefused):
        forged.after(trusting(blocks[trusted - 1]), NOW)


@given(past=pasts(honest=True), traitors=st.sets(st.integers(0, MEMBERS - 1)), data=st.data())
def test_traitors_and_their_invented_validators_are_believed_above_a_third_of_the_trusted_power_only(
    past: Past, traitors: set[int], data: st.DataObject
) -> None:
    """What CometBFT's specification calls a lunatic attack: a header of validators that the chain never had."""
    blocks = blocks_of(past)
    trusted = data.draw(st.integers(1, past.top - 2), label="trusted")
    height = data.draw(st.integers(trusted + 2, past.top), label="height")
    invented = dict.fromkeys(traitors or {0}, 1)
    lunatic = Past(
        (*past.validators[: height - 1], invented, invented, *past.validators[height + 1 :]),
        (*past.signers[: height - 1], frozenset(invented), *past.signers[height:]),
    )
    found, _ = judged(trusting(blocks[trusted - 1]), blocks_of(lunatic)[height - 1])
    assert found == expected(lunatic, trusted, height)
    before = past.at(trusted + 1)
    power = sum(weight for key, weight in before.items() if key in invented)
    assert (found == "trusted") == (3 * power > sum(before.values()))


# --- forgeries: of an honest block, without its validators' keys ---


def _header(**changes):
    def forge(_: Past, block: Block) -> Block:
        header = replace(block.signed.header, **changes)
        commit = replace(block.signed.commit, block_id=replace(block.signed.commit.block_id, hash=header.hash()))
        return replace(block, signed=SignedHeader(header, commit))

    return forge


def _header_under_the_old_commit(_: Past, block: Block) -> Block:
    return replace(block, signed=replace(block.signed, header=replace(block.signed.header, app_hash=b"\x04" * 32)))


def _other_powers(past: Past, block: Block) -> Block | None:
    members = {key: power + at + 1 for at, (key, power) in enumerate(past.at(block.signed.header.height).items())}
    return replace(block, validators=validator_set(members))


def _other_next_validators(past: Past, block: Block) -> Block | None:
    following = validator_set(dict.fromkeys(range(MEMBERS), 9))
    return replace(block, following=following)


def _of_another_chain(past: Past, block: Block) -> Block:
    signers = past.signed(block.signed.header.height)
    return block.with_commit(commit_of(block.signed.header, block.validators, signing(signers), chain="another"))


def _one_vote_for_all(_: Past, block: Block) -> Block | None:
    votes = block.signed.commit.signatures
    vote = next(item for item in votes if item.flag is BlockIdFlag.COMMIT)
    address = {item.address: item for item in block.validators.validators}[vote.address]
    if 3 * address.power > 2 * block.validators.total_power or len(votes) == 1:
        return None
    return block.with_commit(replace(block.signed.commit, signatures=(vote,) * len(votes)))


def _votes_for_nil(_: Past, block: Block) -> Block:
    votes = tuple(
        replace(item, flag=BlockIdFlag.NIL) if item.flag is BlockIdFlag.COMMIT else item
        for item in block.signed.commit.signatures
    )
    return block.with_commit(replace(block.signed.commit, signatures=votes))


def _of_another_round(_: Past, block: Block) -> Block:
    return block.with_commit(replace(block.signed.commit, round=1))


def _for_other_parts(_: Past, block: Block) -> Block:
    block_id = BlockId(block.signed.commit.block_id.hash, 2, b"\x08" * 32)
    return block.with_commit(replace(block.signed.commit, block_id=block_id))


def _votes_moved_on(_: Past, block: Block) -> Block | None:
    votes = block.signed.commit.signatures
    if len(votes) == 1:
        return None
    return block.with_commit(replace(block.signed.commit, signatures=(*votes[1:], votes[0])))


def _votes_at_other_times(_: Past, block: Block) -> Block:
    votes = tuple(
        replace(item, time_ns=item.time_ns + 1) if item.flag is BlockIdFlag.COMMIT else item
        for item in block.signed.commit.signatures
    )
    return block.with_commit(replace(block.signed.commit, signatures=votes))


FORGERIES = [
    _header(app_hash=b"\x04" * 32),
    _header(data_hash=b"\x04" * 32),
    _header(last_results_hash=b"\x04" * 32),
    _header(time_ns=NOW - 1),
    _header(chain_id="another"),
    _header(validators_hash=b"\x04" * 32),
    _header(next_validators_hash=b"\x04" * 32),
    _header_under_the_old_commit,
    _other_powers,
    _other_next_validators,
    _of_another_chain,
    _one_vote_for_all,
    _votes_for_nil,
    _of_another_round,
    _for_other_parts,
    _votes_moved_on,
    _votes_at_other_times,
]
