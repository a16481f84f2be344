"""The parent's side of an execution process: start it, run calls and questions in it, notice when it is stuck.

Everything here blocks, by design: an asyncio worker gives each contract one thread (or executor slot) and keeps its
loop free. The thread that starts a process must live as long as the process should: Linux ties "die with my parent"
to it.

    with CompiledCache(…).guest(artefact) as guest:
        process = ExecutionProcess.start(guest, source)
        for outcome in process.execute_batch(calls, store):
            …

A process that crashes, is killed as stuck, or breaks the order of messages is gone: `ExecutionCrashed`. Start another
and retry once; a call that does it twice is consumed as failed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from types import TracebackType
from typing import Final, Self

from keephold.base.errors import BadKey, ExecutionCrashed, SandboxError
from keephold.contract.storage import INITIALISED
from keephold.runtime import wire
from keephold.runtime.cache import CompiledGuest
from keephold.runtime.outcome import CallRequest, ContractInfo, KeyName, Outcome, QueryRequest, StateReader

__all__ = ["CallRequest", "ContractInfo", "ExecutionProcess", "Outcome", "QueryRequest", "StateReader"]

SILENCE_SECONDS: Final = 60.0
"""How long a process may say nothing before it counts as stuck. One call's fuel lasts about 0.3 s on an idle core, and
what counts as stuck twice is consumed as failed: no machine may be so busy that an honest call comes to that."""

START_SECONDS: Final = 180.0
"""The same while it starts and compiles its contract."""

PART: Final = 16
"""Calls that are sent at a time: what a process may run for nothing when its outcomes are not wanted any more."""

WARM_KEYS: Final = 256
"""Storage keys whose values are sent along with calls, unasked."""

WARM_BYTES: Final = 1 << 16
"""Bytes of such keys and values for one batch."""


class _Warm:
    """Keys that calls of late read or wrote. Their values travel with the next calls, which spares the child asking."""

    def __init__(self) -> None:
        self._keys: Final[dict[str, None]] = {}

    def use(self, key: str) -> None:
        """Note that a call read or wrote a key."""
        self._keys.pop(key, None)
        self._keys[key] = None
        if len(self._keys) > WARM_KEYS:
            del self._keys[next(iter(self._keys))]

    def values(self, store: StateReader) -> dict[str, bytes | None]:
        """Return what every call reads, and what the newest of the others hold, within the bound."""
        found = {INITIALISED: store.get(INITIALISED)}
        room = WARM_BYTES
        for key in reversed(self._keys):
            if key in found:
                continue
            value = store.get(key)
            room -= len(key) + len(value or b"")
            if room < 0:
                break
            found[key] = value
        return found


class ExecutionProcess:
    """One running execution process. Safe to share between threads, which then take turns."""

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, silence: float) -> None:
        self._process: Final = process
        self._socket: Final = sock
        self._channel: Final = wire.Channel(sock)
        self._silence: Final = silence
        self._lock: Final = threading.Lock()
        self._warm: Final = _Warm()
        self._info: ContractInfo | None = None

    @classmethod
    def start(cls, guest: CompiledGuest, source: str, *, silence: float = SILENCE_SECONDS) -> Self:
        """Start a process for one contract and load it.

        Raises:
            SandboxError: the source makes no contract; with reason and line.
            ExecutionCrashed: the process did not come up.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                arguments = [str(theirs.fileno()), str(guest.descriptor), str(guest.memory), str(os.getpid())]
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module, no shell
                    [sys.executable, "-I", "-m", "keephold.runtime.child", *arguments],
                    pass_fds=(theirs.fileno(), guest.descriptor, guest.memory),
                    env={},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    cwd="/",
                )
        except BaseException:
            ours.close()
            raise
        started = cls(process, ours, silence)
        try:
            started._load(source)
        except BaseException:
            started.close()
            raise
        return started

    def _load(self, source: str) -> None:
        self._socket.settimeout(START_SECONDS)
        try:
            self._channel.send(wire.encode(wire.Load(source)))
            answer = wire.decode_to_parent(self._channel.receive())
        except UnicodeEncodeError as e:
            raise SandboxError("the source holds lone surrogates") from e
        except (wire.Closed, TimeoutError) as e:
            raise ExecutionCrashed(f"did not start: {e}") from e
        if isinstance(answer, wire.Refused):
            raise SandboxError(answer.message, answer.line, answer.column)
        if not isinstance(answer, wire.Loaded):
            raise ExecutionCrashed("broke the order of messages")
        self._info = ContractInfo(answer.name, answer.abi_json)
        self._socket.settimeout(self._silence)

    @property
    def info(self) -> ContractInfo:
        """Return what the source declares."""
        if self._info is None:
            raise ExecutionCrashed("never loaded")
        return self._info

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Tell whether the process can still serve."""
        return self._process.poll() is None

    def execute(self, call: CallRequest, store: StateReader) -> Outcome:
        """Run one transaction; see `execute_batch`."""
        (outcome,) = self.execute_batch((call,), store)
        return outcome

    def execute_batch(self, calls: Iterable[CallRequest], store: StateReader) -> Iterator[Outcome]:
        """Run transactions in order, each in a fresh instance, each seeing what those before it wrote.

        Outcomes come as soon as they are there, and calls are taken `PART` at a time, one part ahead of what runs. So
        whoever makes the calls, and whoever works on the outcomes, does so while the process runs. Take all of them:
        a process whose outcomes are left in the middle is killed.

        `store` answers for the state before the batch, at most once for each slot: those that calls of late used, then
        those that are asked for. Nothing is written to it; what earlier calls of the batch wrote it may show or not.

        Raises:
            ExecutionCrashed: the process is gone; the calls whose outcomes did not come have none.
        """
        with self._conversation():
            parts = _parts(calls)
            running = next(parts, ())
            if running:
                self._channel.send(wire.encode(wire.Execute(running, self._warm.values(store))))
            while running:
                coming = next(parts, ())
                more = wire.encode(wire.More(coming))
                for left in reversed(range(len(running))):
                    outcome = self._outcome(store)
                    if left == 0 and coming:
                        self._channel.send(more)
                    yield outcome
                running = coming

    def query(self, query: QueryRequest, store: StateReader) -> Outcome:
        """Answer one question in the warm instance.

        Raises:
            ExecutionCrashed: the process is gone.
        """
        with self._conversation():
            self._channel.send(wire.encode(wire.Ask(query, {INITIALISED: store.get(INITIALISED)})))
            outcome = self._outcome(store)
            if outcome.writes or outcome.events or outcome.messages or outcome.releases:
                raise wire.Closed("a question wrote")
            return outcome

    @contextmanager
    def _conversation(self) -> Iterator[None]:
        """Hold the process for one batch or question; one that is left in the middle is no process any more."""
        with self._lock:
            is_finished = False
            try:
                yield
                is_finished = True
            except TimeoutError as e:
                raise ExecutionCrashed(f"stuck: silent for {self._silence:g} s, killed") from e
            except wire.Closed as e:
                raise ExecutionCrashed(str(e)) from e
            finally:
                if not is_finished:
                    self._kill()

    def _outcome(self, store: StateReader) -> Outcome:
        """Return the next outcome, telling the process meanwhile what it asks for."""
        while True:
            message = wire.decode_to_parent(self._channel.receive())
            if isinstance(message, wire.Need):
                self._warm.use(message.key)
                self._channel.send(wire.encode(wire.Value(store.get(message.key))))
            elif isinstance(message, wire.NeedKey):
                self._channel.send(wire.encode(wire.PublicKey(_public_key(store, message.name))))
            elif isinstance(message, wire.Done) and wire.is_within_limits(message.outcome):
                for key in message.outcome.writes:
                    self._warm.use(key)
                return message.outcome
            else:
                raise wire.Closed("broke the order of messages, or a limit")

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def close(self) -> None:
        """Kill the process and wait for its end: nothing of the contract is left in memory."""
        self._kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parts(calls: Iterable[CallRequest]) -> Iterator[tuple[CallRequest, ...]]:
    rest = iter(calls)
    while part := tuple(islice(rest, PART)):
        yield part


def _public_key(store: StateReader, name: KeyName) -> bytes:
    """Return a public key; a process that asks for one that its contract does not declare is broken.

    Raises:
        wire.Closed: so it is.
    """
    try:
        return store.public_key(name)
    except BadKey as e:
        raise wire.Closed(f"asked for a key that is not there: {e}") from e
