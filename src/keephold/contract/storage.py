"""Storage: what a contract's annotations declare, as slots of text.

Each scalar field is one slot under its own name; each entry of a `Map` is one slot under `name[key]`, where the key is
its canonical JSON (`balances["kh1…"]`). Names are identifiers, so no two slots collide. Values are canonical JSON.

A map cannot be iterated, measured or searched: the ledger holds an unlinkable tag for each slot and nobody holds a
list of them. A contract that must enumerate keeps its own count or set (`spends: Map[int, Spend]` beside `count: int`).

Writes are collected and reach the host only when the call succeeds: once for each slot, in the order of their keys, and
not at all where the call read the slot and left the same text. So a rejected call touches nothing, and which slots a
call writes does not depend on how often it assigned.
"""

from __future__ import annotations

from typing import Any, Final, Generic, NoReturn, Protocol, TypeVar, cast, final, get_args, overload

from keephold.contract.errors import ContractTypeError, Reject
from keephold.contract.text import canonical, parse
from keephold.contract.values import Codec, codec_of

_K = TypeVar("_K")
_V = TypeVar("_V")
_ABSENT: Final = object()

MAX_KEY: Final = 1 << 10
"""Bytes of a storage key: a name, and the text of a Map's key. Keys and values are ASCII. The host has the same bounds;
told here, they are told with the line that breaks them."""

MAX_VALUE: Final = 64 << 10
"""Bytes of a stored value's text."""

INITIALISED: Final = "#initialised"
"""Reserved slot, set by the @init: `#` starts no identifier."""


class Host(Protocol):
    """All that contract code can reach. The sandbox's host and the native one implement it."""

    def get(self, key: str) -> str | None:
        """Return the value of a slot, None where it was never written or was deleted."""
        ...

    def put(self, key: str, value: str) -> None:
        """Write a slot."""
        ...

    def delete(self, key: str) -> None:
        """Delete a slot."""
        ...

    def emit(self, name: str, body: str, audience: str) -> None:
        """Emit an event: its type, its JSON, and a JSON list of addresses or `"public"`."""
        ...

    def public_key(self, key: str) -> str:
        """Return the public key of `Key.spelled`, in hexadecimal digits."""
        ...

    def release(self, topic: str, request: str) -> None:
        """Keep a signing request: key, message and readers, as JSON."""
        ...

    def send(self, target: str, method: str, arguments: str, handler: str) -> None:
        """Send a message: address, method, JSON of its arguments, and the reply handler's name or nothing."""
        ...

    def log(self, text: str) -> None:
        """Keep a line for the developer; discarded outside development."""
        ...


@final
class Storage:
    """The slots of one contract during one transaction, decoded once and written back at the end."""

    __slots__ = ("_host", "_known", "_texts", "_written", "writable")

    def __init__(self, host: Host, *, writable: bool) -> None:
        self._host = host
        self._known: dict[str, object] = {}
        self._texts: dict[str, str | None] = {}
        self._written: dict[str, str | None] = {}
        self.writable: Final = writable

    def read(self, key: str, codec: Codec) -> object:
        """Return the decoded value of a slot, or the `absent` marker."""
        value = self._known.get(key, self)
        if value is self:
            text = self._texts[key] = self._host.get(key)
            value = _ABSENT if text is None else codec.decode(parse(text))
            self._known[key] = value
        return value

    def write(self, key: str, codec: Codec, value: object) -> None:
        """Collect a write.

        Raises:
            ContractTypeError: in a view, or the value does not have the declared type, or is too large.
        """
        if not self.writable:
            raise ContractTypeError("a view reads; it cannot write")
        text = canonical(codec.encode(value))
        if len(text) > MAX_VALUE:
            raise ContractTypeError(f"a stored value has at most {MAX_VALUE} bytes of text, not {len(text)}")
        self._written[key] = text
        self._known[key] = value

    def delete(self, key: str) -> None:
        """Collect a deletion.

        Raises:
            ContractTypeError: in a view.
        """
        if not self.writable:
            raise ContractTypeError("a view reads; it cannot delete")
        self._written[key] = None
        self._known[key] = _ABSENT

    def flush(self) -> None:
        """Hand the written slots to the host, in the order of the keys."""
        for key in sorted(self._written):
            text = self._written[key]
            if key in self._texts and text == self._texts[key]:
                continue
            if text is None:
                self._host.delete(key)
            else:
                self._host.put(key, text)


