"""The nodes that a follower has: one is asked at present, and left when it dies or what it says does not hold.

Nothing is believed here, and no node is ever given up for good: each may have been restarted, or repaired, since. What
was wrong with each last is remembered for people: who finds no node is told the reason of every one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, TypeVar, final

from keephold.base.errors import (
    ChainRefused,
    KeepholdError,
    NodeUnreachable,
    NotKept,
    RollbackDetected,
    StaleAnswer,
)
from keephold.follower.remote import Remote

BACKOFF_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Pauses between attempts; the last one repeats."""

MAX_REFUSALS: Final = 8
"""Rounds through all nodes without a verified answer, before the refusal is raised."""

T = TypeVar("T")
E = TypeVar("E", bound=KeepholdError)


class Patience(Protocol):
    """Asks all nodes, and decides whether to ask all of them again when none answered."""

    async def __call__(self, question: Callable[[], Awaitable[T]], /) -> T:
        """Return the answer; raises NodeUnreachable: none, and no time is left."""
        ...


async def at_once(question: Callable[[], Awaitable[T]], /) -> T:
    """Ask once; whoever asks repeats it by rules of its own."""
    return await question()


@final
class Nodes:
    """One or more nodes of a network, asked in turn."""

    def __init__(
        self, remotes: Sequence[Remote], patience: Patience = at_once, turn_seconds: float | None = None
    ) -> None:
        """Ask the first one first; raises ValueError if there is none.

        Args:
            remotes: the nodes.
            patience: whether all are asked again when none answered.
            turn_seconds: how long one of several may take to answer, before the next is asked; None: as long as its
                transport lets it.
        """
        if not remotes:
            raise ValueError("a follower needs a node")
        self._remotes: Final = tuple(remotes)
        self._patience: Final = patience
        self._turn_seconds: Final = turn_seconds if len(self._remotes) > 1 else None
        self._reasons: Final[dict[int, str]] = {}
        self._current = 0

    def __len__(self) -> int:
        return len(self._remotes)

    @property
    def current(self) -> Remote:
        """The node asked at present."""
        return self._remotes[self._current]

    @property
    def reasons(self) -> str:
        """What was wrong with each node last, by name; empty where nothing was, or nothing since."""
        return "; ".join(f"{self._remotes[place]}: {self._reasons[place]}" for place in sorted(self._reasons))

    def after(self, remote: Remote, turns: int) -> Remote:
        """Return the node that comes so many turns after another one."""
        return self._remotes[(self._remotes.index(remote) + turns) % len(self._remotes)]

    def mistrust(self) -> None:
        """Ask the next node from now on."""
        self._current = (self._current + 1) % len(self._remotes)

    def leave(self, remote: Remote, reason: KeepholdError | str) -> None:
        """Ask another node from now on, if this is the one asked at present: two who found out together leave once."""
        self._blame(remote, reason)
        if remote is self.current:
            self.mistrust()

    def _blame(self, remote: Remote, reason: KeepholdError | str) -> None:
        self._reasons[self._remotes.index(remote)] = str(reason).removeprefix(f"{remote}: ")

    async def aclose(self) -> None:
        """Close every remote."""
        for remote in self._remotes:
            await remote.aclose()

    async def ask(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Ask the present node, then each other one once.

        Raises:
            NodeUnreachable: none answered.
        """
        return await self._patience(lambda: self._round(question))

    async def _round(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        first, failed = self.current, NodeUnreachable("no node")
        for turn in range(len(self)):
            remote = self.after(first, turn)
            try:
                return await self.one(remote, question)
            except NodeUnreachable as error:
                failed = error
                if turn + 1 < len(self):
                    self.leave(remote, error)
                else:  # whoever asks again begins with another one than this time
                    self._blame(remote, error)
        raise self.named(failed)

    async def one(self, remote: Remote, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Ask this node alone, as long as a turn lasts.

        Raises:
            NodeUnreachable
        """
        try:
            async with asyncio.timeout(self._turn_seconds) as turn:
                answer = await question(remote)
        except TimeoutError:
            if not turn.expired():
                raise
            raise NodeUnreachable(f"{remote}: no answer within {self._turn_seconds:g} s") from None
        self._reasons.pop(self._remotes.index(remote), None)
        return answer

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
            except (ChainRefused, StaleAnswer) as error:
                self.leave(self.current, error)
        try:
            return await answered()
        except (ChainRefused, StaleAnswer) as error:
            self._blame(self.current, error)
            raise self.named(error) from error

    def named(self, error: E) -> E:
        """Return the error of the last of several nodes with the reasons of all; that of an only one as it is."""
        return error if len(self) == 1 or not self._reasons else type(error)(self.reasons)


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
        """Return the pause after an unreachable node: the first round through all nodes is quick.

        A node that does not answer refuses nothing, and may be the one that has our chain: refusals count anew.
        """
        self.forget()
        return self._next()

    def forget(self) -> None:
        """Count refusals anew: a node that is left, or that does not answer, refused nothing.

        Else a network that stands still for long, with one node that lags behind, would end whoever waits for it.
        """
        self._refused = 0

    def _next(self) -> float:
        step = self._failures // self._nodes
        self._failures += 1
        return BACKOFF_SECONDS[min(step, len(BACKOFF_SECONDS) - 1)]

    def count(self, error: ChainRefused | RollbackDetected | NotKept) -> float:
        """Return the pause after a refused node, or raise the refusal once there were too many."""
        self._refused += 1
        if self._refused >= MAX_REFUSALS * self._nodes:
            raise error
        return self._next()
