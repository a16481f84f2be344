"""What a worker knows of one contract's correspondence: keys of lines, and when other contracts' key epochs began.

A job that needs more than is here says so (`Lacking`) and is run again when it is: executing twice yields the same.

**Nothing goes while a job waits for it.** Whoever calls a contract chooses where its messages go, and others choose
where those come from; so callers decide how much a batch needs. Were the oldest dropped to make room, a batch that
needs more than there is room for would never be run, nor anything behind it. So what is kept is bounded between jobs
(`trim`), and a job by what one batch can name.

**A job has a copy** (`copy`): it looks up in its own thread, while news come in here. What it found to be there when it
began is there, and the same, when it seals: every worker of a quorum seals the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, final

from keephold.base.ids import ContractId
from keephold.protocol.lines import ChannelLine
from keephold.sealing.message import ChannelKey

MAX_LINES: Final = 512
"""Keys of lines kept from one job to the next; beyond, the oldest is fetched again when it is needed."""

MAX_PEERS: Final = 512
"""Contracts whose epochs are kept, likewise."""


class PeerAt(NamedTuple):
    """A question: the key epoch that a contract had when a block ordered an entry."""

    contract: ContractId
    height: int
    """Of the block: an epoch counts that began below it."""


@dataclass(frozen=True, slots=True)
class PeerEpochs:
    """Proven: the newest key epochs of a contract, as of a header."""

    contract: ContractId
    until: int
    """Height of the header: epochs that began below it are known."""
    begun: tuple[tuple[int, int], ...]
    """Epoch and the height at which it began, the newest first."""
    is_whole: bool
    """Nothing older is left out."""

    def at(self, height: int) -> int | None:
        """Return the epoch as of a block, 0 for none; None where that is not known from here."""
        if height > self.until:
            return None
        for epoch, began in self.begun:
            if began < height:
                return epoch
        return 0 if self.is_whole else None


@final
@dataclass(frozen=True, slots=True)
class Lacking:
    """What a job has to be told before it can be run."""

    lines: frozenset[ChannelLine] = frozenset()
    peers: frozenset[PeerAt] = frozenset()

    def without(self, mail: Mail) -> Lacking:
        """Return what of it still is not here."""
        return mail.lacking(self.lines, tuple(self.peers)) if self else self

    def __or__(self, other: Lacking) -> Lacking:
        return Lacking(self.lines | other.lines, self.peers | other.peers)

    def __bool__(self) -> bool:
        return bool(self.lines or self.peers)


@final
class Mail:
    """Keys of lines and epochs of peers, of one contract. For one thread."""

    def __init__(self) -> None:
        self._keys: Final[dict[ChannelLine, ChannelKey]] = {}
        self._peers: Final[dict[ContractId, PeerEpochs]] = {}

    def copy(self) -> Mail:
        """Return what is here now, for a job: nothing that comes in later changes it."""
        made = Mail()
        made._keys.update(self._keys)
        made._peers.update(self._peers)
        return made

    def key(self, line: ChannelLine) -> ChannelKey | None:
        """Return the key of a line, if it is here."""
        return self._keys.get(line)

    def epoch(self, peer: PeerAt) -> int | None:
        """Return a contract's epoch as of a block: 0 if it had none, None if that is not known yet."""
        known = self._peers.get(peer.contract)
        return None if known is None else known.at(peer.height)

    def take(self, key: ChannelKey) -> None:
        """Keep the key of a line."""
        self._keys[key.line] = key

    def learn(self, peer: PeerEpochs) -> None:
        """Keep what was proven of a contract."""
        self._peers[peer.contract] = peer

    def trim(self) -> None:
        """Let go of the oldest beyond the bounds: no job waits for anything."""
        while len(self._keys) > MAX_LINES:
            del self._keys[next(iter(self._keys))]
        while len(self._peers) > MAX_PEERS:
            del self._peers[next(iter(self._peers))]

    def forget_keys(self) -> None:
        """Let go of all keys: with their last reference they are overwritten."""
        self._keys.clear()

    def lacking(self, lines: Iterable[ChannelLine], peers: Sequence[PeerAt] = ()) -> Lacking:
        """Return what of these is not here."""
        return Lacking(
            frozenset(line for line in lines if line not in self._keys),
            frozenset(peer for peer in peers if self.epoch(peer) is None),
        )
