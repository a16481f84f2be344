"""A core module, taken apart into what the linker renumbers and what it copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from keephold.runtime.linking import wasm

FUNCTION, TABLE, MEMORY, GLOBAL = range(4)
GLOBAL_GET, ADD, END = 0x23, 0x6A, 0x0B
"""Instructions of constant expressions."""
_TYPES, _IMPORTS, _FUNCTIONS, _TABLES, _MEMORIES, _GLOBALS, _EXPORTS, _START, _ELEMENTS, _BODIES, _DATA = range(1, 12)
_WIDTHS: Final = {0x43: 4, 0x44: 8, ADD: 0}
"""Bytes after a constant's opcode, where that is no LEB128 number."""


@dataclass(slots=True)
class Module:
    """A core module, taken apart."""

    data: bytes
    types: list[bytes] = field(default_factory=list)
    imports: list[tuple[str, str, int, int]] = field(default_factory=list)
    """Module, name, kind, and a function's type."""
    functions: list[int] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    globals: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Type, and the expression of the initial value."""
    exports: dict[str, tuple[int, int]] = field(default_factory=dict)
    elements: tuple[int, int] | None = None
    """Body of the section: from, to."""
    bodies: list[tuple[int, int]] = field(default_factory=list)
    segments: bytes = b""
    """Section of data, whole."""


def take_apart(data: bytes) -> Module:
    """Return the parts of a core module.

    Raises:
        ValueError: it holds something that cannot be linked here.
    """
    module = Module(data)
    if data[: wasm.HEADER] != wasm.MODULE:
        raise ValueError("not a core module")
    for identity, start, body, end in wasm.sections(data):
        if identity == _ELEMENTS:
            module.elements = (body, end)
        elif identity == _DATA:
            module.segments = data[start:end]
        elif identity == _START or identity > _DATA:
            raise ValueError("the module has a start function, passive data, or tags")
        elif identity:
            _read_section(module, identity, body, end)
    return module


def _read_section(module: Module, identity: int, at: int, end: int) -> None:
    data = module.data
    count, at = wasm.read(data, at)
    for _ in range(count):
        start = at
        if identity == _TYPES:
            at = _after_type(data, at)
            module.types.append(data[start:at])
        elif identity == _IMPORTS:
            at = _read_import(module, at)
        elif identity == _FUNCTIONS:
            kind, at = wasm.read(data, at)
            module.functions.append(kind)
        elif identity == _TABLES:
            at = _after_limits(data, at + 1)
            module.tables.append(data[start:at])
        elif identity == _MEMORIES:
            at = _after_limits(data, at)
            module.memories.append(data[start:at])
        elif identity == _GLOBALS:
            after = after_constant(data, at + 2)
            module.globals.append((data[at : at + 2], data[at + 2 : after]))
            at = after
        elif identity == _EXPORTS:
            name, at = wasm.name(data, at)
            place, after = wasm.read(data, at + 1)
            module.exports[name] = (data[at], place)
            at = after
        elif identity == _BODIES:
            size, at = wasm.read(data, at)
            module.bodies.append((at, at + size))
            at += size
        else:
            raise ValueError("the module holds an unknown section")
    if at != end:
        raise ValueError("a section does not end where it should")


def _read_import(module: Module, at: int) -> int:
    data = module.data
    origin, at = wasm.name(data, at)
    name, at = wasm.name(data, at)
    kind, at = data[at], at + 1
    place = 0
    if kind == FUNCTION:
        place, at = wasm.read(data, at)
    elif kind == GLOBAL:
        at += 2
    else:
        at = _after_limits(data, at + (kind == TABLE))
    module.imports.append((origin, name, kind, place))
    return at


def _after_type(data: bytes, at: int) -> int:
    if data[at] != 0x60:
        raise ValueError("a type is not a function's")
    at += 1
    for _ in range(2):
        count, at = wasm.read(data, at)
        at += count
    return at


def _after_limits(data: bytes, at: int) -> int:
    flags = data[at]
    if flags > 1:
        raise ValueError("a memory or table is shared or has 64 bits")
    at = wasm.skip(data, at + 1)
    return wasm.skip(data, at) if flags else at


def after_constant(data: bytes, at: int) -> int:
    """Return the place after a constant expression: constants, globals, sums."""
    while data[at] != END:
        if data[at] not in {GLOBAL_GET, 0x41, 0x42, *_WIDTHS}:
            raise ValueError("an initial value is computed")
        at = at + 1 + _WIDTHS[data[at]] if data[at] in _WIDTHS else wasm.skip(data, at + 1)
    return at + 1
