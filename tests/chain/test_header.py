from __future__ import annotations

from dataclasses import fields, replace

import pytest

from keephold.base.errors import EncodingError
from keephold.chain import merkle, proto
from keephold.chain.header import (
    ABSENT,
    NO_BLOCK,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    consensus_hash,
)
from keephold.chain.vote import Precommits

HASH = b"\x01" * 32
BLOCK = BlockId(HASH, 1, HASH)
VOTE = CommitSig(BlockIdFlag.COMMIT, b"\x02" * 20, 5, b"\x03" * 64)
COMMIT = Commit(3, 0, BLOCK, (VOTE, ABSENT))
HEADER = Header("chain", 3, 4, BLOCK, HASH, HASH, HASH, HASH, HASH, HASH, HASH, HASH, b"\x02" * 20)

OTHER = {
    "chain_id": "niahc",
    "height": 4,
    "time_ns": 5,
    "last_block_id": NO_BLOCK,
    "proposer_address": b"\x04" * 20,
    "version_block": 12,
    "version_app": 1,
}


@pytest.mark.parametrize("name", [field.name for field in fields(Header)])
def test_the_hash_commits_to_every_field(name) -> None:
    assert replace(HEADER, **{name: OTHER.get(name, b"\x05" * 32)}).hash() != HEADER.hash()


def test_single_fields_are_provable_under_the_header_hash() -> None:
    leaves = HEADER.leaves()
    assert len(leaves) == 14
    app_hash = proto.data(1, HEADER.app_hash)
    merkle.verify(merkle.prove(leaves, 10), HEADER.hash(), app_hash, 10, 14)


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": "x" * 51},
        {"chain_id": "é" * 26},
        {"chain_id": "a\nb"},
        {"chain_id": "\ud800"},
        {"height": 0},
        {"height": -1},
        {"height": 2**63},
        {"time_ns": proto.ZERO_TIME - 1},
        {"time_ns": proto.LAST_TIME + 1},
        {"version_block": -1},
        {"version_app": 2**64},
        {"proposer_address": b""},
        {"app_hash": b"\x00" * 31},
        {"validators_hash": b"\x00" * 33},
    ],
)
def test_illegal_headers_do_not_exist(change) -> None:
    with pytest.raises(EncodingError):
        replace(HEADER, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"height": 2**63},
        {"round": -1},
        {"round": 2**31},
        {"block_id": NO_BLOCK},
        {"signatures": ()},
    ],
)
def test_illegal_commits_do_not_exist(change) -> None:
    with pytest.raises(EncodingError):
        replace(COMMIT, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"address": b"\x02" * 19},
        {"signature": b""},
        {"signature": b"\x03" * 65},
        {"time_ns": proto.LAST_TIME + 1},
        {"flag": BlockIdFlag.ABSENT},
    ],
)
def test_illegal_votes_do_not_exist(change) -> None:
    with pytest.raises(EncodingError):
        replace(VOTE, **change)


@pytest.mark.parametrize(
    "change", [{"hash": b"\x00"}, {"parts_hash": b"\x00"}, {"parts_total": 2**32}, {"parts_total": -1}]
)
def test_illegal_block_ids_do_not_exist(change) -> None:
    with pytest.raises(EncodingError):
        replace(BLOCK, **change)


def test_the_block_before_the_first_keeps_its_empty_part_set() -> None:
    assert NO_BLOCK.encode() == b"\x12\x00"


def test_an_absent_vote_is_a_flag_and_the_zero_time() -> None:
    assert ABSENT.encode().hex() == "08011a0b088092b8c398feffffff01"


def test_commit_hash_commits_to_each_entry() -> None:
    assert COMMIT.hash() == merkle.root([VOTE.encode(), ABSENT.encode()])
    assert replace(COMMIT, signatures=(ABSENT, VOTE)).hash() != COMMIT.hash()


def test_consensus_hash_commits_to_both_limits() -> None:
    assert len({consensus_hash(1), consensus_hash(2), consensus_hash(1, 0), consensus_hash(0, 1)}) == 4


def test_sign_bytes_differ_in_every_part() -> None:
    signed = {
        precommits.sign_bytes(time_ns)
        for precommits, time_ns in [
            (Precommits("chain", 3, 0, BLOCK), 5),
            (Precommits("chain", 3, 0, BLOCK), 6),
            (Precommits("niahc", 3, 0, BLOCK), 5),
            (Precommits("chain", 4, 0, BLOCK), 5),
            (Precommits("chain", 3, 1, BLOCK), 5),
            (Precommits("chain", 3, 0, replace(BLOCK, parts_total=2)), 5),
            (Precommits("chain", 3, 0, NO_BLOCK), 5),
        ]
    }
    assert len(signed) == 7
