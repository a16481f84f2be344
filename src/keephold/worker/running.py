"""Running a batch in an execution process: each entry once, in order, on the state that those before it really left.

    entries ─ opened ─> requests ─> process ─> outcomes ─ drafted ─> results
              └──────────── while the process runs those between the two ────────────┘

Nothing waits for the whole batch: what is opened, and what is made of outcomes, is done while the process runs other
entries. So there are never more outcomes in memory than the results that they become, and few calls in between.

Crashes. A process that dies says nothing about who killed it. So each entry without an outcome is then run alone, in a
fresh process after each death; one that dies alone twice is consumed as failed. A host can kill processes at will and
so make calls fail, as it can refuse to run them: it learns nothing, and no state changes.

Miscounts. One outcome comes for each call, or a death. Another number is no death: a process cannot bring it about,
since whoever talks to it reads one outcome for each call and takes silence for death (`runtime.process`). So it is our
own mistake, on this side of the sandbox, and must cost no caller his call, as a death does in the end, nor hand him
another's outcome: nothing of the batch is consumed, and its contract stands still here, with the error in the log.

Refused outputs. What no result can carry does not count, but those behind it ran on it: they are run again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, Protocol, final

from keephold.base.errors import ExecutionCrashed, OutcomesMiscounted
from keephold.protocol.messages import Reply
from keephold.runtime.outcome import CallRequest, KeyName, Outcome, StateReader
from keephold.worker.code import ContractCode
from keephold.worker.reading import Reading
from keephold.worker.results import Taken, output_of

CRASHED: Final = Outcome(status="failed", detail="the execution process died twice")
"""What an entry comes to that kills its process, alone, twice."""

_ATTEMPTS: Final = 2
_CAREFUL: Final = 8
"""Entries run at once after one's output was refused: those behind it have to be run again."""


class Executor(Protocol):
    """Runs calls of one contract; blocks."""

    def execute(self, calls: Iterable[CallRequest], store: StateReader) -> Iterable[Outcome]:
        """Run transactions in order, each seeing what those before it wrote. Take all outcomes, as they come.

        Raises:
            ExecutionCrashed: the process is gone; the calls whose outcomes did not come have none.
        """
        ...

    def restart(self) -> None:
        """Replace the process.

        Raises:
            ExecutionCrashed: no process can be had: nothing was executed, and nothing is consumed.
        """
        ...


class Task(NamedTuple):
    """An entry, judged."""

    taken: Taken
    request: CallRequest | None
    """None: nothing runs."""
    reply: Reply
    """What is answered then."""


@final
class Run:
    """One batch. Iterate once: each entry with what it comes to, None where nothing runs."""

    def __init__(self, tasks: Iterator[Task], before: Reading, code: ContractCode, executor: Executor) -> None:
        """Run entries that are judged as they are taken from `tasks`, on the state before the first."""
        self._tasks: Final = _Tasks(tasks)
        self._overlay: Final = _Overlay(before)
        self._code: Final = code
        self._executor: Final = executor
        self._part = _Part(self._tasks, 0)
        self.is_stopped = False

    def stop(self) -> None:
        """Yield nothing more, and run nothing that does not run already."""
        self.is_stopped = self._part.is_over = True

    def __iter__(self) -> Iterator[tuple[Task, Outcome | None]]:
        """Yield the entries in order.

        Raises:
            ExecutionCrashed: no process can be had.
            OutcomesMiscounted: the executor told more or less than one outcome for each call; discard the batch.
        """
        most, deaths = None, 0
        while not self.is_stopped:
            yield from self._unread()
            if not self._tasks.is_left():
                return
            part = self._part = _Part(self._tasks, most)
            try:
                for told in self._executor.execute(part, self._overlay):
                    part.count()
                    if part.is_over:
                        continue
                    yield from self._unread()
                    deaths, task = 0, self._tasks.take()
                    outcome = output_of(told, self._code, task.taken)
                    if outcome is not told:
                        # Those behind it ran on writes that do not count.
                        part.is_over, most = True, min(most or _CAREFUL, _CAREFUL)
                    yield task, self._counted(outcome)
                part.check()
            except ExecutionCrashed:
                self._executor.restart()
                deaths += part.given == 1
                most = 1
                if deaths == _ATTEMPTS:
                    deaths = 0
                    yield self._tasks.take(), self._counted(CRASHED)

    def _unread(self) -> Iterator[tuple[Task, None]]:
        return ((task, None) for task in self._tasks.unread())

    def _counted(self, outcome: Outcome) -> Outcome:
        self._overlay.add(outcome.writes)
        return outcome


@final
class _Tasks:
    """In order: entries that are opened and not done, then those that are opened when they are wanted."""

    def __init__(self, opening: Iterator[Task]) -> None:
        self._opening: Final = opening
        self._opened: Final[deque[Task]] = deque()

    def is_left(self) -> bool:
        return bool(self._opened) or self.open() is not None

    def open(self) -> Task | None:
        """Open one more; None: there is none."""
        task = next(self._opening, None)
        if task is not None:
            self._opened.append(task)
        return task

    def opened(self) -> tuple[Task, ...]:
        return tuple(self._opened)

    def take(self) -> Task:
        return self._opened.popleft()

    def unread(self) -> Iterator[Task]:
        """Take those that nothing runs for, up to the first one that has to run."""
        while self.is_left() and self._opened[0].request is None:
            yield self.take()


@final
class _Part:
    """What is run in one go, `most` entries or all: requests, made when they are wanted."""

    def __init__(self, tasks: _Tasks, most: int | None) -> None:
        self._tasks: Final = tasks
        self._most: Final = most
        self.given = 0
        self._told = 0
        self.is_over = False
        """Whether what still comes of it does not count."""

    def count(self) -> None:
        """Count an outcome.

        Raises:
            OutcomesMiscounted: there is no call for it.
        """
        self._told += 1
        if self._told > self.given:
            raise OutcomesMiscounted(self.given, self._told)

    def check(self) -> None:
        """Check that the run is done.

        Raises:
            OutcomesMiscounted: a call is without outcome, or none of those that wait was taken.
        """
        if self._told < self.given or not (self.given or self.is_over):
            raise OutcomesMiscounted(self.given, self._told)

    def __iter__(self) -> Iterator[CallRequest]:
        again = iter(self._tasks.opened())
        while self.given != self._most and not self.is_over:
            task = next(again, None) or self._tasks.open()
            if task is None:
                return
            if task.request is not None:
                self.given += 1
                yield task.request


@final
class _Overlay:
    """The state before a batch with what its earlier entries wrote: a `StateReader`."""

    __slots__ = ("_before", "values")

    def __init__(self, before: Reading) -> None:
        self._before: Final = before
        self.values: Final[dict[str, bytes | None]] = {}

    def get(self, key: str) -> bytes | None:
        return self.values[key] if key in self.values else self._before.get(key)

    def public_key(self, name: KeyName) -> bytes:
        return self._before.public_key(name)

    def add(self, writes: Mapping[str, bytes | None]) -> None:
        self.values.update(writes)
