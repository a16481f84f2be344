"""The few proto3 primitives that CometBFT hashes and signs, by hand.

Libraries may drop an empty message or reorder fields; Go's gogoproto keeps empty non-nullable messages, and one byte
more or less is another hash. So the writers here are spelled out, and the reader accepts exactly what they write:
fields in ascending order, each at most once (unless repeated), shortest varints, no spelled-out default, nothing
unknown. Hence `encode(decode(b)) == b` for every `b` that decodes, and a signed record has one spelling.

Field numbers are below 16 throughout, so a tag is one byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, final

from keephold.base.errors import EncodingError

NANOSECONDS: Final = 1_000_000_000
"""In one second."""

ZERO_TIME: Final = -62_135_596_800 * NANOSECONDS
"""Go's zero time, 0001-01-01T00:00:00Z, in nanoseconds since the Unix epoch: the time of an absent vote."""

LAST_TIME: Final = 253_402_300_800 * NANOSECONDS - 1
"""The last nanosecond of the year 9999, where protobuf timestamps end."""

_VARINT: Final = 0
_FIXED64: Final = 1
_BYTES: Final = 2
_MAX_VARINT_BYTES: Final = 10


def varint(value: int) -> bytes:
    """Return an integer in [-2**63, 2**64) as a base-128 varint; negative ones take ten bytes, as in proto3."""
    if 0 <= value < 128:
        return bytes((value,))
    if value < 0:
        value += 1 << 64
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Return a varint field; nothing for zero."""
    return bytes((field << 3,)) + varint(value) if value else b""


def fixed(field: int, value: int) -> bytes:
    """Return an sfixed64 field; nothing for zero."""
    return bytes((field << 3 | _FIXED64,)) + value.to_bytes(8, "little", signed=True) if value else b""


def data(field: int, value: bytes) -> bytes:
    """Return a bytes or string field; nothing for an empty one."""
    return bytes((field << 3 | _BYTES,)) + varint(len(value)) + value if value else b""


def message(field: int, value: bytes) -> bytes:
    """Return a message field that is always present, even when its body is empty (Go: non-nullable)."""
    return bytes((field << 3 | _BYTES,)) + varint(len(value)) + value


def timestamp(time_ns: int) -> bytes:
    """Return the body of a `google.protobuf.Timestamp`: seconds, then nanoseconds in [0, 10**9)."""
    seconds, nanoseconds = divmod(time_ns, NANOSECONDS)
    return number(1, seconds) + number(2, nanoseconds)


@final
class Reader:
    """A cursor over one message. Ask for each field in ascending order, then call `finish`.

    Every method raises EncodingError and nothing else.
    """

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, encoded: bytes, start: int = 0, end: int | None = None) -> None:
        self._data = encoded
        self._at = start
        self._end = len(encoded) if end is None else end

    def unsigned(self, field: int, bits: int = 64) -> int:
        """Return a uint field, or 0 if absent; refuses values of more than `bits` bits."""
        if not self._next_is(field << 3 | _VARINT):
            return 0
        value = self._varint()
        if value == 0:
            raise EncodingError(f"field {field}: a default value is spelled out")
        if value >> bits:
            raise EncodingError(f"field {field}: more than {bits} bits")
        return value

    def signed(self, field: int, bits: int = 64) -> int:
        """Return an int32 or int64 field (two's complement in 64 bits), or 0 if absent."""
        value = self.unsigned(field)
        if value >> 63:
            value -= 1 << 64
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise EncodingError(f"field {field}: more than {bits} bits")
        return value

    def data(self, field: int) -> bytes:
        """Return a bytes field, or b"" if absent."""
        if not self._next_is(field << 3 | _BYTES):
            return b""
        start, end = self._span()
        if start == end:
            raise EncodingError(f"field {field}: a default value is spelled out")
        return self._data[start:end]

    def text(self, field: int) -> str:
        """Return a string field, or "" if absent."""
        try:
            return self.data(field).decode("utf-8")
        except UnicodeDecodeError as error:
            raise EncodingError(f"field {field}: not UTF-8") from error

    def message(self, field: int) -> Reader:
        """Return the reader of a message field that must be present."""
        if not self._next_is(field << 3 | _BYTES):
            raise EncodingError(f"field {field}: expected here")
        return Reader(self._data, *self._span())

    def messages(self, field: int) -> Iterator[Reader]:
        """Yield a reader for each element of a repeated message field."""
        while self._next_is(field << 3 | _BYTES):
            yield Reader(self._data, *self._span())

    def timestamp(self, field: int) -> int:
        """Return a timestamp field that must be present, in nanoseconds since the Unix epoch."""
        inner = self.message(field)
        seconds = inner.signed(1)
        nanoseconds = inner.unsigned(2)
        inner.finish()
        time_ns = seconds * NANOSECONDS + nanoseconds
        if nanoseconds >= NANOSECONDS or not ZERO_TIME <= time_ns <= LAST_TIME:
            raise EncodingError(f"field {field}: not a time between the years 1 and 9999")
        return time_ns

    def finish(self) -> None:
        """Refuse whatever was not asked for: unknown, repeated or misplaced fields."""
        if self._at != self._end:
            raise EncodingError("unknown, repeated or misplaced field")

    def _next_is(self, tag: int) -> bool:
        if self._at == self._end or self._data[self._at] != tag:
            return False
        self._at += 1
        return True

    def _varint(self) -> int:
        value = 0
        start = self._at
        for shift in range(_MAX_VARINT_BYTES):
            if start + shift >= self._end:
                raise EncodingError("truncated")
            byte = self._data[start + shift]
            value |= (byte & 127) << 7 * shift
            if byte < 128:
                if (byte == 0 and shift) or value >> 64:
                    raise EncodingError("not the shortest varint")
                self._at = start + shift + 1
                return value
        raise EncodingError("varint of more than ten bytes")

    def _span(self) -> tuple[int, int]:
        size = self._varint()
        start = self._at
        if size > self._end - start:
            raise EncodingError("truncated")
        self._at = start + size
        return start, self._at
