"""Records of `chain` as CometBFT's JSON-RPC spells them: the counterpart of `records`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final

from keephold.chain.header import BlockId, BlockIdFlag, SignedHeader
from keephold.chain.validators import ValidatorSet
from keephold.ledger.engines.cometbft.records import write_time

PAGE: Final = 100
"""Validators at most in one answer."""

_ZERO_TIME: Final = "0001-01-01T00:00:00Z"


def signed_header(signed: SignedHeader) -> dict[str, Any]:
    """Return a signed header in CometBFT's JSON."""
    header, commit = signed.header, signed.commit
    hashes = {
        name: getattr(header, name).hex().upper()
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
    return {
        "header": {
            "version": {"block": str(header.version_block)},
            "chain_id": header.chain_id,
            "height": str(header.height),
            "time": write_time(header.time_ns),
            "last_block_id": _block_id(header.last_block_id),
            **hashes,
        },
        "commit": {
            "height": str(commit.height),
            "round": commit.round,
            "block_id": _block_id(commit.block_id),
            "signatures": [
                {
                    "block_id_flag": int(item.flag),
                    "validator_address": item.address.hex().upper(),
                    "timestamp": _ZERO_TIME if item.flag is BlockIdFlag.ABSENT else write_time(item.time_ns),
                    "signature": base64.b64encode(item.signature).decode() or None,
                }
                for item in commit.signatures
            ],
        },
    }


def _block_id(block_id: BlockId) -> dict[str, Any]:
    parts = {"total": block_id.parts_total, "hash": block_id.parts_hash.hex().upper()}
    return {"hash": block_id.hash.hex().upper(), "parts": parts}


def validators(
    height: int, everyone: ValidatorSet, priorities: Sequence[int], page: int, per_page: int
) -> dict[str, Any]:
    """Return one page of a height's validators, with their proposer priorities in the same order."""
    start = (page - 1) * min(per_page, PAGE)
    some = [
        {
            "address": item.address.hex().upper(),
            "pub_key": {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(item.public_key).decode()},
            "voting_power": str(item.power),
            "proposer_priority": str(priority),
        }
        for item, priority in list(zip(everyone.validators, priorities, strict=True))[
            start : start + min(per_page, PAGE)
        ]
    ]
    total = str(len(everyone.validators))
    return {"block_height": str(height), "validators": some, "count": str(len(some)), "total": total}
