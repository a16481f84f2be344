"""The model-based traces of the light client's specification: each step gives its recorded verdict."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from pathlib import Path

import pytest

from keephold.base.errors import EncodingError, HeaderInvalid, NotEnoughTrust
from keephold.chain.header import NO_BLOCK, BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.proto import NANOSECONDS, ZERO_TIME
from keephold.chain.validators import Validator, ValidatorSet
from keephold.follower.light_client import TrustedState, verify_header

TRACES = Path(__file__).parents[2] / ".." / "shared" / "fixtures" / "light-client"
FILES = sorted(TRACES.glob("*.json"))

pytestmark = pytest.mark.fixtures


def time_ns(text: str) -> int:
    """RFC 3339 with up to nine digits of fraction."""
    whole, fraction = re.fullmatch(r"([^.Z]+)(?:\.(\d{1,9}))?Z", text).groups()
    seconds = int(datetime.fromisoformat(whole + "+00:00").timestamp())
    return seconds * NANOSECONDS + int((fraction or "0").ljust(9, "0"))


def block_id(json_id: dict | None) -> BlockId:
    if json_id is None:
        return NO_BLOCK
    parts = json_id["part_set_header"]
    return BlockId(bytes.fromhex(json_id["hash"]), parts["total"], bytes.fromhex(parts["hash"]))


def signed_header(json_signed: dict) -> SignedHeader:
    head, commit = json_signed["header"], json_signed["commit"]
    hashes = {
        name: bytes.fromhex(head[name])
        for name in (
            "last_commit_hash",
            "data_hash",
            "validators_hash",
            "next_validators_hash",
            "consensus_hash",
            "app_hash",
            "last_results_hash",
            "evidence_hash",
            "proposer_address",
        )
    }
    header = Header(
        chain_id=head["chain_id"],
        height=int(head["height"]),
        time_ns=time_ns(head["time"]),
        last_block_id=block_id(head["last_block_id"]),
        version_block=int(head["version"]["block"]),
        version_app=int(head["version"]["app"]),
        **hashes,
    )
    votes = tuple(
        CommitSig(
            BlockIdFlag(vote["block_id_flag"]),
            bytes.fromhex(vote["validator_address"]),
            ZERO_TIME if vote["block_id_flag"] == 1 else time_ns(vote["timestamp"]),
            base64.b64decode(vote["signature"] or ""),
        )
        for vote in commit["signatures"]
    )
    return SignedHeader(header, Commit(int(commit["height"]), commit["round"], block_id(commit["block_id"]), votes))


def validator_set(json_set: dict) -> ValidatorSet:
    return ValidatorSet.of(
        Validator(base64.b64decode(each["pub_key"]["value"]), int(each["voting_power"]))
        for each in json_set["validators"]
    )


def judged(trusted: TrustedState, step: dict) -> tuple[str, TrustedState]:
    block = step["block"]
    announced = block["next_validator_set"]
    try:
        following = verify_header(
            trusted,
            signed_header(block["signed_header"]),
            validator_set(block["validator_set"]),
            # The model sometimes announces an empty set, which does not exist here: None claims another one.
            validator_set(announced) if announced["validators"] else None,
            time_ns(step["now"]),
        )
    except NotEnoughTrust:
        return "NOT_ENOUGH_TRUST", trusted
    except (HeaderInvalid, EncodingError):
        return "INVALID", trusted
    return "SUCCESS", following


@pytest.mark.skipif(not FILES, reason="the recorded traces are not beside this repository")
def test_all_traces_are_here() -> None:
    assert len(FILES) == 20
    assert sum(len(json.loads(file.read_text())["input"]) for file in FILES) == 62


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_step_gives_its_verdict(file) -> None:
    trace = json.loads(file.read_text())
    initial = trace["initial"]
    trusted = TrustedState.from_header(
        signed_header(initial["signed_header"]).header,
        validator_set(initial["next_validator_set"]),
        int(initial["trusting_period"]),
    )
    verdicts = []
    for step in trace["input"]:
        ours, trusted = judged(trusted, step)
        verdicts.append((ours, step["verdict"]))
    assert [ours for ours, _ in verdicts] == [theirs for _, theirs in verdicts]
