"""The unix socket that CometBFT dials, four times: for consensus, the mempool, queries and snapshots.

One blocking thread for each connection: answers stay in order without bookkeeping, a long block does not hold up a
check or a query, and no request crosses from an event loop to a worker and back.

Whatever is complete is answered at once, the `Flush` behind it included; nothing is held back for it. A connection ends
with the process behind it, so the end of any of them is reported: CometBFT is of no use with three.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, final

from keephold.base.errors import ConfigurationError, EncodingError
from keephold.ledger.engines.cometbft.messages import Message, Request, answer, parse
from keephold.ledger.engines.cometbft.wire import Frames, frame

_LOG: Final = logging.getLogger("keephold.cometbft")
_CHUNK: Final = 1 << 18
_LONGEST_PATH: Final = 103
"""Bytes that every system takes for the path of a unix socket."""


@final
class AbciServer:
    """Listens on a unix socket and answers with `handle`, until `stop`."""

    def __init__(self, path: Path, handle: Callable[[Message], Message], ended: Callable[[str], None]) -> None:
        """Listen at once; connections wait until `start`.

        Args:
            path: Of the socket; its directory must be open to this user alone.
            handle: Returns the response to a request, on the connection's thread. If it raises, CometBFT is told to
                stop.
            ended: Called with the reason when a connection ends that `stop` did not end.

        Raises:
            ConfigurationError: the path is too long, or not writable.
        """
        self._handle: Final = handle
        self._ended: Final = ended
        self._path: Final = path
        self._lock: Final = threading.Lock()
        self._connections: Final[dict[socket.socket, threading.Thread]] = {}
        self._stopping = False
        self._listener: Final = _listen(path)
        self._thread: Final = threading.Thread(target=self._accept, name="keephold-abci", daemon=True)

    def start(self) -> None:
        """Take connections from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End all connections, the socket and the threads."""
        with self._lock:
            self._stopping = True
            living = dict(self._connections)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in living:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in (*living.values(), self._thread):
            if thread.is_alive():
                thread.join()
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # `stop` shut it down
                return
            thread = threading.Thread(
                target=self._serve, args=(connection,), name="keephold-abci-connection", daemon=True
            )
            with self._lock:
                if self._stopping:
                    connection.close()
                    return
                self._connections[connection] = thread
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            reason = self._converse(connection)
        except (OSError, EncodingError) as error:
            reason = str(error)
        finally:
            with self._lock:
                self._connections.pop(connection, None)
                asked = self._stopping
            connection.close()
        if not asked:
            self._ended(reason)

    def _converse(self, connection: socket.socket) -> str:
        """Answer until the other side ends; return why it ended."""
        frames = Frames()
        while received := connection.recv(_CHUNK):
            answers: list[bytes] = []
            for message in frames.feed(received):
                request = parse(Request, message)
                try:
                    response = self._handle(request)
                except Exception as error:  # noqa: BLE001 - going on would be wrong whatever it was
                    _LOG.exception("the application cannot go on")
                    told = answer("exception", error=f"{type(error).__name__}: {error}")
                    connection.sendall(b"".join([*answers, frame(told.SerializeToString())]))
                    return f"the application failed: {error}"
                answers.append(frame(response.SerializeToString()))
            if answers:
                connection.sendall(b"".join(answers))
        return "CometBFT ended a connection inside a message" if frames.is_torn else "CometBFT ended a connection"


def check_path(path: Path) -> None:
    """Refuse a socket's path that some system does not take.

    Raises:
        ConfigurationError
    """
    if len(bytes(path)) > _LONGEST_PATH:
        raise ConfigurationError(f"home: {path} is too long for a socket: {_LONGEST_PATH} bytes at most")


def _listen(path: Path) -> socket.socket:
    check_path(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(16)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"home: cannot listen on {path}: {error.strerror}") from error
    return listener
