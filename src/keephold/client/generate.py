"""A contract's ABI to a Python module: a typed client, its records, events and rejections. No I/O.

An ABI may come from a stranger's contract, and what is written here is imported: so nothing of the ABI reaches the
module but as a checked identifier, as a string literal made by `_literal`, or as printable lines of a docstring. Names
that cannot be Python names are refused; names that would collide with the module's own get an underscore behind. The
library's names begin with an underscore, which no name of an ABI here does.

What is written is stable under `ruff format` at its default width; a module with a longer line says `# fmt: off`.
"""

from __future__ import annotations

import builtins
import json
import keyword
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from keephold.base.errors import AbiError
from keephold.client.abi import Abi, Method, parse_abi
from keephold.contract.address import Address
from keephold.contract.values import Schema
from keephold.crypto.hashing import sha256

_WIDTH: Final = 88
_TYPES: Final = ("bool", "bytes", "frozenset", "int", "str", "tuple")
_IMPORTS: Final = (
    "from collections.abc import Mapping as _Mapping",
    "from typing import ClassVar as _ClassVar",
    "from typing import Final as _Final",
    "from typing import Literal as _Literal",
    "",
    "from keephold.base.errors import Rejected as _Rejected",
    "from keephold.client.typed import AsyncTypedContract as _AsyncTypedContract",
    "from keephold.client.typed import TypedContract as _TypedContract",
    "from keephold.contract.address import Address as _Address",
    "from keephold.contract.records import Event as _Event",
    "from keephold.contract.records import Record as _Record",
)
_READER: Final = ("client", "since")
"""Parameters of the functions that read events: a type of that name could not be named in them."""

_QUIET: Final = "# ruff: noqa"


def client_module(abi: bytes, address: Address | None = None) -> str:
    """Return the source of a typed client for contracts with this interface.

    Raises:
        AbiError: not an ABI, or a name in it cannot be one of Python's.
    """
    described = parse_abi(abi)
    try:
        return _Writer(described, sha256(abi).hex(), address).module()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AbiError(f"an ABI that no client can be written from: {type(error).__name__}: {error}") from error


