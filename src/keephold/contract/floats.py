"""Floats where a contract's data goes, found before it is deployed: in a result, or in a slot.

Contract code may compute with floats; its results and its storage have no place for one, and a call that comes to one
there fails. What a name holds is not known here, so only what certainly is a float is told: a literal, `float(…)`, a
quotient, and arithmetic with one of these. A source with arithmetic of its own is not judged.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final

from keephold.contract.lacking import Lack, bound_names

_REASON: Final = "a float has no place in a contract's data: divide with //, and count in integers of a smaller unit"
_MARKS: Final = frozenset({"call", "init", "reply", "view"})
_ARITHMETIC: Final = (ast.Add, ast.Sub, ast.Mult, ast.Pow, ast.FloorDiv)
"""What yields a float where one side is one. Not `%`, which formats texts."""
_OVERLOADED: Final = re.compile(r"float|__[ir]?(add|sub|mul|pow|truediv|floordiv)__")


def in_data(tree: ast.Module) -> Iterator[Lack]:
    """Yield the floats that methods of a contract return, and those they assign to its fields."""
    if any(_OVERLOADED.fullmatch(name) for name in bound_names(tree)):
        return
    for cls in ast.walk(tree):
        if isinstance(cls, ast.ClassDef):
            methods = [node for node in cls.body if isinstance(node, ast.FunctionDef) and _is_marked(node)]
            fields = {
                node.target.id
                for node in cls.body
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
            }
            for method in methods:
                yield from _in_method(method, fields)


def _is_marked(method: ast.FunctionDef) -> bool:
    for decorator in method.decorator_list:
        named = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(named, ast.Name) and named.id in _MARKS:
            return True
    return False


def _in_method(method: ast.FunctionDef, fields: set[str]) -> Iterator[Lack]:
    waiting: list[ast.AST] = list(method.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue  # what these return is not the method's result
        waiting += ast.iter_child_nodes(node)
        match node:
            case ast.Return(value=ast.expr() as value) if _is_float(value):
                yield _lack(value)
            case ast.Assign(value=value) if _is_float(value) and any(_is_slot(at, fields) for at in node.targets):
                yield _lack(value)
            case ast.AugAssign(target=target, op=op, value=value) if _is_slot(target, fields):
                if isinstance(op, ast.Div) or (isinstance(op, _ARITHMETIC) and _is_float(value)):
                    yield _lack(value)


def _is_slot(target: ast.expr, fields: set[str]) -> bool:
    """Tell whether an assignment to `target` writes a field of the contract, or an entry of one."""
    named = target.value if isinstance(target, ast.Subscript) else target
    return (
        isinstance(named, ast.Attribute)
        and isinstance(named.value, ast.Name)
        and named.value.id == "self"
        and named.attr in fields
    )


def _is_float(value: ast.expr) -> bool:
    """Tell whether an expression can be nothing but a float, on one of its branches at least."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case ast.Constant(value=float()) | ast.Call(func=ast.Name(id="float")) | ast.BinOp(op=ast.Div()):
                return True
            case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
                waiting += (left, right)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                waiting.append(operand)
            case ast.IfExp(body=body, orelse=orelse):
                waiting += (body, orelse)
    return False


def _lack(value: ast.expr) -> Lack:
    return Lack(value.lineno, value.col_offset, _REASON)
