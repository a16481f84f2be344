"""A contract's ABI as its caller needs it: arguments into JSON, results out of it, both checked against the schema.

The worker checks arguments again, inside the sandbox. Checking here tells a mistake before anything is sent, without a
transaction that everybody sees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from keephold.base.errors import AbiError
from keephold.contract.address import Address
from keephold.contract.errors import Mismatch
from keephold.contract.records import Record
from keephold.contract.values import Json, Schema, canonical, parse

MethodKind = Literal["init", "call", "view"]

_EXACT: Final = 1 << 53
_LIMITS: Final = {"uint128": (0, (1 << 128) - 1), "int128": (1 - (1 << 128), (1 << 128) - 1)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument."""

    name: str
    schema: Schema

    @property
    def required(self) -> bool:
        """Say whether the caller must give it."""
        return "default" not in self.schema


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the interface."""

    name: str
    kind: MethodKind
    doc: str
    parameters: tuple[Parameter, ...]
    returns: Schema | None
    """None: it returns nothing."""
    rejects: tuple[str, ...]
    public: bool
    """A view that anyone may ask, without naming a reader."""

    def encode(self, arguments: Sequence[object], named: Mapping[str, object] | None = None) -> bytes:
        """Return the JSON array of arguments, as the call carries it.

        Raises:
            AbiError: one is missing, unknown, given twice, or does not fit its schema.
        """
        if len(arguments) > len(self.parameters):
            raise AbiError(f"{self.usage()} takes {len(self.parameters)} arguments, not {len(arguments)}")
        given = dict(zip((parameter.name for parameter in self.parameters), arguments, strict=False))
        for name, value in (named or {}).items():
            if name in given or name not in {parameter.name for parameter in self.parameters}:
                raise AbiError(f"{self.usage()}: {name} is unknown or given twice")
            given[name] = value
        items: list[Json] = []
        for parameter in self.parameters:
            if parameter.name not in given and parameter.required:
                raise AbiError(f"{self.usage()}: {parameter.name} is missing")
            value = given.get(parameter.name, parameter.schema.get("default"))
            items.append(encode_value(parameter.schema, value, parameter.name))
        return canonical(items).encode()

    def decode(self, value: bytes) -> Any:
        """Return what the method returned.

        Raises:
            AbiError: the value does not fit the schema: the contract runs other code than its ABI says.
        """
        if self.returns is None:
            return None
        try:
            return decode_value(self.returns, parse(value.decode()), "the result")
        except (Mismatch, UnicodeDecodeError) as error:
            raise AbiError(f"{self.name} returned something else than its ABI says: {error}") from error

    def usage(self) -> str:
        """Return `name(a, b=…)`."""
        return f"{self.name}({', '.join(p.name if p.required else f'{p.name}=…' for p in self.parameters)})"


@dataclass(frozen=True, slots=True)
class Abi:
    """A contract's interface."""

    name: str
    doc: str
    pad: tuple[int, ...]
    """Size buckets of everything sealed to or by this contract."""
    methods: Mapping[str, Method]
    events: Mapping[str, Schema] = field(default_factory=dict)
    """Name to the schema of its fields."""
    keys: frozenset[tuple[str, str]] = frozenset()
    """Label and scheme of each key that the contract owns."""

    @property
    def init(self) -> Method | None:
        """Return the method that sets the contract up, when there is one."""
        return next((method for method in self.methods.values() if method.kind == "init"), None)

    def method(self, name: str, *kinds: MethodKind) -> Method:
        """Return a method by name.

        Raises:
            AbiError: there is none of these kinds.
        """
        method = self.methods.get(name)
        if method is None or method.kind not in kinds:
            there = ", ".join(sorted(m.name for m in self.methods.values() if m.kind in kinds)) or "none"
            what = "view" if kinds == ("view",) else "call"
            hint = f"; {name} is a {method.kind}" if method else ""
            raise AbiError(f"{self.name} has no {what} {name!r} (there: {there}){hint}")
        return method


def parse_abi(raw: bytes) -> Abi:
    """Return the interface that `raw`, a contract's ABI on the ledger, describes.

    Raises:
        AbiError: not an ABI of version 1.
    """
    try:
        described = cast("dict[str, Any]", json.loads(raw))
        if described["abi"] != 1:
            raise AbiError(f"ABI version {described['abi']}: this client reads version 1")
        methods = {str(name): _method(str(name), method) for name, method in described["methods"].items()}
        pad = tuple(int(size) for size in described["pad"])
        events = {str(name): dict(event["schema"]) for name, event in described["events"].items()}
        keys = frozenset((str(key["label"]), str(key["scheme"])) for key in described.get("keys", ()))
        return Abi(str(described["name"]), str(described["doc"]), pad, methods, events, keys)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AbiError(f"not an ABI: {error}") from error


def owned_keys(raw: bytes) -> tuple[str, ...]:
    """Return label and scheme of each key that a contract owns; none for what is no ABI, which no worker loads."""
    try:
        return tuple(f"{label} ({scheme})" for label, scheme in sorted(parse_abi(raw).keys))
    except AbiError:
        return ()


def _method(name: str, described: dict[str, Any]) -> Method:
    kind = described["kind"]
    if kind not in ("init", "call", "view"):
        raise AbiError(f"{name}: unknown kind {kind!r}")
    return Method(
        name=name,
        kind=kind,
        doc=str(described["doc"]),
        parameters=tuple(Parameter(str(item), dict(described["params"][item])) for item in described["order"]),
        returns=described["returns"],
        rejects=tuple(str(code) for code in described["rejects"]),
        public=bool(described.get("public", False)),
    )


