"""Our bytes against those of CometBFT's own Go packages (v0.38.25), and against our own, frozen.

`vectors/cometbft.json` holds random records that the Go packages encoded and hashed; `vectors/keephold.json` holds
records of our encoder, so that no later version changes what was signed.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keephold.chain import merkle
from keephold.chain.header import NO_BLOCK, consensus_hash
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import decode_validator_set, encode_validator_set
from keephold.chain.vote import Precommits
from keephold.chain.wire import (
    decode_commit,
    decode_header,
    decode_signed_header,
    encode_commit,
    encode_header,
    encode_signed_header,
)

VECTORS = Path(__file__).parent / "vectors"
GO = json.loads((VECTORS / "cometbft.json").read_text())
OURS = json.loads((VECTORS / "keephold.json").read_text())


@pytest.mark.parametrize("case", GO["headers"])
def test_header_bytes_and_hash_are_comets(case) -> None:
    encoded = bytes.fromhex(case["encoded"])
    header = decode_header(encoded)
    seconds, nanoseconds = case["time"].split(":")
    assert header.hash().hex() == case["hash"]
    assert header.height == int(case["height"])
    assert header.time_ns == int(seconds) * NANOSECONDS + int(nanoseconds)
    assert encode_header(header) == encoded


@pytest.mark.parametrize("case", GO["commits"])
def test_commit_bytes_hash_and_sign_bytes_are_comets(case) -> None:
    encoded = bytes.fromhex(case["encoded"])
    commit = decode_commit(encoded)
    assert commit.hash().hex() == case["hash"]
    assert encode_commit(commit) == encoded
    for entry, expected in zip(commit.signatures, case["sign_bytes"], strict=True):
        block_id = commit.block_id if entry.flag.name == "COMMIT" else NO_BLOCK
        precommits = Precommits(case["chain_id"], commit.height, commit.round, block_id)
        assert precommits.sign_bytes(entry.time_ns).hex() == expected


@pytest.mark.parametrize("case", GO["validator_sets"])
def test_validator_set_bytes_and_hash_are_comets(case) -> None:
    encoded = bytes.fromhex(case["encoded"])
    validators = decode_validator_set(encoded)
    assert validators.hash().hex() == case["hash"]
    assert validators.total_power == int(case["total_power"])
    assert encode_validator_set(validators) == encoded


@pytest.mark.parametrize("case", GO["results"])
def test_results_root_is_comets(case) -> None:
    leaves = [
        merkle.result_leaf(
            result["code"], bytes.fromhex(result["data"]), int(result["gas_wanted"]), int(result["gas_used"])
        )
        for result in case["results"]
    ]
    assert merkle.root(leaves).hex() == case["root"]


@pytest.mark.parametrize("case", GO["merkle"])
def test_tree_and_proofs_are_comets(case) -> None:
    leaves = [bytes.fromhex(leaf) for leaf in case["leaves"]]
    assert merkle.root(leaves).hex() == case["root"]
    assert merkle.data_root(leaves).hex() == case["data_root"]
    assert [merkle.prove(leaves, index).encode().hex() for index in range(len(leaves))] == case["proofs"]


@pytest.mark.parametrize("case", GO["params"])
def test_consensus_hash_is_comets(case) -> None:
    assert consensus_hash(int(case["max_bytes"]), int(case["max_gas"])).hex() == case["hash"]


@pytest.mark.parametrize("case", OURS["signed_headers"])
def test_our_signed_headers_keep_their_bytes(case) -> None:
    encoded = bytes.fromhex(case["encoded"])
    signed = decode_signed_header(encoded)
    header, commit = signed.header, signed.commit
    precommits = Precommits(header.chain_id, commit.height, commit.round, commit.block_id)
    assert encode_signed_header(signed) == encoded
    assert header.hash().hex() == case["header_hash"]
    assert commit.hash().hex() == case["commit_hash"]
    assert [precommits.sign_bytes(entry.time_ns).hex() for entry in commit.signatures] == case["sign_bytes"]
