"""The binary format of WebAssembly, as far as it is read: numbers, sections, and where instructions name things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

HEADER: Final = 8
MODULE: Final = b"\0asm\x01\0\0\0"
COMPONENT: Final = b"\0asm\x0d\0\x01\0"
PAGE: Final = 1 << 16
"""Bytes of a page."""

Space = Literal["block", "type", "function", "table", "global"]
"""What an instruction's immediate may name; a block's type is a signed number."""


def read(data: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at


def skip(data: bytes, at: int) -> int:
    """Return the place after a LEB128 number."""
    while data[at] >= 0x80:
        at += 1
    return at + 1


def constant(data: bytes, at: int) -> tuple[int, int]:
    """Return the value of an `i32.const` expression, as an address, and the place after its end.

    Raises:
        ValueError: another expression.
    """
    if data[at] != 0x41:
        raise ValueError("not a constant expression")
    value, after = read(data, at + 1)
    if data[after - 1] & 0x40:
        value -= 1 << 7 * (after - at - 1)
    if data[after] != 0x0B:
        raise ValueError("not a constant expression")
    return value & 0xFFFF_FFFF, after + 1


def number(value: int) -> bytes:
    """Return an unsigned LEB128 number."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value: int) -> bytes:
    """Return a signed LEB128 number."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value & 0x7F])


def address(value: int) -> bytes:
    """Return the `i32.const` expression of an address."""
    return b"\x41" + signed(value - ((value & 0x8000_0000) << 1)) + b"\x0b"


def name(data: bytes, at: int) -> tuple[str, int]:
    """Return a name and the place after it."""
    size, at = read(data, at)
    return data[at : at + size].decode(), at + size


def text(value: str) -> bytes:
    """Return a name, encoded."""
    return sized(value.encode())


def sized(data: bytes) -> bytes:
    """Return bytes behind their length."""
    return number(len(data)) + data


def section(identity: int, *items: bytes) -> bytes:
    """Return a section that holds a vector."""
    return bytes([identity]) + sized(number(len(items)) + b"".join(items))


def sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield id, start, start of the body, and end of each section.

    Raises:
        ValueError: one does not fit.
    """
    at = HEADER
    while at < len(data):
        size, body = read(data, at + 1)
        if body + size > len(data):
            raise ValueError("a section does not fit")
        yield data[at], at, body, body + size
        at = body + size


GLOBAL_SET: Final = 0x24
_TABLE_SET: Final = 0x26
_CALL_INDIRECT: Final = 0x11
_BRANCH_TABLE, _SELECT, _F32, _F64, _MORE = 0x0E, 0x1C, 0x43, 0x44, 0xFC
_BLOCKS: Final = frozenset({0x02, 0x03, 0x04})
_PLAIN: Final = frozenset({0x00, 0x01, 0x05, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1, *range(0x45, 0xC5)})
_NUMBER: Final = frozenset({0x0C, 0x0D, 0x20, 0x21, 0x22, 0x3F, 0x40, 0x41, 0x42, 0xD0})
_TWO_NUMBERS: Final = range(0x28, 0x3F)
_NAMES: Final[dict[int, Space]] = {
    0x10: "function", 0xD2: "function", 0x23: "global", GLOBAL_SET: "global", 0x25: "table", _TABLE_SET: "table",
}  # fmt: skip
_MEMORIES: Final = {**dict.fromkeys(range(8), 0), 10: 2, 11: 1}
"""Of the instructions behind _MORE that conversions and bulk memory need: the bytes that name memories."""


def names(code: bytes, at: int, end: int) -> Iterator[tuple[int, Space, int, int]]:
    """Yield every name in the instructions between two places: its opcode, what it names, and where it lies.

    Raises:
        ValueError: an instruction that the guest's engine has no need for, or one that changes a table.
    """
    while at < end:
        opcode = code[at]
        at += 1
        if opcode in _PLAIN:
            continue
        if opcode in _NUMBER:
            at = skip(code, at)
        elif opcode in _NAMES:
            if opcode == _TABLE_SET:
                raise ValueError("the code writes a table")
            after = skip(code, at)
            yield opcode, _NAMES[opcode], at, after
            at = after
        elif opcode in _BLOCKS:
            after = skip(code, at)
            if code[at] < 0x40 or code[at] >= 0x80:  # a type's number; otherwise a value type, or none
                yield opcode, "block", at, after
            at = after
        elif opcode == _CALL_INDIRECT:
            middle = skip(code, at)
            after = skip(code, middle)
            yield opcode, "type", at, middle
            yield opcode, "table", middle, after
            at = after
        else:
            at = _after(code, opcode, at)
    if at != end:
        raise ValueError("a function does not end where it should")


def _after(code: bytes, opcode: int, at: int) -> int:
    """Return the place after an instruction that names nothing."""
    if opcode in _TWO_NUMBERS:
        return skip(code, skip(code, at))
    if opcode == _BRANCH_TABLE:
        count, at = read(code, at)
        for _ in range(count + 1):
            at = skip(code, at)
        return at
    if opcode == _MORE:
        kind, at = read(code, at)
        if kind not in _MEMORIES:
            raise ValueError("the code changes a table, or uses passive segments")
        return at + _MEMORIES[kind]
    if opcode == _SELECT:
        count, at = read(code, at)
        return at + count
    if opcode in {_F32, _F64}:
        return at + (4 if opcode == _F32 else 8)
    raise ValueError(f"an unexpected instruction {opcode:#x}")
