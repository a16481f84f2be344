"""JSON-RPC records: recorded from CometBFT v0.38.25 (four validators of a throwaway network), and altered."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.chain.header import BlockIdFlag
from keephold.chain.proto import LAST_TIME, ZERO_TIME
from keephold.chain.validators import ValidatorSet
from keephold.follower.light_client import TrustedState, verify_adjacent
from keephold.ledger.engines.cometbft.records import (
    read_signed_header,
    read_time,
    read_transactions,
    read_validators,
    write_time,
)
from keephold.ledger.engines.cometbft.spelling import signed_header

RECORDED = Path(__file__).parent / "recorded"


UNREAD = {"address", "proposer_priority", "canonical", "count", "block_height"}
"""Fields that say nothing new."""

NOTHING = ("", None)


def recorded(name: str) -> Any:
    return json.loads((RECORDED / f"{name}.json").read_bytes())["result"]


def test_a_recorded_commit_convinces_a_light_client():
    signed = read_signed_header(recorded("commit"))
    some, total = read_validators(recorded("validators"))
    validators = ValidatorSet.of(some)
    assert (total, signed.header.height) == (4, 1)
    assert signed.commit.block_id.hash == signed.header.hash()
    trusted = TrustedState.from_genesis(signed.header.chain_id, validators, signed.header.time_ns - 1, 10**18)
    verify_adjacent(trusted, signed, validators, None, now_ns=signed.header.time_ns)


def test_the_played_comet_spells_as_the_real_one():
    said = recorded("commit")["signed_header"]
    assert signed_header(read_signed_header(recorded("commit"))) == said


def test_an_absent_vote():
    result = recorded("commit")
    result["signed_header"]["commit"]["signatures"][1] = {
        "block_id_flag": 1,
        "validator_address": "",
        "timestamp": "0001-01-01T00:00:00Z",
        "signature": None,
    }
    vote = read_signed_header(result).commit.signatures[1]
    assert (vote.flag, vote.time_ns, vote.signature) == (BlockIdFlag.ABSENT, ZERO_TIME, b"")


def test_transactions_of_a_block():
    assert read_transactions(recorded("block")) == ()
    assert read_transactions({"block": {"data": {"txs": ["b25l", ""]}}}) == (b"one", b"")
    assert read_transactions({"block": {"data": {"txs": None}}}) == ()


@given(st.integers(ZERO_TIME, LAST_TIME))
def test_times_keep_their_nanoseconds(time_ns):
    assert read_time(write_time(time_ns)) == time_ns


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("0001-01-01T00:00:00Z", ZERO_TIME),
    ],
)
def test_times(text, time_ns):
    assert read_time(text) == time_ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00.1234567890Z",
        "٢026-01-01T00:00:00Z",
    ],
)
def test_what_is_no_time(text):
    with pytest.raises(EncodingError):
        read_time(text)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [found for at, item in enumerate(value) for found in leaves(item, (*path, at))]
    return [path]


@pytest.mark.parametrize("bad", [None, True, -1, 1.5, "", "zz", "-1", [], {}], ids=repr)
@pytest.mark.parametrize("name", ["commit", "validators"])
def test_a_field_of_another_kind_is_the_one_declared_error_or_another_record(name, bad):
    read = read_signed_header if name == "commit" else read_validators
    original = read(recorded(name))
    for path in leaves(recorded(name)):
        altered = copy.deepcopy(recorded(name))
        at: Any = altered
        for key in path[:-1]:
            at = at[key]
        said, at[path[-1]] = at[path[-1]], bad
        try:
            assert read(altered) != original or path[-1] in UNREAD or said in NOTHING
        except EncodingError:
            continue


@pytest.mark.parametrize("result", [None, [], {}, {"signed_header": None}, "text", 3])
def test_something_else_altogether(result):
    for read in (read_signed_header, read_validators, read_transactions):
        with pytest.raises(EncodingError):
            read(result)
