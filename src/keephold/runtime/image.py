"""The guest in two parts: its code, and the memory that its build left behind.

A component as built carries 13 MB of memory contents in its first core module. Taken out, they can lie in a memory
file that every instance maps (see `memory`), and the code compiles once whatever the memory holds: the snapshot of a
loaded contract is another image for the same code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keephold.runtime.linking import wasm

_CORE_MODULE: Final = 1
_MEMORY: Final = 5
_DATA: Final = 11
_DATA_COUNT: Final = 12


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
    if component[: wasm.HEADER] != wasm.COMPONENT:
        raise ValueError("not a component")
    out = bytearray(component[: wasm.HEADER])
    memory: bytes | None = None
    for section, start, body, end in wasm.sections(component):
        if section == _CORE_MODULE and memory is None:
            module, memory = _without_data(component[body:end])
            out += bytes([_CORE_MODULE]) + wasm.sized(module)
        else:
            out += component[start:end]
    if memory is None:
        raise ValueError("the component holds no core module")
    return Parts(bytes(out), memory)


def _without_data(module: bytes) -> tuple[bytes, bytes]:
    out = bytearray(module[: wasm.HEADER])
    memory: bytearray | None = None
    for section, start, body, end in wasm.sections(module):
        if section == _MEMORY:
            memory = bytearray(_minimum(module, body) * wasm.PAGE)
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
    count, at = wasm.read(module, at)
    if count != 1:
        raise ValueError("the first core module defines several memories")
    return wasm.read(module, at + 1)[0]  # after the flags


def _apply(module: bytes, at: int, memory: bytearray) -> None:
    count, at = wasm.read(module, at)
    for _ in range(count):
        if module[at]:
            raise ValueError("a data segment is passive")
        offset, at = wasm.constant(module, at + 1)
        size, body = wasm.read(module, at)
        at = body + size
        if offset + size > len(memory) or at > len(module):
            raise ValueError("a data segment does not fit")
        memory[offset : offset + size] = module[body:at]
