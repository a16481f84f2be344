"""Blocks made by hand, in CometBFT's bytes: a header, the validators it names, a commit that some of them signed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from keephold.chain import merkle
from keephold.chain.header import (
    ABSENT,
    NO_BLOCK,
    BlockId,
    BlockIdFlag,
    Commit,
    CommitSig,
    Header,
    SignedHeader,
    consensus_hash,
)
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Validator, ValidatorSet
from keephold.chain.vote import Precommits
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.light_client import TrustedState, verify_header

CHAIN = "generated"
START = 1_700_000_000 * NANOSECONDS
KEYS = [ValidatorKey(SecretBytes(bytes([seed]) * 32)) for seed in range(12)]


@dataclass(frozen=True)
class Block:
    """A header, its commit, and the sets that it names."""

    signed: SignedHeader
    validators: ValidatorSet
    following: ValidatorSet

    def after(self, trusted: TrustedState, now_ns: int | None = None) -> TrustedState:
        """Verify it where this is trusted; at its own time, unless told."""
        now_ns = self.signed.header.time_ns if now_ns is None else now_ns
        return verify_header(trusted, self.signed, self.validators, self.following, now_ns)

    def with_commit(self, commit: Commit) -> Block:
        return replace(self, signed=replace(self.signed, commit=commit))

    def with_votes(self, *votes: CommitSig) -> Block:
        return self.with_commit(replace(self.signed.commit, signatures=votes))


def members(*seeds: int, power: int = 10) -> ValidatorSet:
    return ValidatorSet.of(Validator(KEYS[seed].public, power) for seed in seeds)


def header_of(height: int, validators: ValidatorSet, following: ValidatorSet, **changes: Any) -> Header:
    """Return a header of the chain; heights are seconds."""
    header = Header(
        chain_id=CHAIN,
        height=height,
        time_ns=START + height * NANOSECONDS,
        last_block_id=NO_BLOCK if height == 1 else BlockId(b"\x01" * 32, 1, b"\x02" * 32),
        last_commit_hash=merkle.EMPTY,
        data_hash=merkle.EMPTY,
        validators_hash=validators.hash(),
        next_validators_hash=following.hash(),
        consensus_hash=consensus_hash(4 << 20),
        app_hash=b"\x03" * 32,
        last_results_hash=merkle.EMPTY,
        evidence_hash=merkle.EMPTY,
        proposer_address=validators.proposer.address,
    )
    return replace(header, **changes)


def commit_of(
    header: Header,
    validators: ValidatorSet,
    keys: Iterable[ValidatorKey],
    *,
    chain: str = CHAIN,
    nil: Container[int] = (),
) -> Commit:
    """Return a commit that these keys signed, whether asked or not; entries at the places `nil` vote for no block."""
    block = BlockId(header.hash(), 1, b"\x07" * 32)
    precommits = Precommits(chain, header.height, 0, block)
    by_public = {key.public: key for key in keys}
    votes = []
    for place, member in enumerate(validators.validators):
        key = by_public.get(member.public_key)
        if key is None:
            votes.append(ABSENT)
            continue
        time_ns = header.time_ns + place
        flag = BlockIdFlag.NIL if place in nil else BlockIdFlag.COMMIT
        votes.append(CommitSig(flag, member.address, time_ns, key.sign(precommits.sign_bytes(time_ns))))
    return Commit(header.height, 0, block, tuple(votes))


def block(
    height: int,
    validators: ValidatorSet,
    following: ValidatorSet | None = None,
    *,
    header: Mapping[str, Any] | None = None,
    absent: Container[int] = (),
    nil: Container[int] = (),
    chain: str = CHAIN,
) -> Block:
    """Return a block whose validators all signed, but those at the places `absent`."""
    following = following or validators
    head = header_of(height, validators, following, **(header or {}))
    away = {member.public_key for place, member in enumerate(validators.validators) if place in absent}
    signing = [key for key in KEYS if key.public not in away]
    return Block(SignedHeader(head, commit_of(head, validators, signing, nil=nil, chain=chain)), validators, following)


FOUR = members(0, 1, 2, 3)
TRUSTED = TrustedState.from_header(block(5, FOUR).signed.header, FOUR)
NEXT = block(6, FOUR)
