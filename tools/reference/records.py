"""Records with their fields as they are declared: type, default, and the sentence under each."""

from __future__ import annotations

from types import ModuleType

from keephold.base import limits
from keephold.protocol import refusals
from reference.source import class_names, class_node, definitions, kind, line, module_definitions, table


def record(module: ModuleType, name: str, *, level: int = 3) -> str:
    """Return one record as a heading, its docstring and a table of its fields."""
    node = class_node(module, name)
    keywords = {keyword.arg: getattr(keyword.value, "value", "") for keyword in node.keywords}
    doc = (getattr(module, name).__doc__ or "").strip()
    parts = [f"{'#' * level} `{name}`", "\n".join(text.strip() for text in doc.splitlines())]
    if keywords.get("tag"):
        parts.append(f'Tag: `{keywords["tag_field"]} = "{keywords["tag"]}"`.')
    rows = [
        (
            f"`{field.name}`",
            f"`{kind(field.annotation)}`" + (f" = `{line(field.value)}`" if field.value else ""),
            line(field.doc),
        )
        for field in definitions(node.body)
    ]
    if rows:
        parts.append(table(("field", "type", ""), rows))
    return "\n\n".join(parts)


def records(module: ModuleType, *names: str, level: int = 3) -> str:
    """Return records of a module: those named, or all public ones."""
    return "\n\n".join(record(module, name, level=level) for name in names or class_names(module))


def fields(module: ModuleType, *names: str) -> str:
    """Return the fields of configuration classes as one table, inherited ones among them if their class is named."""
    rows = [
        (
            f"`{field.name}`",
            f"`{kind(field.annotation)}`",
            f"`{line(field.value)}`" if field.value else "required",
            line(field.doc),
        )
        for name in names
        for field in definitions(class_node(module, name).body)
    ]
    return table(("key", "type", "default", ""), rows)


def limit_table() -> str:
    """Return every bound with its value."""
    rows = []
    for item in module_definitions(limits):
        value = getattr(limits, item.name)
        rows.append(
            (f"`{item.name}`", f"{value:,}".replace(",", " ") if value < 1 << 64 else f"`{item.value}`", line(item.doc))
        )
    return table(("bound", "value", ""), rows)


def refusal_table() -> str:
    """Return why the rules refuse: number and word."""
    return table(("code", "reason"), [(str(int(item)), f"`{item.word}`") for item in refusals.Refusal])
