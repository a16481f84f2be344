"""Votes of a quorum: when they decide, for what, and whom they leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keephold.protocol.state import Vote


class Tally(NamedTuple):
    """What votes decided."""

    settled: tuple[Vote, ...]
    """Those that agree, in the order in which they were cast."""
    outvoted: tuple[Vote, ...]
    """Those that said something else."""


def tally(votes: Sequence[Vote], quorum: int) -> Tally | None:
    """Return what these votes decide; None as long as they decide nothing.

    One vote a worker, in the order in which they were cast. Only the last one can have completed the quorum: those
    before it were counted when they came.
    """
    if not votes:
        return None
    settled = tuple(vote for vote in votes if vote.digest == votes[-1].digest)
    if len(settled) < quorum:
        return None
    return Tally(settled, tuple(vote for vote in votes if vote.digest != votes[-1].digest))
