"""What commands print: text for people, one JSON object with `--json`, errors on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Final

HINTS: Final = {
    "keystore": "see `keephold account --help`",
    "port_taken": "choose another --port, or --port 0 for any free one",
    "node_unreachable": "does it run? `keephold devnet` starts a network here; network.json names the node of others",
    "halted": "starting it again would not cure it",
    "no_live_worker": "`keephold show` lists the workers; a worker that restarts needs a moment",
    "deadline_exceeded": "it may still happen: ask again before repeating it, or give a longer --deadline",
    "chain_refused": "this node does not follow the genesis you pinned: do not trust it",
    "header_invalid": "this node does not follow the genesis you pinned: do not trust it",
    "proof_invalid": "this node does not follow the genesis you pinned: do not trust it",
    "trust_expired": "pin a newer header of this network by hand",
}
"""What to do about an error, by its code."""


def report_error(code: str, message: str, exit_status: int, *, as_json: bool) -> None:
    """Print an error on standard error."""
    hint = HINTS.get(code, "")
    if as_json:
        body = {"error": {"code": code, "message": message, "hint": hint, "exit_status": exit_status}}
        print(json.dumps(body), file=sys.stderr)
        return
    line = " ".join(message.split())
    print(f"keephold: {code}: {line}" + (f" ({hint})" if hint else ""), file=sys.stderr)


def tell(line: str) -> None:
    """Tell about something that takes seconds."""
    print(f"  {line}", file=sys.stderr, flush=True)


def emit(body: Mapping[str, object], text: str, *, as_json: bool) -> None:
    """Print a result: the object with `--json`, else the text."""
    print(json.dumps(plain(body)) if as_json else text, flush=True)


def readable(value: object) -> str:
    """Return what a contract returned for people: one order in sets, and bytes and addresses as commands take them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {readable(item)}" for name, item in value.items()) + "}"
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(readable, value))) + "}"
    if isinstance(value, tuple | list):
        return "(" + ", ".join(map(readable, value)) + ("," if len(value) == 1 else "") + ")"
    return value.hex() if isinstance(value, bytes) else str(value)


def plain(value: object) -> object:
    """Return a value as JSON spells it: bytes in hexadecimal, large integers and addresses as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, frozenset):
        return sorted((plain(item) for item in value), key=str)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    return str(value)
