"""Every label with each expression that uses it: what it is bound to is what stands beside it in the call."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from types import ModuleType

from keephold.crypto import labels
from keephold.crypto.labels import Label
from reference.source import ROOT, line, parsed, table

NAMES = {name: label for name, label in vars(labels).items() if isinstance(label, Label)}
_SHOWN = 230
"""Characters of an expression that are shown."""


def label_table() -> str:
    """Return all registered labels in the order of their names, and their uses."""
    uses = _uses()
    rows = []
    for name, label in sorted(NAMES.items(), key=lambda item: item[1].name):
        shown = "<br>".join(uses.get(name, ["in published vectors alone"]))
        rows.append((f"`{label.encoded.decode()}`", shown))
    return table(("label, as hashed", "used as, in"), rows)


def _uses() -> dict[str, list[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "labels.py":
            continue
        tree = parsed(path)
        above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Name | ast.Attribute) and (name := _label_of(node)):
                found[name].add(f"`{line(_use(node, above))}` `{path.relative_to(ROOT)}: {_owner(node, above)}`")
    return {name: sorted(items) for name, items in found.items()}


def _label_of(node: ast.Name | ast.Attribute) -> str:
    if isinstance(node, ast.Name):
        return node.id if node.id in NAMES else ""
    is_ours = isinstance(node.value, ast.Name) and node.value.id == "labels"
    return node.attr if is_ours and node.attr in NAMES else ""


def _use(node: ast.AST, above: dict[ast.AST, ast.AST]) -> str:
    """Return the call that a label is an argument of, or the default that it is."""
    while node in above and not isinstance(node, ast.Call):
        node = above[node]
        if isinstance(node, ast.arguments):
            return f"{ast.unparse(node).split(', ')[-1]}"
    text = ast.unparse(node)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def _owner(node: ast.AST, above: dict[ast.AST, ast.AST]) -> str:
    names: list[str] = []
    while node in above:
        node = above[node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.insert(0, node.name)
    return ".".join(names) or "module"


def hashed(module: ModuleType, name: str) -> str:
    """Return the expression that a one-line function of a module returns."""
    body = parsed(Path(module.__file__ or "")).body
    function = next(node for node in body if isinstance(node, ast.FunctionDef) and node.name == name)
    returned = next(node for node in function.body if isinstance(node, ast.Return))
    return ast.unparse(returned.value) if returned.value else ""
