"""The nodes that a follower has: one is asked at present, and left when it dies or what it says does not hold.

Nothing is believed here, and no node is ever given up for good: each may have been restarted, or repaired, since.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar, final

from keephold.base.errors import ChainRefused, NodeUnreachable, NotKept, RollbackDetected, StaleAnswer
from keephold.follower.remote import Remote

BACKOFF_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Pauses between attempts; the last one repeats."""

MAX_REFUSALS: Final = 8
"""Rounds through all nodes without a verified answer, before the refusal is raised."""

T = TypeVar("T")


@final
class Nodes:
    """One or more nodes of a network, asked in turn."""

    def __init__(self, remotes: Sequence[Remote]) -> None:
        """Ask the first one first; raises ValueError if there is none."""
        if not remotes:
            raise ValueError("a follower needs a node")
        self._remotes: Final = tuple(remotes)
        self._current = 0

    def __len__(self) -> int:
        return len(self._remotes)

    @property
    def current(self) -> Remote:
        """The node asked at present."""
        return self._remotes[self._current]

    def mistrust(self) -> None:
        """Ask the next node from now on."""
        self._current = (self._current + 1) % len(self._remotes)

    async def aclose(self) -> None:
        """Close every remote."""
        for remote in self._remotes:
            await remote.aclose()

    async def ask(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Ask the present node, then each other one once.

        Raises:
            NodeUnreachable: none answered.
        """
        for _ in self._remotes[1:]:
            try:
                return await question(self.current)
            except NodeUnreachable:
                self.mistrust()
        return await question(self.current)

    async def checked(self, answered: Callable[[], Awaitable[T]]) -> T:
        """Ask the present node for what is checked on arrival; where the answer does not hold, each other one once.

        Else a node whose stream is honest, and nothing else, would keep its readers for ever.

        Raises:
            ChainRefused, StaleAnswer: of the last one.
            NodeUnreachable: it does not answer, nor do the others.
        """
        for _ in self._remotes[1:]:
            try:
                return await answered()
            except (ChainRefused, StaleAnswer):
                self.mistrust()
        return await answered()


@final
class Refusals:
    """Counts what went wrong in a row, and says how long to wait; a verified block clears it."""

    def __init__(self, nodes: int) -> None:
        """Count for so many nodes."""
        self._nodes: Final = nodes
        self._failures = 0
        self._refused = 0

    def clear(self) -> None:
        """Begin again: something was verified."""
        self._failures = self._refused = 0

    def pause(self) -> float:
        """Return the pause after an unreachable node: the first round through all nodes is quick."""
        step = self._failures // self._nodes
        self._failures += 1
        return BACKOFF_SECONDS[min(step, len(BACKOFF_SECONDS) - 1)]

    def count(self, error: ChainRefused | RollbackDetected | NotKept) -> float:
        """Return the pause after a refused node, or raise the refusal once there were too many."""
        self._refused += 1
        if self._refused >= MAX_REFUSALS * self._nodes:
            raise error
        return self.pause()
