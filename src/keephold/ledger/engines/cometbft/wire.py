"""Frames of ABCI's socket protocol: an unsigned varint length, then the message. Sans I/O."""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import EncodingError
from keephold.chain.proto import varint

MAX_FRAME: Final = 64 << 20
"""Bytes of one message: a block of 4 MiB, votes of 10,000 validators, and ample room."""

_MAX_PREFIX: Final = 4
"""Bytes of a length below 2**28, and so of every length up to MAX_FRAME."""


def frame(message: bytes) -> bytes:
    """Return the message behind its length."""
    return varint(len(message)) + message


@final
class Frames:
    """Cuts one connection's bytes into messages, however they were chunked."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """Take what arrived; return the messages that are complete, in order.

        Raises:
            EncodingError: a length that is too large or endless; the connection is of no more use.
        """
        buffer = self._buffer
        buffer += received
        complete = []
        at = 0
        while (span := _span(buffer, at)) is not None:
            start, end = span
            complete.append(bytes(memoryview(buffer)[start:end]))
            at = end
        del buffer[:at]
        return complete

    @property
    def is_torn(self) -> bool:
        """Whether a message has begun that is not complete."""
        return bool(self._buffer)


def _span(buffer: bytearray, at: int) -> tuple[int, int] | None:
    """Return where the message whose frame begins at `at` starts and ends; None if it is not complete."""
    size = 0
    for index in range(at, min(at + _MAX_PREFIX, len(buffer))):
        size |= (buffer[index] & 127) << 7 * (index - at)
        if buffer[index] < 128:
            if size > MAX_FRAME:
                raise EncodingError(f"abci: a message of {size} bytes")
            end = index + 1 + size
            return (index + 1, end) if end <= len(buffer) else None
    if len(buffer) - at >= _MAX_PREFIX:
        raise EncodingError("abci: the length of a message does not end")
    return None
