"""`keephold debug`: what is looked at when something that cannot be has happened."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared
from keephold.ledger.differences import Difference
from keephold.programs.comparing import compare_homes, compare_with_node

_SHOWN: Final = 72
"""Characters of a value in the text; `--json` has them whole."""


def diff_state(
    left: Annotated[Path, Parameter(help="Directory of a node that does not run.")],
    right: Annotated[str, Parameter(help="Directory of another one, or the URL of a node that runs.")],
    shared: Shared = SHARED,
) -> None:
    """Compare two nodes' states at one height: the first block they judged differently, paths, slots, indexes."""
    if right.startswith(("http://", "https://")):
        height, found = asyncio.run(compare_with_node(left, right))
    else:
        height, found = compare_homes(left, Path(right))
    facts = {
        "height": height,
        "same": not found,
        "differences": [
            {"kind": item.kind, "where": item.where, "left": item.left, "right": item.right} for item in found
        ],
    }
    emit(facts, _text(height, found), as_json=shared.json)


def _text(height: int, found: list[Difference]) -> str:
    if not found:
        return f"the same state at height {height}"
    lines = [f"{len(found)} difference{'s' if len(found) > 1 else ''} at height {height}"]
    for item in found:
        lines += [f"{item.kind} {item.where}", f"  left   {_cut(item.left)}", f"  right  {_cut(item.right)}"]
    return "\n".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
