"""The guest in two parts: its code, and the memory that its build left behind.

A component as built carries 13 MB of memory contents in its first core module. Taken out, they can lie in a memory
file that every instance maps (see `memory`), and the code compiles once whatever the memory holds: the snapshot of a
loaded contract is another image for the same code.

Only the framing of WebAssembly is read here: sections, and the data segments of one module.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PAGE: Final = 1 << 16
"""Bytes of a WebAssembly page."""

_HEADER: Final = 8
_COMPONENT: Final = b"\0asm\x0d\0\x01\0"
_CORE_MODULE: Final = 1
_MEMORY: Final = 5
_DATA: Final = 11
_DATA_COUNT: Final = 12
_I32_CONST: Final = 0x41
_END: Final = 0x0B


@dataclass(frozen=True, slots=True)
class Parts:
    """A component apart from its memory."""

    code: bytes
    """The component without data segments; to be instantiated over `memory` only."""
    memory: bytes
    """What its memory holds at the start: whole pages."""


def split(component: bytes) -> Parts:
    """Take the memory out of a component whose first core module defines and fills it.

    Raises:
        ValueError: not such a component.
    """
    try:
        return _split(component)
    except IndexError as e:
        raise ValueError("the component ends early") from e


def _split(component: bytes) -> Parts:
    if component[:_HEADER] != _COMPONENT:
        raise ValueError("not a component")
    out = bytearray(component[:_HEADER])
    memory: bytes | None = None
    for section, start, body, end in _sections(component):
        if section == _CORE_MODULE and memory is None:
            module, memory = _without_data(component[body:end])
            out += bytes([_CORE_MODULE]) + _unsigned(len(module)) + module
        else:
            out += component[start:end]
    if memory is None:
        raise ValueError("the component holds no core module")
    return Parts(bytes(out), memory)


def _without_data(module: bytes) -> tuple[bytes, bytes]:
    out = bytearray(module[:_HEADER])
    memory: bytearray | None = None
    for section, start, body, end in _sections(module):
        if section == _MEMORY:
            memory = bytearray(_minimum(module, body) * PAGE)
        if section == _DATA_COUNT:
            raise ValueError("the first core module uses passive data")
        if section != _DATA:
            out += module[start:end]
        elif memory is None:
            raise ValueError("data comes without a memory")
        else:
            _apply(module, body, memory)
    if memory is None:
        raise ValueError("the first core module defines no memory")
    return bytes(out), bytes(memory)


def _minimum(module: bytes, at: int) -> int:
    count, at = _read(module, at)
    if count != 1:
        raise ValueError("the first core module defines several memories")
    return _read(module, at + 1)[0]  # after the flags


def _apply(module: bytes, at: int, memory: bytearray) -> None:
    count, at = _read(module, at)
    for _ in range(count):
        if module[at : at + 2] != bytes([0, _I32_CONST]):
            raise ValueError("a data segment is not at a constant place")
        offset, at = _read(module, at + 2, signed=True)
        size, body = _read(module, at + 1)
        at = body + size
        offset &= 0xFFFF_FFFF
        if module[body - 1 - len(_unsigned(size))] != _END or offset + size > len(memory) or at > len(module):
            raise ValueError("a data segment does not fit")
        memory[offset : offset + size] = module[body:at]


def _sections(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield id, start, start of the body, and end of each section."""
    at = _HEADER
    while at < len(data):
        size, body = _read(data, at + 1)
        if body + size > len(data):
            raise ValueError("a section does not fit")
        yield data[at], at, body, body + size
        at = body + size


def _read(data: bytes, at: int, *, signed: bool = False) -> tuple[int, int]:
    """Return a LEB128 number and the place after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return (value - (1 << shift) if signed and byte & 0x40 else value), at


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
