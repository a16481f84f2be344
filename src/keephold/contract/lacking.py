"""What a source asks for that the sandbox lacks, found before it is deployed: where it stands, and what to do instead.

What keeps code inside is the sandbox, which stops what is not found here; this is for clear words. So nothing is named
that could be the contract's own: which names are Python's is the compiler's answer, not a guess of ours.
"""

from __future__ import annotations

import ast
import dis
import importlib
import types
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

ALLOWED: Final = frozenset(
    {
        "__future__", "base64", "binascii", "bisect", "collections", "collections.abc", "copy", "dataclasses", "enum",
        "functools", "hashlib", "heapq", "hmac", "itertools", "json", "json.decoder", "json.encoder", "keephold",
        "keephold.contract", "keephold.contract.abi", "keephold.contract.address", "keephold.contract.check",
        "keephold.contract.context", "keephold.contract.dispatch", "keephold.contract.errors",
        "keephold.contract.keys", "keephold.contract.model", "keephold.contract.records", "keephold.contract.sending",
        "keephold.contract.storage", "keephold.contract.text", "keephold.contract.values", "math", "operator", "re",
        "string", "struct", "textwrap", "typing",
    }
)  # fmt: skip
"""Modules a contract may import. No clock, files, network, randomness or operating system."""

_CLOCK: Final = "there is no clock: use ctx.block.time_ns"
_CHANCE: Final = "draw from ctx.random"
_FILES: Final = "there are no files: keep what lasts in storage, and take the rest as an argument"
_WIRE: Final = "there is no network: take what is fetched as an argument"
_ALONE: Final = "a contract runs alone, one call at a time"
_MACHINE: Final = "nothing of the machine is there"
_TYPED: Final = "storage keeps typed values: declare a Record"
_WHOLE: Final = "count in integers of a smaller unit"
_SHOWN: Final = "what a contract runs is what its source shows: write the code itself"

_MODULES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("calendar", "datetime", "time", "zoneinfo"), _CLOCK),
    **dict.fromkeys(("numpy", "random", "secrets", "uuid"), _CHANCE),
    **dict.fromkeys(("fileinput", "glob", "io", "os", "pathlib", "shutil", "sqlite3", "tempfile"), _FILES),
    **dict.fromkeys(("http", "httpx", "requests", "select", "socket", "ssl", "urllib"), _WIRE),
    **dict.fromkeys(("asyncio", "concurrent", "multiprocessing", "queue", "signal", "subprocess", "threading"), _ALONE),
    **dict.fromkeys(("builtins", "ctypes", "gc", "importlib", "inspect", "platform", "sys"), _MACHINE),
    **dict.fromkeys(("marshal", "pickle", "shelve"), _TYPED),
    **dict.fromkeys(("decimal", "fractions", "statistics"), _WHOLE),
    "logging": "write with ctx.log",
}
"""Modules that authors reach for, with what to do; for any other that is missing its name must do."""

_NAMES: Final[Mapping[str, str]] = {
    "__builtins__": "use Python's own names as they are",
    "__file__": _FILES,
    "__import__": "write an import statement",
    "breakpoint": "there is no debugger inside: test natively",
    "compile": _SHOWN,
    "eval": _SHOWN,
    "exec": _SHOWN,
    "exit": "raise Reject, or return",
    "help": "there is nobody to read it",
    "input": "there is nobody to ask: take an argument",
    "open": _FILES,
    "quit": "raise Reject, or return",
}
"""Python's own names that the sandbox lacks or that show nothing of what they run, with what to do."""

_MEMBERS: Final[Mapping[tuple[str, str], str]] = {
    ("hashlib", "file_digest"): _FILES,
    ("hashlib", "pbkdf2_hmac"): "take the derived key as an argument",
    ("hashlib", "scrypt"): "take the derived key as an argument",
}
"""What modules have outside and lack inside."""


class Lack(NamedTuple):
    """One place that asks for what is not there."""

    line: int
    offset: int
    """Bytes of UTF-8 before it in its line."""
    reason: str
    """A sentence, and what to do instead."""


