"""CometBFT's end of one ABCI connection: requests out, a flush behind them, responses in, strictly in order."""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from keephold.ledger.engines.cometbft.messages import Message, Request, Response, parse
from keephold.ledger.engines.cometbft.wire import Frames, frame

_SECONDS: Final = 120.0
_CHUNK: Final = 1 << 18


class CometStopped(Exception):
    """What CometBFT would log before it stops: the other side broke the protocol, or asked it to stop."""


@final
class Dialer:
    """One connection to an application."""

    def __init__(self, path: Path) -> None:
        self._socket: Final = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._frames: Final = Frames()
        self._arrived: Final[deque[bytes]] = deque()
        self._socket.settimeout(_SECONDS)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise

    def call(self, kind: str, **fields: object) -> Message:
        """Return the body of the response to one request.

        Raises:
            CometStopped
        """
        return self.exchange([make(kind, **fields)])[0]

    def exchange(self, requests: Sequence[Message]) -> list[Message]:
        """Send requests at once with a flush behind them; return the bodies of the responses.

        Raises:
            CometStopped: an exception, a response of another kind, or the end of the connection.
        """
        flush = make("flush")
        try:
            self._socket.sendall(b"".join(frame(request.SerializeToString()) for request in (*requests, flush)))
            return [self._take(request.WhichOneof("value")) for request in (*requests, flush)][:-1]
        except OSError as error:
            raise CometStopped(f"the application is gone: {error}") from error

    def send_raw(self, sent: bytes) -> None:
        """Send bytes as they are."""
        self._socket.sendall(sent)

    def wait_closed(self) -> bytes:
        """Return what still comes until the other side closes."""
        rest = bytearray()
        try:
            while received := self._socket.recv(_CHUNK):
                rest += received
        except ConnectionResetError:
            pass
        return bytes(rest)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _take(self, kind: str) -> Message:
        while not self._arrived:
            received = self._socket.recv(_CHUNK)
            if not received:
                raise CometStopped("the application hung up")
            self._arrived.extend(self._frames.feed(received))
        response = parse(Response, self._arrived.popleft())
        answered = response.WhichOneof("value")
        if answered == "exception":
            raise CometStopped(response.exception.error)
        if answered != kind:
            raise CometStopped(f"unexpected response {answered} to the request {kind}")
        return getattr(response, answered)


def make(kind: str, **fields: object) -> Message:
    """Return a request of a kind; a list extends a repeated field."""
    request = Request()
    body = getattr(request, kind)
    body.SetInParent()
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            getattr(body, name).extend(value)
        else:
            setattr(body, name, value)
    return request
