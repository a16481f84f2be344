"""What CometBFT's JSON-RPC says, as records of `chain`. Everything malformed raises EncodingError.

The JSON is Amino's: 64-bit integers are strings and `round` and `total` numbers, hashes upper-case hexadecimal, keys
and signatures base64, times RFC 3339 with nanoseconds. An absent vote has an empty address and Go's zero time.
"""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec

from keephold.base.errors import EncodingError
from keephold.chain.header import BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Address, Validator

T = TypeVar("T")

Integer = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,18})$")]
"""A non-negative 64-bit integer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class _Parts(msgspec.Struct):
    total: int
    hash: str


class _BlockId(msgspec.Struct):
    hash: str
    parts: _Parts


class _Version(msgspec.Struct):
    block: Integer = "0"
    app: Integer = "0"


class _Header(msgspec.Struct):
    version: _Version
    chain_id: str
    height: Integer
    time: str
    last_block_id: _BlockId
    last_commit_hash: str
    data_hash: str
    validators_hash: str
    next_validators_hash: str
    consensus_hash: str
    app_hash: str
    last_results_hash: str
    evidence_hash: str
    proposer_address: str


class _Signature(msgspec.Struct):
    block_id_flag: int
    validator_address: str
    timestamp: str
    signature: str | None


class _Commit(msgspec.Struct):
    height: Integer
    round: int
    block_id: _BlockId
    signatures: list[_Signature]


class _SignedHeader(msgspec.Struct):
    header: _Header
    commit: _Commit


class _CommitResult(msgspec.Struct):
    signed_header: _SignedHeader


class _Data(msgspec.Struct):
    txs: list[str] | None = None


class _Block(msgspec.Struct):
    data: _Data


class _BlockResult(msgspec.Struct):
    block: _Block


class _Key(msgspec.Struct):
    type: str
    value: str


class _Validator(msgspec.Struct):
    pub_key: _Key
    voting_power: Integer
    proposer_priority: Annotated[str, msgspec.Meta(pattern=r"^-?(0|[1-9][0-9]{0,18})$")] = "0"


class _Validators(msgspec.Struct):
    validators: list[_Validator]
    total: Integer


def read_signed_header(result: Any) -> SignedHeader:
    """Return the header and commit in the result of `commit`."""
    said = _convert(result, _CommitResult).signed_header
    header, commit = said.header, said.commit
    return SignedHeader(
        Header(
            chain_id=header.chain_id,
            height=int(header.height),
            time_ns=read_time(header.time),
            last_block_id=_block_id(header.last_block_id),
            last_commit_hash=_hex(header.last_commit_hash),
            data_hash=_hex(header.data_hash),
            validators_hash=_hex(header.validators_hash),
            next_validators_hash=_hex(header.next_validators_hash),
            consensus_hash=_hex(header.consensus_hash),
            app_hash=_hex(header.app_hash),
            last_results_hash=_hex(header.last_results_hash),
            evidence_hash=_hex(header.evidence_hash),
            proposer_address=Address(_hex(header.proposer_address)),
            version_block=int(header.version.block),
            version_app=int(header.version.app),
        ),
        Commit(
            height=int(commit.height),
            round=commit.round,
            block_id=_block_id(commit.block_id),
            signatures=tuple(_signature(item) for item in commit.signatures),
        ),
    )


def read_transactions(result: Any) -> tuple[bytes, ...]:
    """Return the transactions in the result of `block`."""
    return tuple(_base64(item) for item in _convert(result, _BlockResult).block.data.txs or ())


def read_validators(result: Any) -> tuple[list[Validator], int]:
    """Return one page of validators from the result of `validators`, and how many there are on all pages."""
    said = _convert(result, _Validators)
    return [_validator(item) for item in said.validators], int(said.total)


def read_priorities(result: Any) -> list[tuple[bytes, int]]:
    """Return public key and proposer priority of one page of validators."""
    said = _convert(result, _Validators).validators
    return [(_validator(item).public_key, int(item.proposer_priority)) for item in said]


def read_time(text: str) -> int:
    """Return nanoseconds since the Unix epoch; `datetime` would drop the last three digits."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise EncodingError("cometbft: a time that is none")
    *date, fraction = found.groups()
    year, month, day, hour, minute, second = map(int, date)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise EncodingError("cometbft: a time that is none") from error
    return (moment - _EPOCH) // _SECOND * NANOSECONDS + int((fraction or "").ljust(9, "0"))


def write_time(time_ns: int) -> str:
    """Return RFC 3339 with nanoseconds, of a time between the years 1 and 9999."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    moment = (_EPOCH + seconds * _SECOND).replace(tzinfo=None)
    return f"{moment.isoformat()}.{nanoseconds:09}Z"


def _convert(result: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:
        raise EncodingError(f"cometbft: {error}") from error


def _block_id(said: _BlockId) -> BlockId:
    return BlockId(_hex(said.hash), said.parts.total, _hex(said.parts.hash))


def _signature(said: _Signature) -> CommitSig:
    try:
        flag = BlockIdFlag(said.block_id_flag)
    except ValueError as error:
        raise EncodingError("cometbft: unknown flag in a commit") from error
    return CommitSig(
        flag,
        Address(_hex(said.validator_address)),
        read_time(said.timestamp),
        _base64(said.signature or ""),
    )


def _validator(said: _Validator) -> Validator:
    if said.pub_key.type != "tendermint/PubKeyEd25519":
        raise EncodingError(f"cometbft: a validator's key of type {said.pub_key.type!r}")
    return Validator(_base64(said.pub_key.value), int(said.voting_power))


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise EncodingError("cometbft: a hash that is no hexadecimal") from error


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise EncodingError("cometbft: base64 expected") from error
