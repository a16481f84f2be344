"""One module from many: what the build tool leaves as some forty core modules, linked for good.

A component as built is libpython, libc and glue, one core module each, wired together at every instantiation: 0.5 ms,
most of it for the 5000 functions in a table that belongs to another module. In one module the same table is known
when the code is compiled, and calls between the parts are direct.

Nothing is added, left out or reordered: every function, global, table and segment of every instance appears once, in
the order of instantiation, under a new number. Refused is whatever would need more than renumbering.

The result also shows what `Instance.snapshot` relies on: no instruction writes a table, and none a global but the
stack pointer, whatever module it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized
from typing import Final, NamedTuple

from keephold.runtime.linking import wasm
from keephold.runtime.linking.module import ADD, END, FUNCTION, GLOBAL, GLOBAL_GET, TABLE, Module, after_constant

_SPACES: Final[dict[wasm.Space, int]] = {"function": FUNCTION, "table": TABLE, "global": GLOBAL}
_HOST: Final = -1
"""The instance that stands for the host, whose one function every reference to it means."""
_FIXED_ADDRESS: Final = b"\x7f\0"
"""The type of an i32 global that never varies."""


class Item(NamedTuple):
    """A definition: the n-th of its kind in an instance."""

    kind: int
    instance: int
    place: int


class Linker:
    """Instances in their order, each with its imports resolved to definitions."""

    def __init__(self) -> None:
        self._modules: Final[list[Module]] = []
        self._items: Final[list[tuple[list[Item], ...]]] = []
        """Of each instance: what its numbers mean, by kind."""
        self._starts: Final[list[tuple[int, ...]]] = []
        """Of each instance: the new number of its first definition, by kind."""
        self._sizes = [1, 0, 0, 0]  # the host's function comes first
        self._types: Final[dict[bytes, int]] = {}
        self.host_type = b""

    def instantiate(self, module: Module, given: dict[str, dict[str, Item]]) -> dict[str, Item]:
        """Add an instance and return what it exports.

        Raises:
            ValueError: an import is not given.
        """
        number = len(self._modules)
        items: tuple[list[Item], ...] = ([], [], [], [])
        for origin, name, kind, place in module.imports:
            found = given.get(origin, {}).get(name)
            if found is None or found.kind != kind:
                raise ValueError(f"nothing is given for {origin} {name}")
            if found.instance == _HOST:
                self.host_type = module.types[place]
            items[kind].append(found)
        self._starts.append(tuple(self._sizes))
        own: tuple[Sized, ...] = (module.functions, module.tables, module.memories, module.globals)
        for kind, defined in enumerate(own):
            items[kind].extend(Item(kind, number, place) for place in range(len(defined)))
            self._sizes[kind] += len(defined)
        self._modules.append(module)
        self._items.append(items)
        return {name: items[kind][place] for name, (kind, place) in module.exports.items()}

    @staticmethod
    def host() -> Item:
        """Return the host's function."""
        return Item(FUNCTION, _HOST, 0)

    def number(self, item: Item) -> int:
        """Return the new number of a definition."""
        return 0 if item.instance == _HOST else self._starts[item.instance][item.kind] + item.place

    def _type(self, data: bytes) -> int:
        return self._types.setdefault(data, len(self._types))

    def link(self, exports: dict[str, Item], stack_pointer: Item) -> bytes:
        """Return the one module. It imports the host's function as `host` `call`.

        Raises:
            ValueError: something would need more than renumbering.
        """
        host = wasm.text("host") + wasm.text("call") + bytes([FUNCTION]) + wasm.number(self._type(self.host_type))
        functions, tables, memories, values, elements, bodies = [], [], [], [], [], []
        data = b""
        for place, module in enumerate(self._modules):
            functions += [wasm.number(self._type(module.types[kind])) for kind in module.functions]
            tables += module.tables
            memories += module.memories
            values += [kind + self._value(place, value) for kind, value in module.globals]
            elements += self._elements(place)
            bodies += [self._body(place, start, end, stack_pointer) for start, end in module.bodies]
            if module.segments:
                if data or not module.memories:
                    raise ValueError("another module than the memory's brings data")
                data = module.segments
        if len(memories) != 1:
            raise ValueError("the guest has not one memory")
        named = [
            wasm.text(name) + bytes([item.kind]) + wasm.number(self.number(item)) for name, item in exports.items()
        ]
        return b"".join(
            (
                wasm.MODULE,
                wasm.section(1, *self._types),
                wasm.section(2, host),
                wasm.section(3, *functions),
                wasm.section(4, *tables),
                wasm.section(5, *memories),
                wasm.section(6, *values),
                wasm.section(7, *named),
                wasm.section(9, *elements),
                wasm.section(10, *bodies),
                data,
            )
        )

    def _value(self, instance: int, value: bytes) -> bytes:
        """Return a constant expression without globals and sums: those are of addresses."""
        if value[0] in {0x42, 0x43, 0x44}:
            return value
        total, at = 0, 0
        while value[at] != END:
            after = at + 1 if value[at] == ADD else wasm.skip(value, at + 1)
            if value[at] == GLOBAL_GET:
                item = self._items[instance][GLOBAL][wasm.read(value, at + 1)[0]]
                kind, initial = self._modules[item.instance].globals[item.place]
                if kind != _FIXED_ADDRESS:
                    raise ValueError("an initial value depends on a global that is no fixed address")
                total += wasm.constant(self._value(item.instance, initial), 0)[0]
            elif value[at] != ADD:
                total += wasm.constant(value[at:after] + bytes([END]), 0)[0]
            at = after
        return wasm.address(total & 0xFFFF_FFFF)

    def _elements(self, instance: int) -> list[bytes]:
        """Return the segments that fill tables."""
        out = []
        for table, offset, listed in self._segments(instance):
            numbers = [wasm.number(self.number(item)) for item in listed]
            head = b"\x02" + wasm.number(self.number(table)) + wasm.address(offset) + b"\0"
            out.append(head + wasm.number(len(numbers)) + b"".join(numbers))
        return out

    def _segments(self, instance: int) -> Iterator[tuple[Item, int, list[Item]]]:
        module, items = self._modules[instance], self._items[instance]
        if module.elements is None:
            return
        data, (at, end) = module.data, module.elements
        count, at = wasm.read(data, at)
        for _ in range(count):
            flags, at = wasm.read(data, at)
            if flags not in {0, 2}:
                raise ValueError("elements are not active lists of functions")
            table, at = wasm.read(data, at) if flags else (0, at)
            after = after_constant(data, at)
            offset, _ = wasm.constant(self._value(instance, data[at:after]), 0)
            size, at = wasm.read(data, after + (flags == 2))
            listed = []
            for _ in range(size):
                place, at = wasm.read(data, at)
                listed.append(items[FUNCTION][place])
            yield items[TABLE][table], offset, listed
        if at != end:
            raise ValueError("elements do not end where they should")

    def _body(self, instance: int, begin: int, end: int, stack_pointer: Item) -> bytes:
        module, items = self._modules[instance], self._items[instance]
        data, out, start = module.data, bytearray(), begin
        count, at = wasm.read(data, begin)
        for _ in range(count):
            at = wasm.skip(data, at) + 1
        for opcode, space, place, after in wasm.names(data, at, end):
            named, _ = wasm.read(data, place)
            out += data[start:place]
            if space == "block":
                out += wasm.signed(self._type(module.types[named]))
            elif space == "type":
                out += wasm.number(self._type(module.types[named]))
            else:
                item = items[_SPACES[space]][named]
                if opcode == wasm.GLOBAL_SET and item != stack_pointer:
                    return self._never(instance)
                out += wasm.number(self.number(item))
            start = after
        return wasm.sized(bytes(out + data[start:end]))

    def _never(self, instance: int) -> bytes:
        """Return a trap for a function that writes globals, if it can never run.

        The build tool leaves one, which initialised the modules before the snapshot that it took of them.
        """
        module = self._modules[instance]
        own = self._items[instance][FUNCTION][-1]
        exported = FUNCTION in {kind for kind, _ in module.exports.values()}
        listed = any(own in items for _, _, items in self._segments(instance))
        if len(module.functions) != 1 or exported or listed:
            raise ValueError("the code writes a global that is not the stack pointer")
        return wasm.sized(b"\0\0\x0b")
