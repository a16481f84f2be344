"""Keeps programs running: starts them, restarts those that die, ends them all.

One thread does everything: it starts children (they are tethered to that very thread, see `tether`), waits for their
end on process descriptors, and carries out what other threads ask. So there are no locks around processes, no signal
handlers, and no process id is ever used after its process was reaped.

A child that dies is started again after a pause that doubles with each death in a row and is forgotten once the child
has lived for a while.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Final, Self, final

from keephold.testing.processes import tree

FIRST_PAUSE: Final = 0.1
"""Seconds before the first restart."""

LONGEST_PAUSE: Final = 5.0
SETTLED: Final = 10.0
"""Seconds of life after which earlier deaths are forgotten."""

GRACE: Final = 3.0
"""Seconds between asking all children to end and killing those that did not."""

LINGERING: Final = 5.0
"""Seconds in which the processes that a killed child had started are gone too."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: a module with arguments, under a name of its own."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """A child runs."""

    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Died:
    """A child ended though nobody asked for it; `status` is negative for a signal."""

    name: str
    status: int
    pause: float
    """Seconds until it is started again; negative: it is held."""


Event = Started | Died


@dataclass(slots=True)
class _Child:
    program: Program
    process: subprocess.Popen[bytes] | None = None
    descriptor: int = -1
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0
    """When to start it, on the monotonic clock; meaningful without a process."""
    held: bool = False
    """Killed on request and not to be restarted before `resume`."""


@dataclass(slots=True)
class _Ask:
    action: Callable[[], None]
    done: Future[None] = field(default_factory=Future)


@final
class Supervisor:
    """The one who starts, watches, restarts and ends programs."""

    def __init__(
        self, logs: Path, report: Callable[[Event], None] | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the supervising thread. Each child's output goes to `logs/NAME.log`.

        Args:
            logs: an existing directory.
            report: called on the supervising thread for each event; must return quickly.
            environment: of the children; this process's own by default.
        """
        self._logs: Final = logs
        self._report: Final = report or (lambda _: None)
        self._environment: Final = dict(os.environ if environment is None else environment)
        self._children: dict[str, _Child] = {}
        self._asks: SimpleQueue[_Ask] = SimpleQueue()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ending = False
        self._thread: Final = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, program: Program) -> None:
        """Start a program and keep it running.

        Raises:
            ValueError: the name is taken.
        """
        self._do(lambda: self._add(program))

    def kill(self, name: str, *, hold: bool = False) -> None:
        """Kill a child as `kill -9` would, and return when nothing of it runs; it comes back unless it is held.

        Raises:
            KeyError: no child of that name.
        """
        self._do(lambda: self._kill(name, hold=hold))

    def resume(self, name: str) -> None:
        """Start a held child again.

        Raises:
            KeyError: no child of that name.
        """
        self._do(lambda: self._resume(name))

    @property
    def pids(self) -> dict[str, int]:
        """Return name to process id of the children that run now."""
        # Looked at once each: the supervising thread may forget a process between two looks.
        running = [(name, child.process) for name, child in list(self._children.items())]
        return {name: process.pid for name, process in running if process is not None}

    def log(self, name: str) -> Path:
        """Return the file that holds a child's output."""
        return self._logs / f"{name}.log"

    def stop(self) -> None:
        """End all children, by force where asking is not enough, and the thread; may be called twice."""
        if not self._thread.is_alive():
            return
        with contextlib.suppress(RuntimeError):
            self._do(self._begin_ending)
        self._thread.join()

    # --- below: on the supervising thread only ---

    def _do(self, action: Callable[[], None]) -> None:
        if not self._thread.is_alive():
            raise RuntimeError("the supervisor has stopped")
        ask = _Ask(action)
        self._asks.put(ask)
        os.write(self._wake_write, b"!")
        ask.done.result()

    def _run(self) -> None:
        try:
            while not self._ending:
                self._wait()
                self._answer()
                self._reap()
                self._start_due()
            self._end()
        finally:
            os.close(self._wake_read)
            os.close(self._wake_write)
            while not self._asks.empty():
                self._asks.get().done.set_exception(RuntimeError("the supervisor has stopped"))

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for child in self._children.values():
            if child.process is not None:
                poll.register(child.descriptor, select.POLLIN)
        due = [child.due for child in self._children.values() if child.process is None and not child.held]
        timeout = max(0.0, min(due) - time.monotonic()) * 1000 + 1 if due else None
        poll.poll(timeout)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)

    def _answer(self) -> None:
        while not self._asks.empty():
            ask = self._asks.get()
            try:
                ask.action()
            except (ValueError, KeyError, OSError) as error:
                ask.done.set_exception(error)
            else:
                ask.done.set_result(None)

    def _add(self, program: Program) -> None:
        if program.name in self._children:
            raise ValueError(f"{program.name} runs already")
        child = self._children[program.name] = _Child(program)
        self._spawn(child)

    def _spawn(self, child: _Child) -> None:
        command = [sys.executable, "-m", "keephold.testing.tether", str(os.getpid()), child.program.module]
        with self.log(child.program.name).open("ab") as log:
            child.process = subprocess.Popen(
                [*command, *child.program.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                process_group=0,  # the terminal's interrupt is for the supervisor, which ends children in order
            )
        child.descriptor = os.pidfd_open(child.process.pid)
        child.started = time.monotonic()
        self._report(Started(child.program.name, child.process.pid))

    def _reap(self) -> None:
        for child in self._children.values():
            if child.process is None or (status := child.process.poll()) is None:
                continue
            self._forget(child)
            now = time.monotonic()
            child.deaths = 1 if now - child.started > SETTLED else child.deaths + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(child.deaths - 1, 10))
            child.due = now + pause
            self._report(Died(child.program.name, status, -1.0 if child.held else pause))

    def _start_due(self) -> None:
        now = time.monotonic()
        for child in self._children.values():
            if child.process is None and not child.held and child.due <= now and not self._ending:
                self._spawn(child)

    def _kill(self, name: str, *, hold: bool) -> None:
        child = self._children[name]
        child.held = hold
        if child.process is not None:
            with _orphans(child.process.pid):
                _signal_group(child.process.pid, signal.SIGKILL)
                child.process.wait()

    def _resume(self, name: str) -> None:
        child = self._children[name]
        child.held, child.due, child.deaths = False, 0.0, 0

    def _forget(self, child: _Child) -> None:
        os.close(child.descriptor)
        child.process, child.descriptor = None, -1

    def _begin_ending(self) -> None:
        self._ending = True

    def _end(self) -> None:
        living = [child for child in self._children.values() if child.process is not None]
        with contextlib.ExitStack() as gone:
            for child in living:
                if child.process is not None:
                    gone.enter_context(_orphans(child.process.pid))
            self._end_all(living)

    def _end_all(self, living: list[_Child]) -> None:
        for child in living:
            if child.process is not None and child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + GRACE
        for child in living:
            if child.process is None:
                continue
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal_group(child.process.pid, signal.SIGKILL)
                child.process.wait()
            self._forget(child)


@contextlib.contextmanager
def _orphans(leader: int) -> Iterator[None]:
    """Wait, after what is done inside, for the end of whatever a child started: what is tethered dies a moment later.

    Nobody is killed here: whoever lives on would do so without us too, and is waited for `LINGERING` seconds.
    """
    with contextlib.ExitStack() as held:
        descriptors = []
        for process in tree(leader)[1:]:
            with contextlib.suppress(ProcessLookupError):
                descriptors.append(os.pidfd_open(process))
                held.callback(os.close, descriptors[-1])
        yield
        deadline = time.monotonic() + LINGERING
        for descriptor in descriptors:
            ended = select.poll()
            ended.register(descriptor, select.POLLIN)
            ended.poll(max(0.0, deadline - time.monotonic()) * 1000)


def _signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a child that was not reaped yet, with the processes it started itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, number)