def is_absent(value: object) -> bool:
    """Tell whether `Storage.read` found nothing."""
    return value is _ABSENT


@final
class Map(Generic[_K, _V]):
    """A mapping in storage, declared as `balances: Map[Address, int]`; one slot for each entry, no iteration."""

    __slots__ = ("_key", "_name", "_storage", "_value")

    def __init__(self, storage: Storage, name: str, key: Codec, value: Codec) -> None:
        self._storage = storage
        self._name = name
        self._key = key
        self._value = value

    def _slot(self, key: object) -> str:
        slot = f"{self._name}[{canonical(self._key.encode(key))}]"
        if len(slot) > MAX_KEY:
            raise ContractTypeError(f"a storage key has at most {MAX_KEY} bytes with its Map's name, not {len(slot)}")
        return slot

    @overload
    def get(self, key: _K) -> _V | None: ...

    @overload
    def get(self, key: _K, default: _V) -> _V: ...

    def get(self, key: _K, default: _V | None = None) -> _V | None:
        """Return the entry, or `default` where there is none."""
        value = self._storage.read(self._slot(key), self._value)
        return default if value is _ABSENT else cast(_V, value)

    def __getitem__(self, key: _K) -> _V:
        value = self._storage.read(self._slot(key), self._value)
        if value is _ABSENT:
            raise Reject("not_found", self._name)
        return cast(_V, value)

    def __setitem__(self, key: _K, value: _V) -> None:
        self._storage.write(self._slot(key), self._value, value)

    def __delitem__(self, key: _K) -> None:
        slot = self._slot(key)
        if self._storage.read(slot, self._value) is _ABSENT:
            raise Reject("not_found", self._name)
        self._storage.delete(slot)

    def __contains__(self, key: _K) -> bool:
        return self._storage.read(self._slot(key), self._value) is not _ABSENT

    def __iter__(self) -> NoReturn:
        raise ContractTypeError(f"{self._name}: a Map cannot be iterated; keep a count or a frozenset of its keys")


@final
class Scalar:
    """Descriptor of a scalar field."""

    __slots__ = ("codec", "default", "name")

    def __init__(self, name: str, hint: object, default: object) -> None:
        self.name: Final = name
        self.codec: Final = codec_of(hint)
        self.default: Final = default
        if default is not _ABSENT:
            self.codec.encode(default)

    def __get__(self, contract: Any, owner: type) -> Any:
        if contract is None:
            return self
        value = storage_of(contract).read(self.name, self.codec)
        if value is _ABSENT:
            value = self.default
            if value is _ABSENT:
                raise AttributeError(f"{self.name} was never set and has no default")
        return value

    def __set__(self, contract: Any, value: object) -> None:
        storage_of(contract).write(self.name, self.codec, value)

    def __delete__(self, contract: Any) -> None:
        storage_of(contract).delete(self.name)


@final
class MapField:
    """Descriptor of a `Map` field."""

    __slots__ = ("key", "name", "value")

    def __init__(self, name: str, key: object, value: object) -> None:
        self.name: Final = name
        self.key: Final = codec_of(key)
        self.value: Final = codec_of(value)

    def __get__(self, contract: Any, owner: type) -> Any:
        if contract is None:
            return self
        return Map[Any, Any](storage_of(contract), self.name, self.key, self.value)

    def __set__(self, contract: Any, value: object) -> NoReturn:
        raise ContractTypeError(f"{self.name} is a Map: assign its entries")


Field = Scalar | MapField


def field(name: str, hint: object, default: object = _ABSENT) -> Field:
    """Return the descriptor that a class annotation declares.

    Raises:
        ContractTypeError: a type without a place in storage, or a default that is not of its type.
    """
    origin = getattr(hint, "__origin__", None)
    if origin is Map or hint is Map:
        parameters = get_args(hint)
        if len(parameters) != 2:
            raise ContractTypeError("write Map[Key, Value]")
        if default is not _ABSENT:
            raise ContractTypeError("a Map starts empty and takes no default")
        return MapField(name, parameters[0], parameters[1])
    return Scalar(name, hint, default)


def storage_of(contract: object) -> Storage:
    """Return the storage behind a contract object.

    Raises:
        ContractTypeError: the object was made by hand instead of by a call.
    """
    storage = contract.__dict__.get("_storage")
    if not isinstance(storage, Storage):
        raise ContractTypeError("a contract's fields live in storage: use a harness to call its methods")
    return storage
