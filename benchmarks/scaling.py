"""All figures of docs/scaling.md, measured on this machine and written to docs/scaling/figures.json.

    python benchmarks/scaling.py                        all parts
    python benchmarks/scaling.py inbox validators       these; the others stay as they are

Each part says when and where it was measured. `make tables` draws the page's plots and tables from the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import disk
import growth
import rooms
import running
from cometbft import SECONDS, VALIDATORS, WINDOW, compare
from facts import machine_facts
from measure import Result, tell
from place import place
from run import show, write
from transfers import measure_transfers

FILE = Path(__file__).parent.parent / "docs" / "scaling" / "figures.json"
Row = dict[str, float | str]

ROLES = {
    "gatekeepers": ("g",),
    "nodes": ("n",),
    "cometbft": (),
    "worker": ("w",),
    "execution": (),
    "clients": ("load generator",),
}
NAMES = {
    "calls_per_s": ("sealed calls acknowledged", "acknowledged"),
    "receipt_p50_ms": ("from sealing to the proven receipt, p50",),
    "receipt_p95_ms": ("from sealing to the proven receipt, p95",),
    "order_p50_ms": ("from signing to the verified order, p50",),
    "order_p95_ms": ("from signing to the verified order, p95",),
    "blocks_per_s": ("blocks",),
    "call_bytes": ("transaction of a call",),
    "block_bytes": ("blocks for each transaction",),
    "kvstore_per_s": ("kvstore: transactions in blocks",),
    "kvstore_p50_ms": ("kvstore: from sending to the block, p50",),
    "ratio": ("calls for each transaction of the kvstore",),
}


def role(process: str) -> str:
    """Return what a process of a devnet is."""
    if "child" in process:
        return "cometbft"
    if "execution" in process:
        return "execution"
    return next(name for name, starts in ROLES.items() if starts and process.startswith(starts))


def row(engine: str, validators: int, result: Result) -> Row:
    """Return a network's figures, flat; processor time by role, all processes of a role together."""
    found: Row = {"engine": engine, "validators": validators}
    values = {figure.name: figure.value for figure in result.figures}
    found |= {name: values[said] for name, spellings in NAMES.items() for said in spellings if said in values}
    for share in result.shares:
        if share.what.startswith("kvstore's"):
            name = "cpu_kvstore_ms"
        elif share.unit == "ms CPU/call" and share.what != "all of these":
            name = f"cpu_{role(share.what)}_ms"
        else:
            name = {"all of these": "cores", "other programs on the machine": "other_cores"}.get(share.what, "")
            if share.unit != "cores":
                continue
        found[name] = float(found.get(name, 0.0)) + share.value
    return found


def networks() -> list[Row]:
    """Return the embedded engine's figures and CometBFT's, each under the same load."""
    tell("the embedded engine")
    with place() as where:
        alone = measure_transfers(where, SECONDS, window=WINDOW)
    results = [compare(count, SECONDS) for count in VALIDATORS]
    write(machine_facts(), results, {}, "cometbft.json")
    show(machine_facts(), results, {}, "cometbft.json")
    return [
        row("embedded", 1, alone),
        *(row("cometbft", count, result) for count, result in zip(VALIDATORS, results, strict=True)),
    ]


def slots() -> list[Row]:
    return [dict(growth.measure(size)) for size in growth.SIZES]


def room(name: str) -> Callable[[], list[Row]]:
    return lambda: [dict(found) for found in rooms.every({name: rooms.SIZES[name]})[name]]


def sizes() -> list[Row]:
    return [dict(running.measure(count)) for count in running.VALIDATORS]


def files() -> list[Row]:
    return [disk.alone(kind) for kind in disk.KINDS]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "networks": networks,
    "running": sizes,
    "slots": slots,
    **{name: room(name) for name in rooms.SIZES},
    "files": files,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    given = parser.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    told = json.loads(FILE.read_text()) if FILE.exists() else {}
    failed = []
    for name in given.parts or PARTS:
        print(f"{name}…", file=sys.stderr, flush=True)
        facts = machine_facts()
        try:
            told[name] = {"machine": facts, "rows": PARTS[name]()}
        except Exception:  # noqa: BLE001 - the other parts' figures are worth having
            traceback.print_exc()
            failed.append(name)
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps({part: told[part] for part in PARTS if part in told}, indent=1) + "\n")
    if failed:
        print(f"failed, and left as it was: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
