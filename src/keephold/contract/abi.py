"""The ABI: what a contract offers, as JSON Schema 2020-12 from its type hints and docstrings.

From it come CLI arguments, the explorer's forms, typed clients and test strategies. Rejection codes and public events
are read off the source, where it is given: they are literals at `require(…, "code")`, `Reject("code")` and
`ctx.emit(Event(…), to="public")`.
"""

from __future__ import annotations

import ast
import sys
from typing import Final

from keephold.contract.errors import ContractTypeError
from keephold.contract.keys import SCHEMES
from keephold.contract.model import Contract, Method, model_of
from keephold.contract.records import Event
from keephold.contract.storage import Scalar
from keephold.contract.text import Json, Schema
from keephold.contract.values import codec_of

VERSION: Final = 1


def abi(cls: type[Contract], source: str | None = None) -> dict[str, Json]:
    """Return the ABI of a contract class.

    `code`, the hash of the source, is left to whoever deploys it.

    Raises:
        ContractTypeError: a declaration that makes no contract; the message names it.
    """
    model = model_of(cls)
    literals = _Literals(source)
    methods: dict[str, Json] = {}
    for name, method in model.methods.items():
        if method.mark.kind == "reply":
            method.signature()  # checked like the others; nobody can call it
            continue
        methods[name] = _method(method, literals.rejects.get(name, []))
    storage: dict[str, Json] = {}
    for name, declared in model.fields.items():
        if isinstance(declared, Scalar):
            storage[name] = {"value": declared.codec.schema(), "private": True}
        else:
            storage[name] = {"key": declared.key.schema(), "value": declared.value.schema(), "private": True}
    events: dict[str, Json] = {}
    for value in list(vars(sys.modules[cls.__module__]).values()):
        if isinstance(value, type) and issubclass(value, Event) and value is not Event:
            audience = "public" if value.__name__ in literals.public else "recipients"
            try:
                schema = codec_of(value).schema()
            except ContractTypeError as e:
                raise ContractTypeError(f"{value.__name__}: {e}") from e
            events[value.__name__] = {"schema": schema, "audience": audience}
    described: dict[str, Json] = {
        "abi": VERSION,
        "name": cls.__name__,
        "doc": _doc(cls),
        "pad": list[Json](cls.pad),
        "methods": methods,
        "events": events,
        "storage": storage,
    }
    if literals.keys:
        described["keys"] = [{"label": label, "scheme": scheme} for label, scheme in sorted(literals.keys)]
    return described


def _method(method: Method, rejects: list[str]) -> Json:
    parameters, result = method.signature()
    schemas: dict[str, Json] = {}
    for parameter in parameters:
        schema: Schema = parameter.codec.schema()
        if not parameter.required:
            schema["default"] = parameter.codec.encode(parameter.default)
        schemas[parameter.name] = schema
    returns = result.schema()
    described: dict[str, Json] = {
        "kind": method.mark.kind,
        "doc": _doc(method.fn),
        "params": schemas,
        "order": [parameter.name for parameter in parameters],
        "returns": None if returns == {"type": "null"} else returns,
        "rejects": list[Json](rejects),
    }
    if method.mark.kind == "view":
        described |= {"public": True} if method.mark.public else {"scope": method.scope}
    return described


def _doc(thing: object) -> str:
    """Return a docstring without its indentation: `inspect.cleandoc` without `inspect`, which opens files."""
    lines = str(getattr(thing, "__doc__", None) or "").strip().splitlines()
    return "\n".join(line.strip() for line in lines)


class _Literals(ast.NodeVisitor):
    """Collects the codes each method may reject with, the events that are emitted in public, and the keys named."""

    def __init__(self, source: str | None) -> None:
        self.rejects: dict[str, list[str]] = {}
        self.public: set[str] = set()
        self.keys: set[tuple[str, str]] = set()
        self._method = ""
        if source is not None:
            try:
                self.visit(ast.parse(source))
            except (SyntaxError, RecursionError) as e:
                raise ContractTypeError(f"the source does not parse: {e}") from e

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._method = self._method, self._method or node.name
        self.generic_visit(node)
        self._method = outer

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        place = {"require": 1, "Reject": 0}.get(name)
        if place is not None and len(node.args) > place:
            code = node.args[place]
            if isinstance(code, ast.Constant) and isinstance(code.value, str):
                found = self.rejects.setdefault(self._method, [])
                if code.value not in found:
                    found.append(code.value)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "key":
            self._name_key(node)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "emit" and node.args:
            event, to = node.args[0], [k.value for k in node.keywords if k.arg == "to"] + node.args[1:2]
            if isinstance(event, ast.Call) and isinstance(event.func, ast.Name) and to:
                target = to[0]
                if isinstance(target, ast.Constant) and target.value == "public":
                    self.public.add(event.func.id)
        self.generic_visit(node)

    def _name_key(self, node: ast.Call) -> None:
        """Note `….key("label", "scheme")`, its arguments in order or by name."""
        given = dict(zip(("label", "scheme"), node.args, strict=False))
        given |= {keyword.arg: keyword.value for keyword in node.keywords if keyword.arg}
        label, scheme = given.get("label"), given.get("scheme")
        if not isinstance(label, ast.Constant) or not isinstance(scheme, ast.Constant):
            return
        if isinstance(label.value, str) and scheme.value in SCHEMES:
            self.keys.add((label.value, str(scheme.value)))
