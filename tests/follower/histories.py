"""Generated histories of validators, and what CometBFT's specification says of following them, told without bytes.

A history gives each height its validators and those of them who signed. `expected` is the specification's verdict on
stepping from one height to another, computed on these numbers alone: it knows no header, hash, key or signature, and
shares no code with the light client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from follower_blocks import KEYS, START, Block, commit_of, header_of
from hypothesis import strategies as st

from keephold.chain.header import SignedHeader
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey

MEMBERS = 7
"""How many keys are, at times, validators: the first of `KEYS`."""

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
        st.dictionaries(st.integers(0, MEMBERS - 1), st.integers(1, 4), min_size=1, max_size=MEMBERS)
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
        changes = draw(st.dictionaries(st.integers(0, MEMBERS - 1), st.integers(0, 4), max_size=3))
        powers = {key: power for key, power in (validators[-1] | changes).items() if power} or dict(validators[-1])
        validators.append(powers)
    return Past(tuple(validators), tuple(signers))


def validator_set(powers: Powers) -> ValidatorSet:
    return ValidatorSet.of(Validator(KEYS[key].public, power) for key, power in powers.items())


def signing(signers: Iterable[int]) -> list[ValidatorKey]:
    return [KEYS[key] for key in signers]


def blocks_of(past: Past, start_ns: int = START) -> list[Block]:
    """Return the history in CometBFT's bytes; block 1 at this time, one a second."""
    made: list[Block] = []
    for height in range(1, past.top + 1):
        validators, following = validator_set(past.at(height)), validator_set(past.at(height + 1))
        header = header_of(height, validators, following, time_ns=start_ns + (height - 1) * NANOSECONDS)
        if made:
            before = made[-1].signed.commit
            header = replace(header, last_block_id=before.block_id, last_commit_hash=before.hash())
        commit = commit_of(header, validators, signing(past.signed(height)))
        made.append(Block(SignedHeader(header, commit), validators, following))
    return made
