"""A component of many core modules to one of a single module, with the same import and the same exports.

The host's function is lowered with the module's own memory, so it cannot exist before the module: a table of one
function stands in between, as the build tool does it, too.
"""

from __future__ import annotations

from typing import Final

from keephold.runtime.linking import wasm
from keephold.runtime.linking.component import (
    ALIAS,
    CANON,
    CORE_INSTANCE,
    CORE_MODULE,
    EXPORT,
    IN_MEMORY,
    POST_RETURN,
    REALLOC,
    TYPE,
    UTF8,
    Assembly,
    Lifted,
)
from keephold.runtime.linking.module import FUNCTION, MEMORY, TABLE

_TEXT: Final = b"\x73"
_CALL: Final = "call"
"""The host's function."""
_MAIN, _BEFORE, _AFTER = 0, 1, 2
"""Core modules, as they are numbered in the result."""


def flatten(component: bytes) -> bytes:
    """Return the component with its core modules linked into one.

    Raises:
        ValueError: it has another shape than the build tool's.
    """
    try:
        return _write(Assembly(component))
    except (IndexError, KeyError, UnicodeDecodeError) as e:
        raise ValueError("the component is not as the build tool leaves it") from e


def _write(assembly: Assembly) -> bytes:
    environment = next((made for made in assembly.instances if "memory" in made), None)
    if environment is None or len(assembly.allocators) != 1:
        raise ValueError("the guest has not one memory and one allocator")
    exports = {"memory": environment["memory"], "realloc": assembly.allocators.pop()}
    for name, lifted in assembly.exports.items():
        if lifted.after is None:
            raise ValueError("an export does not free its result")
        exports |= {name: lifted.function, f"after {name}": lifted.after}
    main = assembly.linker.link(exports, environment["__stack_pointer"])
    modules = (main, *_between(assembly.linker.host_type))
    out = [wasm.COMPONENT, *assembly.head]
    out += [bytes([CORE_MODULE]) + wasm.sized(module) for module in modules]
    # Core instances: 0 the table in between, 1 its function, as the host's, 2 the guest, 3 for the table, 4 fills it.
    # Core functions: 0 the one in between, 1 the allocator, 2 the host's, lowered; then two of each export.
    out += [
        wasm.section(CORE_INSTANCE, _instance(_BEFORE)),
        wasm.section(ALIAS, _core(FUNCTION, 0, _CALL)),
        wasm.section(CORE_INSTANCE, _inline((_CALL, FUNCTION, 0)), _instance(_MAIN, ("host", 1))),
        wasm.section(ALIAS, _core(MEMORY, 2, "memory"), _core(FUNCTION, 2, "realloc"), b"\1\0\0" + wasm.text(_CALL)),
        wasm.section(CANON, b"\1\0\0" + _options()),
        wasm.section(ALIAS, _core(TABLE, 0, "table")),
        wasm.section(CORE_INSTANCE, _inline(("table", TABLE, 0), (_CALL, FUNCTION, 2)), _instance(_AFTER, ("", 3))),
    ]
    for place, (name, lifted) in enumerate(assembly.exports.items()):
        out += _export(place, name, lifted)
    return b"".join(out)


def _export(place: int, name: str, lifted: Lifted) -> tuple[bytes, ...]:
    core, component, kind = 3 + 2 * place, 1 + 2 * place, 1 + place  # an export is numbered, too; type 0 is the host's
    lift = b"\0\0" + wasm.number(core) + _options(core + 1) + wasm.number(kind)
    return (
        wasm.section(TYPE, _of_text(lifted.type)),
        wasm.section(ALIAS, _core(FUNCTION, 2, name), _core(FUNCTION, 2, f"after {name}")),
        wasm.section(CANON, lift),
        wasm.section(EXPORT, b"\0" + wasm.text(name) + b"\1" + wasm.number(component) + b"\0"),
    )


def _between(kind: bytes) -> tuple[bytes, bytes]:
    """Return the module whose function calls what its table holds, and the one that fills the table."""
    arguments = b"".join(b"\x20" + wasm.number(place) for place in range(kind[1]))
    call = b"\0" + arguments + b"\x41\0\x11\0\0\x0b"  # no locals; local.get …, i32.const 0, call_indirect, end
    table = b"\x70\1\1\1"
    before = (
        wasm.section(1, kind),
        wasm.section(3, b"\0"),
        wasm.section(4, table),
        wasm.section(7, wasm.text(_CALL) + b"\0\0", wasm.text("table") + b"\1\0"),
        wasm.section(10, wasm.sized(call)),
    )
    after = (
        wasm.section(1, kind),
        wasm.section(2, b"\0" + wasm.text("table") + b"\1" + table, b"\0" + wasm.text(_CALL) + b"\0\0"),
        wasm.section(9, b"\0" + wasm.address(0) + b"\1\0"),
    )
    return wasm.MODULE + b"".join(before), wasm.MODULE + b"".join(after)


def _instance(module: int, *given: tuple[str, int]) -> bytes:
    arguments = b"".join(wasm.text(name) + b"\x12" + wasm.number(place) for name, place in given)
    return b"\0" + wasm.number(module) + wasm.number(len(given)) + arguments


def _inline(*items: tuple[str, int, int]) -> bytes:
    named = b"".join(wasm.text(name) + bytes([sort]) + wasm.number(place) for name, sort, place in items)
    return b"\1" + wasm.number(len(items)) + named


def _core(sort: int, instance: int, name: str) -> bytes:
    return bytes([0, sort, 1]) + wasm.number(instance) + wasm.text(name)


def _options(after: int | None = None) -> bytes:
    """Return: text as UTF-8, in core memory 0, from the allocator, which is core function 1."""
    options = [bytes([UTF8]), bytes([IN_MEMORY, 0]), bytes([REALLOC, 1])]
    if after is not None:
        options.append(bytes([POST_RETURN]) + wasm.number(after))
    return wasm.number(len(options)) + b"".join(options)


def _of_text(kind: bytes) -> bytes:
    """Return a function type that takes and returns text only.

    Raises:
        ValueError: it does not; another type could name further ones, which are not copied.
    """
    count, at = wasm.read(kind, 1)
    for _ in range(count):
        _, at = wasm.name(kind, at)
        if kind[at : at + 1] != _TEXT:
            break
        at += 1
    if kind[:1] != b"\x40" or kind[at:] != b"\0" + _TEXT:
        raise ValueError("an export does not take and return text")
    return kind
