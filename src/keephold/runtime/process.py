"""The parent's side of an execution process: start it, run calls and questions in it, notice when it is stuck.

Everything here blocks, by design: an asyncio worker gives each contract one thread (or executor slot) and keeps its
loop free. The thread that starts a process must live as long as the process should: Linux ties "die with my parent"
to it.

    with CompiledCache(…).guest(artefact) as guest:
        process = ExecutionProcess.start(guest, source)
        outcomes = process.execute_batch(calls, store)

A process that crashes, is killed as stuck, or breaks the order of messages is gone: `ExecutionCrashed`. Start another
and retry once; a call that does it twice is consumed as failed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

from keephold.base.errors import BadKey, ExecutionCrashed, SandboxError
from keephold.contract.storage import INITIALISED
from keephold.runtime import wire
from keephold.runtime.cache import CompiledGuest
from keephold.runtime.outcome import CallRequest, ContractInfo, KeyName, Outcome, QueryRequest, StateReader

__all__ = ["CallRequest", "ContractInfo", "ExecutionProcess", "Outcome", "QueryRequest", "StateReader"]

SILENCE_SECONDS: Final = 20.0
"""How long a process may say nothing before it counts as stuck. One call's fuel lasts about 0.3 s on an idle core."""

START_SECONDS: Final = 60.0
"""The same while it starts and compiles its contract."""

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
        return self.execute_batch((call,), store)[0]

    def execute_batch(self, calls: Sequence[CallRequest], store: StateReader) -> list[Outcome]:
        """Run transactions in order, each in a fresh instance, each seeing what those before it wrote.

        `store` answers for the state before the batch, at most once for each slot: those that calls of late used, then
        those that are asked for. Nothing is written to it.

        Raises:
            ExecutionCrashed: the process is gone; no outcome of this batch is returned.
        """
        return self._ask(wire.Execute(tuple(calls), self._warm.values(store)), len(calls), store)

    def query(self, query: QueryRequest, store: StateReader) -> Outcome:
        """Answer one question in the warm instance.

        Raises:
            ExecutionCrashed: the process is gone.
        """
        return self._ask(wire.Ask(query, {INITIALISED: store.get(INITIALISED)}), 1, store)[0]

    def _ask(self, request: wire.Execute | wire.Ask, count: int, store: StateReader) -> list[Outcome]:
        with self._lock:
            finished = False
            try:
                outcomes = self._converse(request, count, store)
                finished = True
            except TimeoutError as e:
                raise ExecutionCrashed(f"stuck: silent for {self._silence:g} s, killed") from e
            except wire.Closed as e:
                raise ExecutionCrashed(str(e)) from e
            finally:
                if not finished:  # a store that raised leaves the conversation in the middle, too
                    self._kill()
            return outcomes

    def _converse(self, request: wire.Execute | wire.Ask, count: int, store: StateReader) -> list[Outcome]:
        outcomes: list[Outcome] = []
        self._channel.send(wire.encode(request))
        while len(outcomes) < count:
            message = wire.decode_to_parent(self._channel.receive())
            if isinstance(message, wire.Need):
                self._warm.use(message.key)
                self._channel.send(wire.encode(wire.Value(store.get(message.key))))
            elif isinstance(message, wire.NeedKey):
                self._channel.send(wire.encode(wire.PublicKey(_public_key(store, message.name))))
            elif isinstance(message, wire.Done) and wire.is_within_limits(message.outcome):
                if isinstance(request, wire.Ask) and not _only_reads(message.outcome):
                    raise wire.Closed("a question wrote")
                outcomes.append(message.outcome)
                for key in message.outcome.writes:
                    self._warm.use(key)
            else:
                raise wire.Closed("broke the order of messages, or a limit")
        return outcomes

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


def _only_reads(outcome: Outcome) -> bool:
    return not (outcome.writes or outcome.events or outcome.messages or outcome.releases)


def _public_key(store: StateReader, name: KeyName) -> bytes:
    """Return a public key; a process that asks for one that its contract does not declare is broken.

    Raises:
        wire.Closed: so it is.
    """
    try:
        return store.public_key(name)
    except BadKey as e:
        raise wire.Closed(f"asked for a key that is not there: {e}") from e
