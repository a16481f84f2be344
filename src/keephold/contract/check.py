"""From source to a checked contract: what happens at deploy, inside the sandbox, and what an author can run before it.

A contract is one file with one contract class that no other class in it extends. What asks for something that the
sandbox lacks is refused here with its place and what to do instead; what keeps code inside is the sandbox, not this.
"""

from __future__ import annotations

import ast
import sys
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from keephold.contract.abi import abi
from keephold.contract.dispatch import FILE
from keephold.contract.errors import ContractTypeError
from keephold.contract.floats import in_data
from keephold.contract.lacking import Lack, in_code, in_tree
from keephold.contract.model import Contract, model_of
from keephold.contract.text import Json

MODULE: Final = "__contract__"
"""The name of the contract's module while it runs."""

_WIDEST: Final = 120
_NO_FILE: Final = "\ud800"
"""A file name that cannot be opened: CPython reads the named file to decorate most syntax errors."""


class SourceError(Exception):
    """Source that makes no contract: the reason, and line and column from 1, 0 where unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        self.message: Final = message
        self.line: Final = line
        self.column: Final = column
        where = f"line {line}, column {column}" if column else f"line {line}"
        super().__init__(f"{where}: {message}" if line else message)


@dataclass(frozen=True, slots=True)
class ContractInfo:
    """A contract's source, checked."""

    name: str
    """Of the class."""
    abi: dict[str, Json]
    """See `keephold.contract.abi`."""
    code: types.CodeType
    """Compiled; valid for this interpreter only."""
    lines: dict[str, int]
    """Of each method's `def`: where a failure is told that has no line of its own."""


def compile_source(source: str) -> types.CodeType:
    """Compile a contract without touching a file.

    Raises:
        SourceError: syntax, something that the sandbox lacks, or code too deep for the compiler.
    """
    try:
        tree = ast.parse(source, _NO_FILE)
        _refuse(source, [*in_tree(tree), *in_data(tree)])
        code = compile(tree, _NO_FILE, "exec", dont_inherit=True)
        _refuse(source, in_code(code, tree))
        return _renamed(code)
    except SyntaxError as e:
        raise SourceError(e.msg, e.lineno or 0, e.offset or 0) from e
    except (RecursionError, MemoryError) as e:
        raise SourceError("the source does not compile: it is nested too deeply") from e
    except ValueError as e:
        raise SourceError(f"the source does not compile: {e}") from e


def _refuse(source: str, found: Iterable[Lack]) -> None:
    """Tell the first place that asks for what is not there: what would only fail when a call comes by."""
    first = min(found, default=None)
    if first is not None:
        before = _lines(source)[first.line - 1].encode()[: first.offset]
        raise SourceError(first.reason, first.line, len(before.decode()) + 1)


def line_text(source: str, line: int) -> str:
    """Return a line of a source for a person's eyes, cut to a width; empty where there is none."""
    lines = _lines(source)
    text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _lines(source: str) -> list[str]:
    """Return the lines of a source as the compiler counts them; `splitlines` would end some at other characters too."""
    return source.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _renamed(code: types.CodeType) -> types.CodeType:
    constants = tuple(_renamed(value) if isinstance(value, types.CodeType) else value for value in code.co_consts)
    return code.replace(co_filename=FILE, co_consts=constants)


def load(code: types.CodeType) -> type[Contract]:
    """Run a compiled contract's module and return its contract class.

    Raises:
        SourceError: the module raises, or holds no contract class or more than one.
    """
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    try:
        exec(code, module.__dict__)  # noqa: S102 - running the author's module is this function's purpose
    except (Exception, SystemExit) as e:
        raise SourceError(f"{type(e).__name__}: {e}", _line(e)) from e
    found = [
        value
        for value in module.__dict__.values()
        if isinstance(value, type) and issubclass(value, Contract) and value.__module__ == MODULE
    ]
    leaves = list(dict.fromkeys(cls for cls in found if not any(o is not cls and issubclass(o, cls) for o in found)))
    if len(leaves) != 1:
        names = ", ".join(cls.__name__ for cls in leaves)
        raise SourceError(f"one contract in a file, not {len(leaves)}: {names}" if names else "no contract class")
    return leaves[0]


def check_source(source: str) -> ContractInfo:
    """Return what a contract's source declares: compiled, loaded, every annotation resolved, the ABI written.

    Raises:
        SourceError: with the reason, and the line where there is one.
    """
    code = compile_source(source)
    cls = load(code)
    try:
        return ContractInfo(cls.__name__, abi(cls, source), code, method_lines(cls, source))
    except ContractTypeError as e:
        raise SourceError(f"{cls.__name__}: {e}", _declaration(source, str(e))) from e
    except Exception as e:  # annotations are the author's expressions
        raise SourceError(f"{type(e).__name__}: {e}", _line(e)) from e


def method_lines(cls: type[Contract], source: str) -> dict[str, int]:
    """Return the line of each method's `def` in the source that the class was made from."""
    nodes = [node for node in ast.walk(ast.parse(source, _NO_FILE)) if isinstance(node, ast.FunctionDef)]
    # A function's code counts from its first decorator.
    lines = {min([node.lineno, *(mark.lineno for mark in node.decorator_list)]): node.lineno for node in nodes}
    codes = {name: getattr(method.fn, "__code__", None) for name, method in model_of(cls).methods.items()}
    return {name: lines.get(code.co_firstlineno, 0) for name, code in codes.items() if code is not None}


def _line(error: BaseException) -> int:
    line, step = 0, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == FILE:
            line = step.tb_lineno or line
        step = step.tb_next
    return line


def _declaration(source: str, message: str) -> int:
    """Return the line that declares what a message names: `Record.field`, or the method or field it starts with."""
    nodes = list(ast.walk(ast.parse(source)))
    words = [word.strip() for word in message.split(":")]
    for word in words:
        name, _, member = word.partition(".")
        for node in nodes:
            if member and isinstance(node, ast.ClassDef) and node.name == name:
                return next((line for field, line in map(_declared, node.body) if field == member), node.lineno)
    return next((line for name, line in map(_declared, nodes) if name == words[0]), 0)


def _declared(node: ast.AST) -> tuple[str, int]:
    """Return the name that a class, function or annotation declares, and its line; "" for anything else."""
    match node:
        case ast.FunctionDef(name=name, lineno=line) | ast.ClassDef(name=name, lineno=line):
            return name, line
        case ast.AnnAssign(target=ast.Name(id=name), lineno=line):
            return name, line
    return "", 0
