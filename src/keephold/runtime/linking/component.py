"""A component, read: what the build tool wired together, as instances for the linker.

The shape is the tool's: core instances that import each other, one function of the host lowered, functions of text
lifted. Anything else is refused, not guessed at.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from keephold.runtime.linking import wasm
from keephold.runtime.linking.link import Item, Linker
from keephold.runtime.linking.module import Module, take_apart

CORE_MODULE, CORE_INSTANCE, ALIAS, TYPE, CANON, IMPORT, EXPORT = 1, 2, 6, 7, 8, 10, 11
"""Sections."""
UTF8, IN_MEMORY, REALLOC, POST_RETURN = 0, 3, 4, 5
"""Options of a function that is lifted or lowered."""
_FUNCTION: Final = 1
"""The sort of a component's function; 0 is of a core module, and its sort follows."""
_HOST: Final = -1


class Lifted(NamedTuple):
    """A function that the component makes of a core function."""

    type: bytes
    function: Item
    after: Item | None
    """What is called when the result has been read."""


class Assembly:
    """What a component holds.

    Raises:
        ValueError: it has another shape.
    """

    def __init__(self, component: bytes) -> None:
        if component[: wasm.HEADER] != wasm.COMPONENT:
            raise ValueError("not a component")
        self.linker: Final = Linker()
        self.head: Final[list[bytes]] = []
        """The host's type and its import, as they are."""
        self.exports: Final[dict[str, Lifted]] = {}
        self.allocators: Final[set[Item]] = set()
        """Of what the host returns."""
        self.instances: Final[list[dict[str, Item]]] = []
        self._data: Final = component
        self._modules: Final[list[Module]] = []
        self._spaces: Final[tuple[list[Item], ...]] = ([], [], [], [])
        """What core numbers mean, by kind."""
        self._functions: Final[list[int]] = []
        """Of the component: which of the lifted each is."""
        self._lifted: Final[list[Lifted]] = []
        self._type = b""
        for identity, start, body, end in wasm.sections(component):
            self._read(identity, start, body, end)
        if len(self.head) != 2 or not self.exports:
            raise ValueError("the component does not import one interface and export functions")

    def _read(self, identity: int, start: int, body: int, end: int) -> None:
        data = self._data
        if identity == CORE_MODULE:
            self._modules.append(take_apart(data[body:end]))
        elif identity == CORE_INSTANCE:
            self._read_instances(body)
        elif identity == ALIAS:
            self._read_aliases(body)
        elif identity == CANON:
            self._read_canon(body)
        elif identity == TYPE:
            self._type = data[body + 1 : end]
            if not self.head:
                self.head.append(data[start:end])
        elif identity == IMPORT:
            self.head.append(data[start:end])
        elif identity == EXPORT:
            name, at = wasm.name(data, body + 2)
            if data[at] == _FUNCTION:  # the other export is what initialised the guest before its snapshot
                place, _ = wasm.read(data, at + 1)
                self.exports[name] = self._lifted[self._functions[place]]
                self._functions.append(self._functions[place])

    def _read_instances(self, at: int) -> None:
        data = self._data
        count, at = wasm.read(data, at)
        for _ in range(count):
            inline = data[at]
            place, at = (0, at + 1) if inline else wasm.read(data, at + 1)
            size, at = wasm.read(data, at)
            given: dict[str, dict[str, Item]] = {}
            made: dict[str, Item] = {}
            for _ in range(size):
                name, at = wasm.name(data, at)
                sort, (which, at) = data[at], wasm.read(data, at + 1)
                if inline:
                    made[name] = self._spaces[sort][which]
                else:
                    given[name] = self.instances[which]
            self.instances.append(made if inline else self.linker.instantiate(self._modules[place], given))

    def _read_aliases(self, at: int) -> None:
        data = self._data
        count, at = wasm.read(data, at)
        for _ in range(count):
            head = 2 if data[at] == 0 else 1
            sort, at = data[at : at + head + 1], at + head + 1  # with what kind of thing it is taken from
            place, at = wasm.read(data, at)
            name, at = wasm.name(data, at)
            if sort == bytes([_FUNCTION, 0]) and not place:
                self._functions.append(_HOST)
            elif head == 2 and sort[2] == 1:
                self._spaces[sort[1]].append(self.instances[place][name])
            else:
                raise ValueError("the component refers to something unknown")

    def _read_canon(self, at: int) -> None:
        data = self._data
        if data[at] != 1:
            raise ValueError("several functions are lifted or lowered together")
        lifts, at = data[at + 1] == 0, at + 3
        place, at = wasm.read(data, at)
        options: dict[int, int] = {}
        count, at = wasm.read(data, at)
        for _ in range(count):
            option = data[at]
            options[option], at = (0, at + 1) if option == UTF8 else wasm.read(data, at + 1)
        if options.keys() - {POST_RETURN} != {UTF8, IN_MEMORY, REALLOC} or options[IN_MEMORY]:
            raise ValueError("text does not cross as UTF-8 in the one memory")
        functions = self._spaces[0]
        if lifts:
            after = functions[options[POST_RETURN]] if POST_RETURN in options else None
            self._functions.append(len(self._lifted))
            self._lifted.append(Lifted(self._type, functions[place], after))
        elif self._functions[place] == _HOST:
            self.allocators.add(functions[options[REALLOC]])
            functions.append(Linker.host())
        else:
            raise ValueError("a function is lowered that is not the host's")
