"""The vectors of the specification, and how their notation is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[2] / "docs" / "spec" / "vectors"


def cases(name: str, function: str, *, accepted: bool | None = None) -> list[dict[str, Any]]:
    found = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    chosen = [case for case in found if case["function"] == function]
    if accepted is not None:
        chosen = [case for case in chosen if (case["outcome"] == "accept") == accepted]
    assert chosen, (name, function)
    return chosen


def raw(given: dict[str, Any], *names: str) -> list[bytes]:
    return [bytes.fromhex(given[name]) for name in names]


def plain(value: Any) -> Any:
    """Undo the notation of byte strings in `out`."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return bytes.fromhex(value[2:-1]) if isinstance(value, str) and value.startswith("h'") else value


def refuses(spec, work: Callable[[], object], name: str) -> None:
    try:
        work()
    except spec.Refused:
        return
    pytest.fail(f"accepted: {name}")
