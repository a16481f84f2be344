"""Parsers of the consensus format, and of what CometBFT says."""

from __future__ import annotations

import io
from typing import Any, Final

import msgspec

from fuzz.model import Parser, text
from keephold.base.errors import EncodingError, InputError
from keephold.chain.header import BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.merkle import Proof
from keephold.chain.sparse import MapProof, SparseMap
from keephold.chain.validators import Address, Validator, ValidatorSet, decode_validator_set, encode_validator_set
from keephold.chain.wire import (
    decode_commit,
    decode_header,
    decode_signed_header,
    encode_commit,
    encode_header,
    encode_signed_header,
)
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft import messages, records
from keephold.ledger.engines.cometbft.wire import Frames, frame
from keephold.ledger.queries import path_of
from keephold.ledger.snapshots import content

_HASH: Final = b"\1" * 32
_HEADER: Final = Header(
    chain_id="network",
    height=7,
    time_ns=1_800_000_000_000_000_001,
    last_block_id=BlockId(_HASH, 1, _HASH),
    last_commit_hash=_HASH,
    data_hash=_HASH,
    validators_hash=_HASH,
    next_validators_hash=_HASH,
    consensus_hash=_HASH,
    app_hash=_HASH,
    last_results_hash=_HASH,
    evidence_hash=_HASH,
    proposer_address=Address(b"\2" * 20),
    version_block=11,
    version_app=1,
)
_VOTE: Final = CommitSig(BlockIdFlag.COMMIT, Address(b"\2" * 20), _HEADER.time_ns, b"\3" * 64)
_COMMIT: Final = Commit(7, 0, BlockId(_HASH, 1, _HASH), (_VOTE,))
_SIGNED: Final = SignedHeader(_HEADER, _COMMIT)
_SET: Final = ValidatorSet.of(Validator(ValidatorKey(SecretBytes(bytes([n]) * 32)).public, 10 * n) for n in (1, 2))
_MAP: Final = SparseMap.of([(bytes([n]) * 32, b"value") for n in range(9)])


def _frames(raw: bytes) -> object:
    return Frames().feed(raw)


def _json(read: Any) -> Any:
    """Return a reader of one RPC result as a reader of its text; what is no JSON is httpx's to refuse."""

    def parse(raw: bytes) -> object:
        try:
            result = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return read(result)

    return parse


_RPC_BLOCK_ID: Final = {"hash": "01" * 32, "parts": {"total": 1, "hash": "02" * 32}}
_RPC_COMMIT: Final = {
    "signed_header": {
        "header": {
            "version": {"block": "11", "app": "1"},
            "chain_id": "network",
            "height": "7",
            "time": "2026-01-02T03:04:05.000000006Z",
            "last_block_id": _RPC_BLOCK_ID,
            **dict.fromkeys(
                (
                    "last_commit_hash",
                    "data_hash",
                    "validators_hash",
                    "next_validators_hash",
                    "consensus_hash",
                    "app_hash",
                    "last_results_hash",
                    "evidence_hash",
                ),
                "03" * 32,
            ),
            "proposer_address": "04" * 20,
        },
        "commit": {
            "height": "7",
            "round": 0,
            "block_id": _RPC_BLOCK_ID,
            "signatures": [
                {
                    "block_id_flag": 2,
                    "validator_address": "04" * 20,
                    "timestamp": "2026-01-02T03:04:05Z",
                    "signature": "AAAA",
                }
            ],
        },
    }
}
_RPC_VALIDATORS: Final = {
    "validators": [
        {
            "address": "04" * 20,
            "pub_key": {"type": "tendermint/PubKeyEd25519", "value": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="},
            "voting_power": "10",
            "proposer_priority": "0",
        }
    ],
    "total": "1",
}

PARSERS: Final = (
    Parser("header", decode_header, EncodingError, (encode_header(_HEADER),), encode_header),
    Parser("commit", decode_commit, EncodingError, (encode_commit(_COMMIT),), encode_commit),
    Parser(
        "signed-header", decode_signed_header, EncodingError, (encode_signed_header(_SIGNED),), encode_signed_header
    ),
    Parser("validator-set", decode_validator_set, EncodingError, (encode_validator_set(_SET),), encode_validator_set),
    Parser(
        "map-proof",
        MapProof.decode,
        EncodingError,
        tuple(_MAP.prove(bytes([n]) * 32).encode() for n in (1, 200)),
        MapProof.encode,
    ),
    Parser("merkle-proof", Proof.decode, EncodingError, (b"", _HASH * 3), Proof.encode),
    Parser(
        "abci-request",
        lambda raw: messages.parse(messages.Request, raw),
        EncodingError,
        (messages.Request(echo={"message": "hello"}).SerializeToString(),),
    ),
    Parser(
        "abci-response",
        lambda raw: messages.parse(messages.Response, raw),
        EncodingError,
        (messages.answer("echo", message="hello").SerializeToString(),),
    ),
    Parser("abci-frames", _frames, EncodingError, (frame(b"one") + frame(b"two"),)),
    Parser("rpc-commit", _json(records.read_signed_header), EncodingError, (msgspec.json.encode(_RPC_COMMIT),)),
    Parser("rpc-validators", _json(records.read_validators), EncodingError, (msgspec.json.encode(_RPC_VALIDATORS),)),
    Parser(
        "rpc-block",
        _json(records.read_transactions),
        EncodingError,
        (msgspec.json.encode({"block": {"data": {"txs": ["AAAA"]}}}),),
    ),
    Parser("query-path", text(lambda query: path_of(query, _HASH)), InputError, (b"/map", b"/roll/worker")),
    Parser(
        "snapshot",
        lambda raw: list(content.read(io.BytesIO(raw))),
        EncodingError,
        (b"".join(content.chunked([content.Leaves((content.Leaf(_HASH, b"value"),))])),),
    ),
)
