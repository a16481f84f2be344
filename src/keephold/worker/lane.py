"""A lane: one execution process of one contract, and the one thread that starts it and speaks with it.

A contract has two: calls run in one, questions in the other, so that a batch does not keep readers waiting and a
question that kills its process costs no call. The process inherits a socket pair and the compiled guest, nothing else.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, TypeVar, final

from keephold.base.errors import ExecutionCrashed
from keephold.runtime.cache import CompiledGuest
from keephold.runtime.outcome import CallRequest, ContractInfo, Outcome, QueryRequest, StateReader
from keephold.runtime.process import ExecutionProcess

T = TypeVar("T")


@final
class Lane:
    """An `Executor`. Its blocking methods belong to its own thread: `await lane.run(lane.execute, …)`."""

    def __init__(self, guest: CompiledGuest, source: str, name: str) -> None:
        self._guest: Final = guest
        self._source: Final = source
        self._thread: Final = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._process: ExecutionProcess | None = None
        self._closed = False

    async def run(self, function: Callable[..., T], *arguments: object) -> T:
        """Run a blocking function in the lane's thread, after those before it.

        Raises:
            ExecutionCrashed: the lane is closed.
        """
        if self._closed:
            raise ExecutionCrashed("closed")
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*arguments))

    def start(self) -> ContractInfo:
        """Start a process, if there is none; return what it makes of the source.

        Raises:
            SandboxError: the source makes no contract.
            ExecutionCrashed: the process did not come up.
        """
        return self._running().info

    def restart(self) -> None:
        """Replace the process.

        Raises:
            ExecutionCrashed: the lane is closed, or no process comes up.
        """
        self._end()
        self._running()

    def execute(self, calls: Iterable[CallRequest], store: StateReader) -> Iterator[Outcome]:
        """Run transactions in order, in this thread; see `ExecutionProcess.execute_batch`.

        Raises:
            ExecutionCrashed: the process is gone.
        """
        return self._running().execute_batch(calls, store)

    def query(self, query: QueryRequest, store: StateReader) -> Outcome:
        """Answer one question; a process that died before is replaced, one that dies now is not.

        Raises:
            ExecutionCrashed: the process is gone.
        """
        if self._process is not None and not self._process.is_alive:
            self._end()
        return self._running().query(query, store)

    def kill(self) -> None:
        """End the process now, whatever it does; from any thread. What waits for it gets ExecutionCrashed."""
        self._closed = True
        process = self._process
        if process is not None and process.is_alive:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        with suppress(RuntimeError):  # killed twice
            self._thread.submit(self._end)
            self._thread.shutdown(wait=False)

    def wait_ended(self) -> None:
        """After `kill`: return when thread and process are gone. Blocks."""
        self._thread.shutdown(wait=True)

    def _running(self) -> ExecutionProcess:
        if self._process is None:
            if self._closed:
                raise ExecutionCrashed("closed")
            self._process = ExecutionProcess.start(self._guest, self._source)
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.close()
