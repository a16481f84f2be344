"""Types to JSON and back: the one codec for arguments, results, events, storage keys and storage values.

| type | JSON |
|---|---|
| `bool`, `str`, `None`, `Literal[…]` of strings | themselves |
| `int`, below 2**128 in size | a number, or a decimal string from 2**53 on: other languages read numbers as doubles |
| `Amount`, from 0 to 2**128 - 1 | a decimal string, always |
| `bytes` | lower-case hexadecimal |
| `Address` | its bech32m text |
| `tuple[X, ...]`, `tuple[X, Y]` | an array |
| `frozenset[X]` | an array, sorted by the text of its elements |
| `X | None` | the value, or null |
| a `Record` | an object |

Every type is immutable, so what a contract reads from storage cannot be changed behind storage's back. There are no
floats: their text is not portable.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from keephold.contract.address import Address
from keephold.contract.errors import ContractTypeError, Mismatch
from keephold.contract.records import Record, record_fields
from keephold.contract.text import Json, Schema, canonical, parse

__all__ = ["MAX_INTEGER", "Amount", "AmountRange", "Codec", "Json", "Schema", "canonical", "codec_of", "parse"]

MAX_INTEGER: Final = 1 << 128
"""Integers lie strictly between -MAX_INTEGER and MAX_INTEGER; the same bound as on the wire."""

_EXACT: Final = 1 << 53
_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class AmountRange:
    """Marks `Amount` among integers."""


Amount = Annotated[int, AmountRange()]
"""A quantity: an integer from 0 to 2**128 - 1, spelled as a decimal string outside the contract."""


@dataclass(frozen=True, slots=True)
class Codec:
    """How one type is spelled in JSON. `encode` raises ContractTypeError, `decode` raises Mismatch."""

    encode: Callable[[Any], Json]
    decode: Callable[[Json], Any]
    schema: Callable[[], Schema]


def _fail(value: object, wanted: str) -> ContractTypeError:
    return ContractTypeError(f"expected {wanted}, got {type(value).__name__}")


def _primitive(kind: type, name: str, schema: Schema) -> Codec:
    def encode(value: Any) -> Json:
        if type(value) is not kind:
            raise _fail(value, name)
        return cast(Json, value)

    def decode(value: Json) -> Json:
        if type(value) is not kind:
            raise Mismatch(f"expected {name}")
        return value

    return Codec(encode, decode, lambda: dict(schema))


def _decode_text(value: Json) -> str:
    if type(value) is not str:
        raise Mismatch("expected text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise Mismatch("expected text without lone surrogates") from e
    return value


def _integer(low: int, name: str, *, always_text: bool, schema: Schema) -> Codec:
    def encode(value: Any) -> Json:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _fail(value, name)
        if not low < value < MAX_INTEGER:
            raise ContractTypeError(f"expected {name}, the number is out of range")
        return str(int(value)) if always_text or not -_EXACT < value < _EXACT else int(value)

    def decode(value: Json) -> int:
        if type(value) is str and len(value) <= _DIGITS and value.removeprefix("-").isdecimal() and value.isascii():
            number = int(value)
            if str(number) != value:
                raise Mismatch(f"expected {name} without leading zeros")
        elif type(value) is int:
            number = value
        else:
            raise Mismatch(f"expected {name}")
        if not low < number < MAX_INTEGER:
            raise Mismatch(f"expected {name}, the number is out of range")
        return number

    return Codec(encode, decode, lambda: dict(schema))


def _encode_bytes(value: Any) -> Json:
    if type(value) is not bytes:
        raise _fail(value, "bytes")
    return value.hex()


def _decode_bytes(value: Json) -> bytes:
    try:
        data = bytes.fromhex(value) if type(value) is str else None
    except ValueError:
        data = None
    if data is None or data.hex() != value:
        raise Mismatch("expected lower-case hexadecimal")
    return data


def _encode_address(value: Any) -> Json:
    if type(value) is not Address:
        raise _fail(value, "an address")
    return value.text


def _decode_address(value: Json) -> Address:
    if type(value) is not str:
        raise Mismatch("expected an address")
    try:
        return Address.parse(value)
    except ValueError as e:
        raise Mismatch(str(e)) from e


def _elements(value: Json) -> list[Json]:
    if type(value) is not list:
        raise Mismatch("expected a list")
    return value


def _tuple(hints: tuple[object, ...]) -> Codec:
    if len(hints) == 2 and hints[1] is Ellipsis:
        element = codec_of(hints[0])

        def encode_all(value: Any) -> Json:
            if type(value) is not tuple:
                raise _fail(value, "a tuple")
            return [element.encode(item) for item in value]

        return Codec(
            encode_all,
            lambda value: tuple(element.decode(item) for item in _elements(value)),
            lambda: {"type": "array", "items": element.schema()},
        )
    parts = [codec_of(hint) for hint in hints]

    def encode(value: Any) -> Json:
        if type(value) is not tuple or len(value) != len(parts):
            raise _fail(value, f"a tuple of {len(parts)}")
        return [part.encode(item) for part, item in zip(parts, value, strict=True)]

    def decode(value: Json) -> tuple[Any, ...]:
        items = _elements(value)
        if len(items) != len(parts):
            raise Mismatch(f"expected {len(parts)} elements")
        return tuple(part.decode(item) for part, item in zip(parts, items, strict=True))

    def schema() -> Schema:
        size = len(parts)
        return {"type": "array", "prefixItems": [p.schema() for p in parts], "minItems": size, "maxItems": size}

    return Codec(encode, decode, schema)


def _frozenset(hint: object) -> Codec:
    element = codec_of(hint)

    def encode(value: Any) -> Json:
        if type(value) is not frozenset:
            raise _fail(value, "a frozenset")
        return sorted((element.encode(item) for item in value), key=canonical)

    def decode(value: Json) -> frozenset[Any]:
        items = [element.decode(item) for item in _elements(value)]
        found = frozenset(items)
        if len(found) != len(items):
            raise Mismatch("an element appears twice")
        return found

    return Codec(encode, decode, lambda: {"type": "array", "items": element.schema(), "uniqueItems": True})


def _optional(hint: object) -> Codec:
    inner = codec_of(hint)
    return Codec(
        lambda value: None if value is None else inner.encode(value),
        lambda value: None if value is None else inner.decode(value),
        lambda: {"anyOf": [inner.schema(), {"type": "null"}]},
    )


def _literal(choices: tuple[object, ...]) -> Codec:
    words = [choice for choice in choices if type(choice) is str]
    if len(words) != len(choices):
        raise ContractTypeError("Literal takes strings only")

    def encode(value: Any) -> Json:
        if type(value) is not str or value not in words:
            raise _fail(value, f"one of {words}")
        return value

    def decode(value: Json) -> str:
        if type(value) is not str or value not in words:
            raise Mismatch(f"expected one of {words}")
        return value

    return Codec(encode, decode, lambda: {"enum": list[Json](words)})


def _record(cls: type[Record]) -> Codec:
    fields = {name: _field(cls, name, hint) for name, hint in record_fields(cls).items()}

    def encode(value: Any) -> Json:
        if type(value) is not cls:
            raise _fail(value, cls.__name__)
        return {name: codec.encode(getattr(value, name)) for name, codec in fields.items()}

    def decode(value: Json) -> Record:
        if type(value) is not dict or value.keys() - fields.keys():
            raise Mismatch(f"expected the fields of {cls.__name__}: {', '.join(fields)}")
        try:
            return cls(**{name: fields[name].decode(item) for name, item in value.items()})
        except TypeError as e:
            raise Mismatch(str(e)) from e

    def schema() -> Schema:
        return {
            "type": "object",
            "title": cls.__name__,
            "properties": {name: codec.schema() for name, codec in fields.items()},
            "required": [name for name in fields if not hasattr(cls, name)],
            "additionalProperties": False,
        }

    return Codec(encode, decode, schema)


def _field(cls: type[Record], name: str, hint: object) -> Codec:
    try:
        codec = codec_of(hint)
        if hasattr(cls, name):
            codec.encode(getattr(cls, name))
    except ContractTypeError as e:
        raise ContractTypeError(f"{cls.__name__}.{name}: {e}") from e
    return codec


_INTEGER_SCHEMA: Final[Schema] = {"type": ["integer", "string"], "format": "int128"}
_codecs: dict[object, Codec] = {
    None: _primitive(type(None), "nothing", {"type": "null"}),
    type(None): _primitive(type(None), "nothing", {"type": "null"}),
    bool: _primitive(bool, "true or false", {"type": "boolean"}),
    str: Codec(_primitive(str, "text", {}).encode, _decode_text, lambda: {"type": "string"}),
    int: _integer(-MAX_INTEGER, "an integer", always_text=False, schema=_INTEGER_SCHEMA),
    Amount: _integer(-1, "an amount", always_text=True, schema={"type": "string", "format": "uint128"}),
    bytes: Codec(_encode_bytes, _decode_bytes, lambda: {"type": "string", "format": "hex"}),
    Address: Codec(_encode_address, _decode_address, lambda: {"type": "string", "format": "address"}),
}
_building: set[object] = set()


def codec_of(hint: object) -> Codec:
    """Return the codec of a type hint.

    Raises:
        ContractTypeError: the type has no spelling, or contains itself.
    """
    try:
        known = _codecs.get(hint)
    except TypeError as e:
        raise ContractTypeError(f"{hint!r} is not a type") from e
    if known is None:
        if hint in _building:
            raise ContractTypeError(f"{_name(hint)} contains itself: keep the parts in a Map, and refer to them by key")
        _building.add(hint)
        try:
            known = _codecs[hint] = _build(hint)
        finally:
            _building.discard(hint)
    return known


def _build(hint: object) -> Codec:
    origin, parameters = get_origin(hint), get_args(hint)
    if origin is tuple and parameters:
        return _tuple(parameters)
    if origin is frozenset:
        return _frozenset(parameters[0])
    if origin is Literal:
        return _literal(parameters)
    if origin in (Union, types.UnionType) and len(parameters) == 2 and type(None) in parameters:
        return _optional(parameters[0] if parameters[1] is type(None) else parameters[1])
    if isinstance(hint, type) and issubclass(hint, Record):
        return _record(hint)
    name, advice = _name(hint), _advice(hint)
    raise ContractTypeError(f"{name} has no place in a contract's data" + (f": {advice}" if advice else ""))


def _name(hint: object) -> str:
    return str(getattr(hint, "__name__", repr(hint)))


def _advice(hint: object) -> str:
    """Return what to write instead of a type that has no place, as far as that can be told."""
    known = {
        "float": "use integers",
        "list": "use tuple[X, ...]",
        "set": "use frozenset[X]",
        "dict": "use a Map or a Record",
        "bytearray": "use bytes",
        "Map": "a Map is a field of the contract, and holds no Map",
    }
    if hasattr(hint, "__dataclass_fields__"):
        return "derive it from Record"
    if any(base.__name__ == "Enum" for base in getattr(hint, "__mro__", ())):
        return 'use Literal["a", "b"]'
    if hasattr(hint, "__supertype__"):
        return f"use {_name(hint.__supertype__)}"
    return known.get(_name(hint), "")