def in_tree(tree: ast.Module) -> Iterator[Lack]:
    """Yield what a source imports that is not there, what it takes of modules that lack it, and where it would wait."""
    modules = {name: next(iter(meant)) for name, meant in bound_names(tree).items() if len(meant) == 1}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from _module(alias, alias.name)
            case ast.ImportFrom():
                yield from _from(node)
            case ast.Subscript(slice=ast.Constant("__builtins__")):
                yield _lack(node, "__builtins__", _NAMES["__builtins__"])
            case ast.Attribute(ast.Name(id=name), attr=member):
                reason = _MEMBERS.get((modules.get(name, ""), member))
                if reason is not None:
                    yield _lack(node, f"{modules[name]}.{member}", reason)
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield Lack(node.lineno, node.col_offset, "a contract never waits: no async, no await")


def in_code(code: types.CodeType, tree: ast.Module) -> Iterator[Lack]:
    """Yield the uses of Python's own names that are not there, in a compiled module and its syntax.

    The compiler has settled what each name means: a function's variables and parameters, and those of functions around
    it, are not looked up by name. What is left is the module's own if the module binds it anywhere, a class's own in
    that class's body, and else Python's. What `from module import *` brings along is nowhere in the code.
    """
    module = _bound(code, "STORE_NAME") | _starred(tree)
    asking = [one for one in _codes(code) if _NAMES.keys() & set(one.co_names)]
    for one in asking:
        module |= _bound(one, "STORE_GLOBAL")
    for one in asking:
        pythons = {"LOAD_GLOBAL": _NAMES.keys() - module}
        pythons["LOAD_NAME"] = pythons["LOAD_GLOBAL"] - _bound(one, "STORE_NAME")
        for step in dis.get_instructions(one):
            if step.argval in pythons.get(step.opname, ()):
                at = step.positions
                line, offset = (at.lineno or 0, at.col_offset or 0) if at is not None else (0, 0)
                yield Lack(line, offset, f"{step.argval} is not available to contracts: {_NAMES[step.argval]}")


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    waiting = [code]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [constant for constant in one.co_consts if isinstance(constant, types.CodeType)]


def _bound(code: types.CodeType, operation: str) -> set[str]:
    return {step.argval for step in dis.get_instructions(code) if step.opname == operation}


def _starred(tree: ast.Module) -> set[str]:
    starred = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"]
    public = {name for name in _NAMES if not name.startswith("_")}
    return {name for module in starred if module for name in public if hasattr(importlib.import_module(module), name)}


def bound_names(tree: ast.Module) -> dict[str, set[str]]:
    """Return the names that a source binds anywhere, each with what binds it: a module, or "" for anything else."""
    bound: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    bound.setdefault(name, set()).add(alias.name if alias.asname else name)
            case ast.ImportFrom():
                for alias in node.names:
                    bound.setdefault(alias.asname or alias.name, set()).add("")
            case (
                ast.Name(id=name, ctx=ast.Store() | ast.Del())
                | ast.arg(arg=name)
                | ast.FunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                bound.setdefault(name, set()).add("")
    return bound


def _module(node: ast.stmt | ast.alias, name: str) -> Iterator[Lack]:
    if name not in ALLOWED:
        yield _lack(node, name, _MODULES.get(name.partition(".")[0], ""))


def _from(node: ast.ImportFrom) -> Iterator[Lack]:
    name = node.module or ""
    if node.level:
        yield Lack(node.lineno, node.col_offset, "a contract is one file: no relative import")
    elif name not in ALLOWED:
        yield from _module(node, name)
    else:
        for alias in node.names:
            reason = _MEMBERS.get((name, alias.name))
            if reason is not None:
                yield _lack(alias, f"{name}.{alias.name}", reason)
            elif _is_outside(name, alias.name):
                yield _lack(alias, f"{name}.{alias.name}", "")


def _is_outside(name: str, member: str) -> bool:
    """Tell whether `from name import member` takes a module that is not there: of a package, or by way of a module."""
    module = importlib.import_module(name)
    value = getattr(module, member, None)
    if isinstance(value, types.ModuleType):
        return value.__name__ not in ALLOWED
    return value is None and hasattr(module, "__path__") and member != "*" and not hasattr(module, member)


def _lack(node: ast.stmt | ast.expr | ast.alias, what: str, advice: str) -> Lack:
    reason = f"{what} is not available to contracts"
    return Lack(node.lineno, node.col_offset, f"{reason}: {advice}" if advice else reason)
