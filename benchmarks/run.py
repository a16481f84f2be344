"""Run benchmarks and print a table; `bench-results/latest.json` has all of it with the machine's facts.

python benchmarks/run.py                        all of them
python benchmarks/run.py transfers queries      these
python benchmarks/run.py --seconds 10 vm        shorter, or longer, than the 30 seconds of the figures
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import cast

from facts import machine_facts
from measure import Figure, Result, tell
from rich.console import Console
from rich.table import Table

NAMES = ("crypto", "vm", "release", "devnet", "transfers", "queries")
SECONDS = 30.0
RESULTS = Path(__file__).parent.parent / "bench-results"


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks of keephold.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each load runs")
    given = parser.parse_args()
    unknown = set(given.names) - set(NAMES)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    facts = machine_facts()
    results: list[Result] = []
    failed: dict[str, str] = {}
    for name in given.names or NAMES:
        print(f"{name}…", file=sys.stderr, flush=True)
        began = time.monotonic()
        try:
            results.append(cast(Result, importlib.import_module(name).run(given.seconds)))
        except Exception as error:  # noqa: BLE001 - the others' figures are worth having
            failed[name] = f"{type(error).__name__}: {error}"
            tell(f"failed: {failed[name]}")
        tell(f"took {time.monotonic() - began:.0f} s")
    write(facts, results, failed)
    show(facts, results, failed)
    return 1 if failed else 0


def write(facts: dict[str, object], results: list[Result], failed: dict[str, str], file: str = "latest.json") -> None:
    RESULTS.mkdir(exist_ok=True)
    promises = [
        {"benchmark": result.name, "figure": figure.name, "value": figure.value, "unit": figure.unit}
        | {figure.target.direction: figure.target.bound, "kept": figure.target.is_met(figure.value)}
        for result in results
        for figure in result.figures
        if figure.target is not None
    ]
    told = {
        "machine": facts,
        "promises": promises,
        "results": [asdict(result) for result in results],
        "failed": failed,
    }
    (RESULTS / file).write_text(json.dumps(told, indent=2) + "\n")


def show(facts: dict[str, object], results: list[Result], failed: dict[str, str], file: str = "latest.json") -> None:
    console = Console()
    for result in results:
        table = Table(title=result.name, caption=result.sentence, title_justify="left", caption_justify="left")
        table.add_column("figure")
        table.add_column("value", justify="right")
        table.add_column("unit")
        table.add_column("promised")
        table.add_column("")
        for figure in result.figures:
            table.add_row(figure.name, text_of(figure.value), figure.unit, promised(figure), figure.note)
        if result.shares:
            table.add_section()
        for share in result.shares:
            table.add_row(f"[dim]{share.what}[/]", f"[dim]{text_of(share.value)}[/]", f"[dim]{share.unit}[/]", "", "")
        console.print(table)
        for note in result.notes:
            console.print(f"  {note}")
        console.print()
    for name, reason in failed.items():
        console.print(f"[red]{name} failed:[/] {reason}")
    versions = f"{facts['python']}, {facts['cores']} cores of {facts['processor']}, load before {facts['load_before']}"
    console.print(f"{facts['date']}, commit {str(facts['commit'])[:12]}{' with changes' if facts['changed'] else ''}")
    console.print(f"{versions}; all of it in {RESULTS / file}")


def promised(figure: Figure) -> str:
    if figure.target is None:
        return ""
    text = f"{figure.target.direction} {figure.target.bound:g}"
    if figure.target.is_met(figure.value):
        return f"[green]{text}: kept[/]"
    missed = abs(figure.value / figure.target.bound - 1)
    return f"[red]{text}: missed by {missed:.0%}[/]"


def text_of(value: float) -> str:
    digits = 0 if abs(value) >= 1000 or value == int(value) else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
