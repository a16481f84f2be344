"""Definitions of a module as its author wrote them: annotations, values and the docstring under each."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).parents[2] / "src" / "keephold"


class Definition(NamedTuple):
    """A name with its annotation, its value as written, and its docstring."""

    name: str
    annotation: str
    value: str
    doc: str


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def definitions(body: list[ast.stmt]) -> list[Definition]:
    """Return the annotated or assigned names of a body, each with the string that stands under it."""
    found = []
    for at, node in enumerate(body):
        below = body[at + 1] if at + 1 < len(body) else None
        doc = ""
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            doc = below.value.value
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = ast.unparse(node.value) if node.value else ""
            found.append(Definition(node.target.id, ast.unparse(node.annotation), value, doc))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.append(Definition(node.targets[0].id, "", ast.unparse(node.value), doc))
    return found


def module_definitions(module: ModuleType) -> list[Definition]:
    """Return what a module defines at its top."""
    return definitions(parsed(Path(module.__file__ or "")).body)


def class_node(module: ModuleType, name: str) -> ast.ClassDef:
    """Return the definition of a class; StopIteration if there is none."""
    body = parsed(Path(module.__file__ or "")).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def class_names(module: ModuleType) -> list[str]:
    """Return the public classes of a module, in order."""
    body = parsed(Path(module.__file__ or "")).body
    return [node.name for node in body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]


def line(text: str) -> str:
    """Return text as one table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def kind(annotation: str) -> str:
    """Return a type as one table cell: a bar would end it."""
    return line(annotation.replace(" | ", " or "))


def sentence(text: str) -> str:
    """Return a docstring's first paragraph as one table cell."""
    return line(text.strip().split("\n\n", maxsplit=1)[0])


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])
