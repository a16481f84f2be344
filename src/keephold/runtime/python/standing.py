"""Where a run stood when it was stopped: read from the memory that it left, since it can no longer be asked.

A call that runs out of fuel ends between two instructions of the machine, without an exception and so without a
traceback. But the interpreter's frames still lie in its memory, and CPython says in memory where: a table of offsets
that begins with a cookie, made for debuggers of other processes (PEP 768). So nothing runs twice, nothing is traced,
and what is not stopped pays nothing. Fuel runs out at the same instruction on every machine, and what came before it
is in memory by then: the line is as deterministic as the outcome it is told with.

The memory is the contract's to write. Nothing here believes it: each read is bounded, each walk ends, and what makes no
sense is no line.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, final

_COOKIE: Final = b"xdebugpy"
_VERSION: Final = 0x030E
"""CPython 3.14: the order of the table is its version's own."""
_FRAMES: Final = 2000
"""More than Python's recursion limit inside."""
_LARGEST: Final = 1 << 18
"""Bytes of a table of lines, and the last line: no source has more."""
_INTERPRETER: Final = 3
"""Owner of a frame of the interpreter itself, which runs no code."""
_TAGS: Final = 3
"""Bits of a reference that are no part of the address."""


class _Offsets(NamedTuple):
    """What is read of the table, each at the word where it stands."""

    interpreters: int
    threads: int
    frame: int
    previous: int
    executable: int
    instruction: int
    owner: int
    filename: int
    linetable: int
    first_line: int
    code: int
    bytes_size: int
    bytes_data: int
    text_size: int
    text_data: int


_WORDS: Final = _Offsets(4, 8, 25, 31, 32, 33, 35, 39, 42, 43, 47, 74, 75, 78, 79)
_TABLE: Final = struct.Struct("<80Q")


class _Nonsense(Exception):
    """The memory does not say."""


@final
class Standing:
    """Reads memories of one guest.

    Args:
        memory: the guest's own, before any contract: where the interpreter's state lies is taken from there alone.
    """

    def __init__(self, memory: memoryview) -> None:
        self._runtime = bytes(memory).find(_COOKIE)
        self._at: _Offsets | None = None
        if 0 <= self._runtime <= len(memory) - len(_COOKIE) - _TABLE.size:
            words = _TABLE.unpack_from(memory, self._runtime + len(_COOKIE))
            if words[0] >> 16 == _VERSION:
                self._at = _Offsets(*(words[word] for word in _WORDS))

    def line(self, memory: memoryview, file: str) -> int:
        """Return the line of `file` that the innermost frame of it stands on; 0 if there is none, or no telling."""
        try:
            return _Walk(memory, self._at).line(self._runtime, file.encode()) if self._at is not None else 0
        except _Nonsense:
            return 0


class _Walk:
    """One look at one memory."""

    def __init__(self, memory: memoryview, at: _Offsets) -> None:
        self._memory: Final = memory
        self._at: Final = at

    def line(self, runtime: int, file: bytes) -> int:
        at = self._at
        thread = self._word(self._word(runtime + at.interpreters) + at.threads)
        frame = self._word(thread + at.frame)
        for _ in range(_FRAMES):
            if not frame:
                break
            if self._bytes(frame + at.owner, 1)[0] != _INTERPRETER:
                code = self._word(frame + at.executable) & ~_TAGS
                if self._named(self._word(code + at.filename)) == file:
                    return self._line_in(code, self._word(frame + at.instruction) - code - at.code)
            frame = self._word(frame + at.previous)
        return 0

    def _line_in(self, code: int, offset: int) -> int:
        at = self._at
        table = self._word(code + at.linetable)
        size = self._word(table + at.bytes_size)
        if size > _LARGEST:
            raise _Nonsense
        lines = _lines(self._bytes(table + at.bytes_data, size), self._word(code + at.first_line))
        line = next((told for end, told in lines if offset < end), 0)
        return line if line <= _LARGEST else 0

    def _named(self, text: int) -> bytes:
        return self._bytes(text + self._at.text_data, min(self._word(text + self._at.text_size), _FRAMES))

    def _word(self, address: int) -> int:
        return int.from_bytes(self._bytes(address, 4), "little")

    def _bytes(self, address: int, size: int) -> bytes:
        if not 0 < address <= len(self._memory) - size:
            raise _Nonsense
        return bytes(self._memory[address : address + size])


def _lines(table: bytes, line: int) -> Iterator[tuple[int, int]]:
    """Yield where each stretch of instructions ends, in bytes, and its line, 0 for none; from CPython's own form of it.

    An entry is a byte with its top bit set: four bits of kind, three of length less one; what follows depends on the
    kind (CPython, InternalDocs/code_objects.md).
    """
    numbers, end = iter(table), 0
    for head in numbers:
        kind, units = head >> 3 & 15, (head & 7) + 1
        end += 2 * units
        if kind == 15:  # no place at all
            yield end, 0
            continue
        if kind >= 13:
            line += _signed(_number(numbers))
            for _ in range(3 if kind == 14 else 0):
                _number(numbers)
        elif kind >= 10:
            line += kind - 10
            next(numbers, 0), next(numbers, 0)
        else:
            next(numbers, 0)
        yield end, max(0, line)


def _number(numbers: Iterator[int]) -> int:
    """Return a number of six bits a byte, the lowest first; bit 6 says that another follows."""
    value = shift = 0
    for byte in numbers:
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64 or shift > 30:
            break
    return value


def _signed(value: int) -> int:
    return -(value >> 1) if value & 1 else value >> 1