class _Writer:
    def __init__(self, abi: Abi, digest: str, address: Address | None) -> None:
        self._abi = abi
        self._digest = digest
        self._address = address
        members = [*abi.methods, *(name for schema in _objects(_schemas(abi)) for name in schema["properties"])]
        members += [parameter.name for method in abi.methods.values() for parameter in method.parameters]
        for name in members:
            _check_name(name)
        self._taken = {*members, *dir(builtins), *_READER}
        self._shadowed = {name for name in _TYPES if name in members}
        self._contract = self._claim(abi.name)
        self._async = self._claim(f"Async{abi.name}")
        self._functions = (self._claim("read_events"), self._claim("read_events_async"))
        self._address_name = self._claim("ADDRESS")
        self._records: dict[str, str] = {}
        self._bodies: list[str] = []
        self._events = {name: self._record(schema, "_Event", name) for name, schema in abi.events.items()}
        self._rejections = self._claim_rejections()

    # --- names ---

    def _claim(self, wanted: str) -> str:
        name = wanted if _is_name(wanted) else "Unnamed"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    def _claim_rejections(self) -> dict[str, str]:
        codes = dict.fromkeys(code for method in self._abi.methods.values() for code in method.rejects)
        made = {}
        for code in codes:
            words = "".join(char if char.isascii() and char.isalnum() else " " for char in code).split()
            made[code] = self._claim("".join(word[:1].upper() + word[1:] for word in words) or "Unnamed")
        return made

    # --- types ---

    def _type(self, schema: Schema) -> str:
        if "anyOf" in schema:
            inner = self._type(cast("list[Schema]", schema["anyOf"])[0])
            return f"{inner} | None"
        if "enum" in schema:
            return f"_Literal[{', '.join(_literal(str(word)) for word in cast('list[str]', schema['enum']))}]"
        match schema.get("format"):
            case "int128" | "uint128":
                return self._plain("int")
            case "hex":
                return self._plain("bytes")
            case "address":
                return "_Address"
        match schema.get("type"):
            case "string":
                return self._plain("str")
            case "boolean":
                return self._plain("bool")
            case "null":
                return "None"
            case "array" if "prefixItems" in schema:
                parts = ", ".join(self._type(part) for part in cast("list[Schema]", schema["prefixItems"]))
                return f"{self._plain('tuple')}[{parts or '()'}]"
            case "array":
                element = self._type(cast(Schema, schema["items"]))
                unique = schema.get("uniqueItems")
                return f"{self._plain('frozenset')}[{element}]" if unique else f"{self._plain('tuple')}[{element}, ...]"
            case "object":
                return self._record(schema, "_Record", str(schema["title"]))
        raise AbiError(f"a type that this client does not know: {schema!r:.80}")

    def _plain(self, name: str) -> str:
        return f"_{name}" if name in self._shadowed else name

    def _record(self, schema: Schema, base: str, title: str) -> str:
        known = base + json.dumps(schema, sort_keys=True)
        if known not in self._records:
            fields = cast("dict[str, Schema]", schema["properties"])
            types = {name: self._type(field) for name, field in fields.items()}
            name = self._records[known] = self._claim(title)
            lines = [f"    {field}: {kind}" for field, kind in types.items()]
            body = ["", *lines] if lines else []
            what = "An event" if base == "_Event" else "A record"
            self._bodies.append("\n".join([f"class {name}({base}):", f'    """{what} of the contract."""', *body]))
        return self._records[known]

    # --- the module ---

    def module(self) -> str:
        clients = [self._client(is_async=False), self._client(is_async=True)]
        parts = [*self._bodies, *(self._rejection(code, name) for code, name in self._rejections.items())]
        tables = [
            _table("_REJECTIONS", "_Mapping[{}, type[_Rejected]]".format(self._plain("str")), self._rejections),
            _table("_EVENTS", "_Mapping[{}, type[_Event]]".format(self._plain("str")), self._events),
        ]
        pinned = [f'{self._address_name}: _Final = "{self._address.text}"'] if self._address else []
        classes = "\n\n\n".join([*parts])
        rest = "\n\n\n".join([*clients, self._reader(is_async=False), self._reader(is_async=True)])
        aliases = [f"from builtins import {name} as _{name}" for name in sorted(self._shadowed)]
        text = "\n".join(
            [
                f'"""{self._title()}"""',
                "",
                _QUIET,
                "from __future__ import annotations",
                "",
                *aliases,
                *_IMPORTS,
                *(["", *pinned] if pinned else []),
                *(["", "", classes, "", ""] if classes else [""]),
                *tables,
                "",
                "",
                rest,
                "",
            ]
        )
        if any(len(line) > _WIDTH for line in text.splitlines()):
            text = text.replace(f"{_QUIET}\n", f"{_QUIET}\n# fmt: off\n", 1)
        return text

    def _title(self) -> str:
        doc = _doc_lines(self._abi.doc)
        about = f"A client of {self._contract}, written by `keephold client`; changes to it are lost."
        return "\n".join([about, *(["", *doc] if doc else []), ""]) if doc else about

    def _rejection(self, code: str, name: str) -> str:
        return "\n".join([f"class {name}(_Rejected):", f'    """{_docstring(f"The contract refused: {code}")}"""'])

    def _client(self, *, is_async: bool) -> str:
        name, base = (self._async, "_AsyncTypedContract") if is_async else (self._contract, "_TypedContract")
        about = "The contract, for one account, asynchronously." if is_async else "The contract, for one account."
        lines = [
            f"class {name}({base}):",
            f'    """{about}"""',
            "",
            f"    _abi_hash: _ClassVar[{self._plain('str')}] = (",
            f'        "{self._digest}"',
            "    )",
            "    _rejections = _REJECTIONS",
        ]
        for method in self._abi.methods.values():
            if method.kind != "init":
                lines += ["", *self._method(method, is_async=is_async)]
        return "\n".join(lines)

    def _method(self, method: Method, *, is_async: bool) -> list[str]:
        returns = "None" if method.returns is None else self._type(method.returns)
        head = f"    {'async ' if is_async else ''}def {method.name}("
        names, optional = [], False
        lines = [head, "        self,"]
        for parameter in method.parameters:
            name = f"{parameter.name}_" if parameter.name == "self" else parameter.name
            names.append(name)
            if optional and parameter.required:
                raise AbiError(f"{method.name}: {parameter.name} has no default, the one before it has")
            optional = not parameter.required
            kind = self._type({key: value for key, value in parameter.schema.items() if key != "default"})
            default = "" if parameter.required else f" = {self._value(parameter.schema, parameter.schema['default'])}"
            lines.append(f"        {name}: {kind}{default},")
        lines = [*lines, f"    ) -> {returns}:"] if names else [f"{head}self) -> {returns}:"]
        doc = _doc_lines(method.doc) or [f"Use `{method.name}`."]
        raised = [self._rejections[code] for code in method.rejects]
        if raised:
            doc += ["", "Raises:", *(f"    {name}" for name in raised)]
        if len(doc) == 1:
            lines.append(f'        """{doc[0]}"""')
        else:
            lines += [f'        """{doc[0]}', *(f"        {line}".rstrip() for line in doc[1:]), '        """']
        wait, verb = "await " if is_async else "", "_view" if method.kind == "view" else "_call"
        passed = [_literal(method.name), returns, *names]
        target = "" if returns == "None" else f"_result: {returns} = "
        lines += [f"        {target}{wait}self.{verb}(", *(f"            {item}," for item in passed), "        )"]
        return lines if returns == "None" else [*lines, "        return _result"]

    def _reader(self, *, is_async: bool) -> str:
        name, client = (self._functions[1], self._async) if is_async else (self._functions[0], self._contract)
        kinds = " | ".join(self._events.values()) or "_Event"
        returns = f"{self._plain('tuple')}[{kinds}, ...]"
        doc = "Return the events that the client's account can open, and the public ones."
        return "\n".join(
            [
                f"{'async ' if is_async else ''}def {name}(",
                f"    client: {client},",
                f"    since: {self._plain('int')} = 0,",
                f") -> {returns}:",
                f'    """{doc}"""',
                f"    _found: {returns} = {'await ' if is_async else ''}client._read(_EVENTS, since)",
                "    return _found",
            ]
        )

    def _value(self, schema: Schema, value: Any) -> str:
        """Return the expression of a default: JSON that fits the schema."""
        if value is None:
            return "None"
        if "anyOf" in schema:
            return self._value(cast("list[Schema]", schema["anyOf"])[0], value)
        match schema.get("format"):
            case "int128" | "uint128":
                return str(int(value))
            case "hex":
                return f'{self._plain("bytes")}.fromhex("{bytes.fromhex(value).hex()}")'
            case "address":
                return f'_Address.parse("{Address.parse(value).text}")'
        match schema.get("type"):
            case "boolean":
                return "True" if value is True else "False"
            case "array" if "prefixItems" in schema:
                kinds = cast("list[Schema]", schema["prefixItems"])
                return _tuple(self._value(kind, item) for kind, item in zip(kinds, value, strict=True))
            case "array":
                items = _tuple(self._value(cast(Schema, schema["items"]), item) for item in value)
                return f"{self._plain('frozenset')}({items})" if schema.get("uniqueItems") else items
            case "object":
                fields = cast("dict[str, Schema]", schema["properties"])
                given = ", ".join(f"{name}={self._value(fields[name], item)}" for name, item in value.items())
                return f"{self._type({key: item for key, item in schema.items() if key != 'default'})}({given})"
        return _literal(str(value))


