"""Stands on the wire between programs and a node: records every byte, and misbehaves on request.

It is what the design grants the host of an enclave: it sees and alters all traffic. As a recorder it serves the search
for secrets (`scan`); as an adversary it may slow down, cut and corrupt, after which a program must carry on or end with
its one declared error.

Each direction of each connection becomes a file, written as the bytes pass; nothing is kept in memory. The proxy
listens on loopback and runs in a thread of its own. Its behaviour may be changed at any time and applies to the next
bytes of every connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar, final

T = TypeVar("T")

HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 << 10

Direction = Literal["up", "down"]
"""`up` is what programs say, `down` is what the node answers."""


@dataclass(frozen=True, slots=True)
class Faithful:
    """Pass everything on."""


@dataclass(frozen=True, slots=True)
class Slow:
    """Hold each piece back before passing it on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Corrupting:
    """Flip the lowest bit of every byte whose position in its direction's stream divides by `every`, in one direction.

    Both ends agree on the length, so what is altered is what was said, not how it was framed.
    """

    every: int
    direction: Direction = "down"


@dataclass(frozen=True, slots=True)
class Cutting:
    """End each connection after so many bytes of one direction."""

    after: int
    direction: Direction = "down"


@dataclass(frozen=True, slots=True)
class Unplugged:
    """End all connections and take no new ones: each is ended as soon as it is made."""


Behaviour = Faithful | Slow | Corrupting | Cutting | Unplugged


@final
class Proxy:
    """A recording proxy in front of one port of this machine; end it with `stop`, or use it as a context."""

    def __init__(self, target: int, captured: Path, *, port: int = 0) -> None:
        """Listen at once; the target need not.

        Args:
            target: port on loopback to which connections are passed on.
            captured: directory of the recordings, made where it is missing.
            port: to listen on; 0 for any free one.

        Raises:
            OSError: the port is taken.
        """
        captured.mkdir(parents=True, exist_ok=True)
        self.captured: Final = captured
        self._target: Final = target
        self._behaviour: Behaviour = Faithful()
        self._numbers: Final = itertools.count()
        self._connections: Final[set[asyncio.Task[None]]] = set()
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        try:
            self._server: Final = self._do(self._listen(port))
        except BaseException:
            self._close()
            raise
        self.port: Final[int] = self._server.sockets[0].getsockname()[1]

    @property
    def url(self) -> str:
        """Base URL of the node as programs behind this proxy see it."""
        return f"http://{HOST}:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections there were so far."""
        return len(list(self.captured.glob("*.up")))

    def behave(self, behaviour: Behaviour) -> None:
        """Behave so from now on; `Unplugged` ends what is connected."""
        self._do(self._change(behaviour))

    def cut(self) -> None:
        """End all connections; new ones are taken."""
        self._do(self._cut())

    def stop(self) -> None:
        """End all connections and stop listening; the recordings stay. May be called twice."""
        if self._thread.is_alive():
            self._do(self._end())
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- below: on the proxy's thread only ---

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._accept, HOST, port)

    async def _change(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        if isinstance(behaviour, Unplugged):
            await self._cut()

    async def _cut(self) -> None:
        connections = [task for task in self._connections if task is not asyncio.current_task()]
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _end(self) -> None:
        self._server.close()
        await self._cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                if not isinstance(self._behaviour, Unplugged):
                    await self._pass_on(reader, writer)
            finally:
                await _closed(writer)

    async def _pass_on(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        name = f"{next(self._numbers):06}"
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        try:
            with (self.captured / f"{name}.up").open("wb") as up, (self.captured / f"{name}.down").open("wb") as down:
                directions = {
                    asyncio.ensure_future(self._pump("up", near_reader, far_writer, up)),
                    asyncio.ensure_future(self._pump("down", far_reader, near_writer, down)),
                }
                try:
                    # One half may close while the other still speaks; an error or a cut ends both.
                    await asyncio.wait(directions, return_when=asyncio.FIRST_EXCEPTION)
                finally:
                    for pump in directions:
                        pump.cancel()
                    await asyncio.gather(*directions, return_exceptions=True)
        finally:
            await _closed(far_writer)

    async def _pump(
        self, direction: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter, record: BufferedWriter
    ) -> None:
        passed = 0
        while piece := await source.read(_CHUNK):
            record.write(piece)
            record.flush()
            match self._behaviour:
                case Slow(seconds):
                    await asyncio.sleep(seconds)
                case Corrupting(every, which) if which == direction:
                    piece = _corrupted(piece, passed, every)
                case Cutting(after, which) if which == direction and passed + len(piece) > after:
                    sink.write(piece[: max(0, after - passed)])
                    await sink.drain()
                    raise ConnectionAbortedError
                case _:
                    pass
            sink.write(piece)
            await sink.drain()
            passed += len(piece)
        if sink.can_write_eof():
            sink.write_eof()


def _corrupted(piece: bytes, passed: int, every: int) -> bytes:
    altered = bytearray(piece)
    for at in range(-passed % every, len(altered), every):
        altered[at] ^= 1
    return bytes(altered)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
