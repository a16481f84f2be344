"""Generated histories of validators, and what CometBFT's specification says of following them, told without bytes.

A history gives each height its validators and those of them who signed. `expected` is the specification's verdict on
stepping from one height to another, computed on these numbers alone: it knows no header, hash, key or signature, and
shares no code with the light client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

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

CHAIN = "histories"
KEYS = [ValidatorKey.from_seed(SecretBytes(bytes([seed]) * 32)) for seed in range(1, 8)]

Powers = Mapping[int, int]
"""Power by the number of a key; all positive."""

Verdict = Literal["trusted", "bisect", "invalid"]


@dataclass(frozen=True)
class Past:
    """Validators of the heights 1, 2, …, one more than there are blocks, and who signed each block."""

    validators: tuple[Powers, ...]
    signers: tuple[frozenset[int], ...]

    @property
    def top(self) -> int:
        return len(self.signers)

    def at(self, height: int) -> Powers:
        return self.validators[height - 1]

    def signed(self, height: int) -> frozenset[int]:
        return self.signers[height - 1]


def expected(past: Past, trusted: int, height: int) -> Verdict:
    """Return what follows from trusting one height of this past, of another, later height of it."""
    own, signed = past.at(height), past.signed(height)
    if height > trusted + 1:
        before = past.at(trusted + 1)
        overlap = sum(power for key, power in before.items() if key in signed)
        if overlap * 3 <= sum(before.values()):
            return "bisect"
    approving = sum(power for key, power in own.items() if key in signed)
    return "trusted" if approving * 3 > sum(own.values()) * 2 else "invalid"


@st.composite
def pasts(draw: st.DrawFn, *, honest: bool = False, blocks: int = 8) -> Past:
    """Draw a history: validators join, leave and change power from one height to the next, a few or all at once."""
    powers: dict[int, int] = draw(
        st.dictionaries(st.integers(0, len(KEYS) - 1), st.integers(1, 4), min_size=1, max_size=len(KEYS))
    )
    validators, signers = [dict(powers)], []
    for _ in range(blocks):
        present = sorted(validators[-1])
        if honest:
            # Leave out whom the others can do without: more than two thirds always sign.
            absent = draw(st.lists(st.sampled_from(present), unique=True, max_size=len(present)))
            signing = set(present)
            for key in absent:
                left = sum(validators[-1][other] for other in signing - {key})
                if left * 3 > sum(validators[-1].values()) * 2:
                    signing.discard(key)
            signers.append(frozenset(signing))
        else:
            signers.append(frozenset(draw(st.sets(st.sampled_from(present)))))
        changes = draw(st.dictionaries(st.integers(0, len(KEYS) - 1), st.integers(0, 4), max_size=3))
        powers = {key: power for key, power in (validators[-1] | changes).items() if power} or dict(validators[-1])
        validators.append(powers)
    return Past(tuple(validators), tuple(signers))


@dataclass(frozen=True)
class Block:
    """A header, its commit, and the sets that it names."""

    signed: SignedHeader
    validators: ValidatorSet
    following: ValidatorSet


def validator_set(powers: Powers) -> ValidatorSet:
    return ValidatorSet.of(Validator(KEYS[key].public, power) for key, power in powers.items())


def commit_of(header: Header, validators: ValidatorSet, signers: frozenset[int], *, chain: str = CHAIN) -> Commit:
    """Return a commit in which exactly these keys signed; they need not be validators to be asked."""
    block = BlockId(header.hash(), 1, b"\x07" * 32)
    precommits = Precommits(chain, header.height, 0, block)
    by_public = {KEYS[key].public: KEYS[key] for key in signers}
    votes = []
    for position, member in enumerate(validators.validators):
        key = by_public.get(member.public_key)
        at = header.time_ns + position
        votes.append(
            ABSENT
            if key is None
            else CommitSig(BlockIdFlag.COMMIT, member.address, at, key.sign(precommits.sign_bytes(at)))
        )
    return Commit(header.height, 0, block, tuple(votes))


def blocks_of(past: Past, start_ns: int) -> list[Block]:
    """Return the history in CometBFT's bytes; block 1 at this time, one a second."""
    made: list[Block] = []
    for height in range(1, past.top + 1):
        validators, following = validator_set(past.at(height)), validator_set(past.at(height + 1))
        header = Header(
            chain_id=CHAIN,
            height=height,
            time_ns=start_ns + (height - 1) * NANOSECONDS,
            last_block_id=made[-1].signed.commit.block_id if made else NO_BLOCK,
            last_commit_hash=made[-1].signed.commit.hash() if made else merkle.EMPTY,
            data_hash=merkle.EMPTY,
            validators_hash=validators.hash(),
            next_validators_hash=following.hash(),
            consensus_hash=consensus_hash(4 << 20),
            app_hash=b"\x03" * 32,
            last_results_hash=merkle.EMPTY,
            evidence_hash=merkle.EMPTY,
            proposer_address=validators.proposer.address,
        )
        signed = SignedHeader(header, commit_of(header, validators, past.signed(height)))
        made.append(Block(signed, validators, following))
    return made