def encode_value(schema: Schema, value: object, where: str) -> Json:
    """Return a Python value as JSON that fits `schema`.

    Raises:
        AbiError: it does not fit; `where` names the argument.
    """
    if "anyOf" in schema:
        return None if value is None else encode_value(_first(schema), value, where)
    if "enum" in schema:
        choices = cast("list[str]", schema["enum"])
        return str(value) if value in choices else _refuse(where, f"one of {', '.join(choices)}", value)
    format_ = schema.get("format")
    if format_ in _LIMITS:
        return _encode_integer(str(format_), value, where)
    if format_ == "hex":
        data = _bytes_of(value)
        return data.hex() if data is not None else _refuse(where, "bytes", value)
    if format_ == "address":
        return _encode_address(value, where)
    match schema.get("type"):
        case "string" if isinstance(value, str):
            return value if _is_unicode(value) else _refuse(where, "text without lone surrogates", value)
        case "boolean" if isinstance(value, bool):
            return value
        case "null" if value is None:
            return None
        case "array" if isinstance(value, tuple | list | frozenset | set):
            return _encode_array(schema, value, where)
        case "object":
            return _encode_object(schema, value, where)
    return _refuse(where, str(schema.get("type")), value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse(where: str, wanted: str, value: object) -> Json:
    raise AbiError(f"{where}: expected {wanted}, got {value!r:.80}")


def _first(schema: Schema) -> Schema:
    return cast("list[Schema]", schema["anyOf"])[0]


def _encode_integer(format_: str, value: object, where: str) -> Json:
    low, high = _LIMITS[format_]
    if isinstance(value, str) and len(value) <= 40 and value.removeprefix("-").isdecimal() and value.isascii():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return _refuse(where, "a whole number", value)
    if not low <= value <= high:
        return _refuse(where, f"a whole number {'below 2^128 in size' if low else 'from 0, below 2^128'}", value)
    return str(value) if format_ == "uint128" or abs(value) >= _EXACT else value


def _bytes_of(value: object) -> bytes | None:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _encode_address(value: object, where: str) -> Json:
    text = getattr(value, "address", value)  # an Account knows its address
    try:
        return Address.parse(str(text)).text
    except ValueError as error:
        raise AbiError(f"{where}: {error}") from error


def _encode_array(schema: Schema, value: object, where: str) -> Json:
    items = list(cast("Sequence[object]", value))
    if "prefixItems" in schema:
        parts = cast("list[Schema]", schema["prefixItems"])
        if len(parts) != len(items):
            raise AbiError(f"{where}: expected {len(parts)} elements, got {len(items)}")
        return [
            encode_value(part, item, f"{where}[{at}]") for at, (part, item) in enumerate(zip(parts, items, strict=True))
        ]
    element = cast(Schema, schema["items"])
    encoded = [encode_value(element, item, f"{where}[{at}]") for at, item in enumerate(items)]
    return sorted(encoded, key=canonical) if schema.get("uniqueItems") else encoded


def _encode_object(schema: Schema, value: object, where: str) -> Json:
    fields = cast("dict[str, Schema]", schema["properties"])
    given = dict(value.__dict__) if isinstance(value, Record) else value
    if not isinstance(given, Mapping):
        return _refuse(where, "an object", value)
    missing = set(cast("list[str]", schema["required"])) - given.keys()
    unknown = given.keys() - fields.keys()
    if missing or unknown:
        raise AbiError(f"{where}: missing {sorted(missing)}, unknown {sorted(map(str, unknown))}")
    return {name: encode_value(fields[name], item, f"{where}.{name}") for name, item in given.items()}


def decode_value(schema: Schema, value: Json, where: str) -> Any:
    """Return JSON as Python: integers, bytes, `Address`, tuples, dictionaries.

    Raises:
        AbiError: it does not fit.
    """
    if "anyOf" in schema:
        return None if value is None else decode_value(_first(schema), value, where)
    format_ = schema.get("format")
    if format_ in _LIMITS:
        return int(cast(str, encode_value(schema, value, where)))
    if format_ == "hex":
        return bytes.fromhex(cast(str, encode_value(schema, value, where)))
    if format_ == "address":
        return Address.parse(cast(str, encode_value(schema, value, where)))
    if schema.get("type") == "array":
        return _decode_array(schema, value, where)
    if schema.get("type") == "object":
        checked = cast("dict[str, Json]", encode_value(schema, value, where))
        fields = cast("dict[str, Schema]", schema["properties"])
        return {name: decode_value(fields[name], item, f"{where}.{name}") for name, item in checked.items()}
    return encode_value(schema, value, where)


def _decode_array(schema: Schema, value: Json, where: str) -> Any:
    if not isinstance(value, list):
        return _refuse(where, "a list", value)
    if "prefixItems" in schema:
        parts = cast("list[Schema]", schema["prefixItems"])
        if len(parts) != len(value):
            raise AbiError(f"{where}: expected {len(parts)} elements, got {len(value)}")
        return tuple(decode_value(part, item, where) for part, item in zip(parts, value, strict=True))
    element = cast(Schema, schema["items"])
    items = [decode_value(element, item, where) for item in value]
    # Records come as dictionaries, which no set holds: a set of them comes as a tuple, in the order of their text.
    is_set = schema.get("uniqueItems") and not _holds_records(element)
    return frozenset(items) if is_set else tuple(items)


def _holds_records(schema: Schema) -> bool:
    inner = [schema["items"]] if "items" in schema else []
    inner += [*cast("list[Json]", schema.get("anyOf", [])), *cast("list[Json]", schema.get("prefixItems", []))]
    return schema.get("type") == "object" or any(_holds_records(cast(Schema, item)) for item in inner)