def _tuple(items: Iterable[str]) -> str:
    listed = list(items)
    return f"({listed[0]},)" if len(listed) == 1 else f"({', '.join(listed)})"


def _table(name: str, kind: str, rows: Mapping[str, str]) -> str:
    if not rows:
        return f"{name}: _Final[{kind}] = {{}}"
    lines = [f"    {_literal(key)}: {value}," for key, value in rows.items()]
    return "\n".join([f"{name}: _Final[{kind}] = {{", *lines, "}"])


def _schemas(abi: Abi) -> Iterable[Schema]:
    for method in abi.methods.values():
        yield from (parameter.schema for parameter in method.parameters)
        if method.returns is not None:
            yield method.returns
    yield from abi.events.values()


def _objects(schemas: Iterable[Schema]) -> Iterable[dict[str, Any]]:
    for schema in schemas:
        inner: list[Any] = [
            *cast("list[Any]", schema.get("anyOf", [])),
            *cast("list[Any]", schema.get("prefixItems", [])),
        ]
        if "items" in schema:
            inner.append(schema["items"])
        if schema.get("type") == "object":
            yield cast("dict[str, Any]", schema)
            inner += cast("dict[str, Any]", schema["properties"]).values()
        yield from _objects(inner)


def _is_name(name: str) -> bool:
    is_word = name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("_")
    return is_word and unicodedata.normalize("NFKC", name) == name


def _check_name(name: str) -> None:
    if not _is_name(name):
        raise AbiError(f"{name!r:.80} cannot be a name in a Python client")


def _literal(text: str) -> str:
    """Return a string literal in ASCII, with the quotes that `ruff format` prefers."""
    inner = json.dumps(text, ensure_ascii=False)[1:-1].replace("\x7f", "\\x7f")
    inner = inner.encode("ascii", "backslashreplace").decode()
    if text.count('"') > text.count("'"):
        return "'" + inner.replace('\\"', '"').replace("'", "\\'") + "'"
    return f'"{inner}"'


def _docstring(text: str) -> str:
    lines = _doc_lines(text)
    return " ".join(lines) + ("" if lines and lines[-1].endswith(".") else ".")


def _doc_lines(text: str) -> list[str]:
    """Return documentation as lines that end no string and escape nothing: printable, without backslash or quote."""
    swapped = text.replace('"', "'").replace("\\", "/")
    lines = ["".join(char if char.isprintable() else " " for char in line).strip() for line in swapped.splitlines()]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines
