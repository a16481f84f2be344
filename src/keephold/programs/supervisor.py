"""Runs a node, and with it CometBFT, until it is told to end or must not go on; `restarts` decides, this carries out.

**Both live one life.** The node starts CometBFT and ends when it ends. When the node itself is gone, the kernel kills
CometBFT; the supervisor, to whom orphans fall, waits until nothing of that life is left before the next one begins: no
port, lock or socket is still held then.

**Nothing outlives the supervisor**: the kernel kills the node when the supervisor ends, however that comes about, and
CometBFT when the node does.

The node's log passes through, so that its last lines can be told. Its last word comes over a pipe of its own: the log
is for people.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final, cast, final

import msgspec

from keephold.programs.restarts import (
    Died,
    Ended,
    Ending,
    Event,
    Killing,
    Passed,
    Running,
    State,
    Told,
    Waiting,
    Word,
    advance,
)

_PR_SET_CHILD_SUBREAPER: Final = 36
_TOLD_LINES: Final = 5
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 300
_LINGERING: Final = 5.0
"""Seconds in which what a dead node left has to be gone by itself; the kernel takes none of them."""

Command = Callable[[int, int], Sequence[str]]
"""Makes the command line of a node from its parent's process id and the descriptor for its last word."""


def supervise(command: Command, tell: Callable[[State], None] = lambda _: None) -> None:
    """Run a node until SIGTERM or SIGINT. Main thread only: the kernel ties the node's life to it.

    Args:
        command: Of the node.
        tell: Called with each new state.

    Raises:
        Halted: the node must not go on, or cannot.
    """
    _adopt_orphans()
    events: SimpleQueue[Event] = SimpleQueue()

    def told(_: int, __: object) -> None:
        events.put(Told(time.monotonic()))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told)
    life = _Life(command, events)
    state: State = Running(time.monotonic())
    while not isinstance(state, Ended):
        following = advance(state, _next(events, state))
        if following != state:
            tell(following)
            life = _enter(following, life, command, events)
        state = following
    if state.failure is not None:
        raise state.failure


def _next(events: SimpleQueue[Event], state: State) -> Event:
    """Return the next event; without one in time, that the time has passed."""
    until = state.until if isinstance(state, Waiting | Ending) else None
    try:
        return events.get(timeout=None if until is None else max(0.0, until - time.monotonic()))
    except Empty:
        return Passed(time.monotonic())


def _enter(state: State, life: _Life, command: Command, events: SimpleQueue[Event]) -> _Life:
    match state:
        case Running():
            return _Life(command, events)
        case Ending():
            life.signal(signal.SIGTERM)
        case Killing():
            life.signal(signal.SIGKILL)
        case _:
            pass
    return life


@final
class _Life:
    """One life of a node, from its start to a `Died`."""

    def __init__(self, command: Command, events: SimpleQueue[Event]) -> None:
        self._events: Final = events
        self._log: Final = _Log()
        self._report, writing = os.pipe()
        try:
            self._process: Final = subprocess.Popen(  # noqa: S603 - our own interpreter and program
                [*command(os.getpid(), writing)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                process_group=0,  # the terminal's interrupt is for the supervisor, which ends the node in order
            )
        except BaseException:
            os.close(self._report)
            raise
        finally:
            os.close(writing)
        self._copying: Final = threading.Thread(target=self._copy, name="keephold-log", daemon=True)
        self._copying.start()
        threading.Thread(target=self._attend, name="keephold-life", daemon=True).start()

    def signal(self, number: signal.Signals) -> None:
        """Signal the node, if it was not reaped yet."""
        self._process.send_signal(number)

    def _copy(self) -> None:
        with cast("IO[bytes]", self._process.stdout) as said:
            while chunk := os.read(said.fileno(), _CHUNK):
                self._log.feed(chunk)

    def _attend(self) -> None:
        """Report the end, once nothing of this life is left."""
        status = self._process.wait()
        _bury()
        self._copying.join()
        word = _word(os.read(self._report, _CHUNK))
        os.close(self._report)
        self._events.put(Died(time.monotonic(), status, word, self._log.last()))


@final
class _Log:
    """Copies a log to standard error, and remembers its last lines."""

    def __init__(self) -> None:
        self._lines: Final[deque[bytes]] = deque(maxlen=_TOLD_LINES)
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        with contextlib.suppress(OSError):  # whoever read it is gone
            sys.stderr.buffer.write(chunk)
            sys.stderr.buffer.flush()
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self._lines.extend(lines)
        self._rest = self._rest[-_CHUNK:]

    def last(self) -> tuple[str, ...]:
        lines = [line for line in (*self._lines, self._rest) if line.strip()]
        return tuple(line[:_LONGEST_LINE].decode("utf-8", "replace") for line in lines[-_TOLD_LINES:])


def _word(raw: bytes) -> Word | None:
    try:
        return msgspec.json.decode(raw, type=Word) if raw else None
    except msgspec.MsgspecError:  # it died while speaking
        return None


def _adopt_orphans() -> None:
    """Become the one to whom descendants fall whose parent ended."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _bury() -> None:
    """Wait until no descendant is left; kill those that linger."""
    deadline = time.monotonic() + _LINGERING
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                if time.monotonic() > deadline:
                    for child in _children():
                        os.kill(child, signal.SIGKILL)
                time.sleep(0.01)


def _children() -> list[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
