"""What an engine and an application owe each other for state sync: ABCI 2.0's four methods, without its messages.

A snapshot travels as chunks from nodes that may lie to one that has nothing. The application says of each chunk
whether it is the one that the snapshot's metadata promised, and of all together whether they are the state whose app
hash a light client verified. Until that is said nothing of what was there before is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from keephold.ledger.engines.base import StoredBlock


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as it is announced. Whatever of it differs between two nodes makes it another one."""

    height: int
    """The state after this block."""
    format: int
    chunks: int
    hash: bytes
    metadata: bytes
    """For the application alone; engines pass it on."""


class Offered(Enum):
    """What becomes of a snapshot that somebody offers."""

    ACCEPT = auto()
    ABORT = auto()
    """Restore nothing at all."""
    REJECT = auto()
    """Not this one; another one may do."""
    REJECT_FORMAT = auto()
    """None of this format."""


class Taken(Enum):
    """What became of a chunk."""

    ACCEPT = auto()
    """Taken; the last one: the state is restored, durable and visible."""
    ABORT = auto()
    REFETCH = auto()
    """Not the promised bytes: fetch it again, and nothing more from whoever sent it."""
    REJECT_SNAPSHOT = auto()
    """All chunks are as promised, and they are not the state that was asked for."""


class Snapshots(Protocol):
    """An application's snapshots, taken and to be restored. Called by one thread at a time, beside consensus."""

    def list(self) -> tuple[Snapshot, ...]:
        """Return what can be loaded, newest first."""
        ...

    def load(self, height: int, kind: int, index: int) -> bytes:
        """Return one chunk of the snapshot of a height and format; empty if there is none (any more)."""
        ...

    def offer(self, snapshot: Snapshot, app_hash: bytes) -> Offered:
        """Begin to restore a snapshot, whose height's app hash a light client verified. Ends what was begun before."""
        ...

    def apply(self, index: int, chunk: bytes) -> Taken:
        """Take one chunk of the accepted snapshot."""
        ...


class Origin(Protocol):
    """Where a node that restored a state finds the blocks that led to it: verified, by a light client of ours."""

    def block(self, height: int) -> StoredBlock:
        """Return a block that follows from the genesis.

        Raises:
            UnavailableError: nobody answers for now.
            ChainRefused: what was answered does not follow.
        """
        ...

    def below(self, above: StoredBlock, count: int) -> Sequence[StoredBlock]:
        """Return up to `count` blocks that lead to `above`, downwards.

        Raises:
            UnavailableError, ChainRefused: as `block`.
        """
        ...
