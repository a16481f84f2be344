"""docs/scaling.md: its plots and tables are of the committed figures, and the command that measures them runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reference import scaling
from reference.charts import Bar, Panel, bars, panels, spelled

ROOT = Path(__file__).parents[2]
PLOTS = scaling.plots()


@pytest.mark.parametrize("name", PLOTS)
def test_no_plot_is_stale(name):
    assert (scaling.PLACE / name).read_text() == PLOTS[name], "run `make tables` and commit what changed"


def test_every_plot_stands_on_the_page_and_no_other():
    page = (scaling.PLACE.parent / "scaling.md").read_text()
    assert {path.name for path in scaling.PLACE.glob("*.svg")} == set(PLOTS)
    assert all(f"](scaling/{name})" in page for name in PLOTS)


def test_every_part_says_when_and_beside_what_it_was_measured():
    for told in scaling.figures().values():
        assert {"date", "commit", "changed", "cores", "processor", "load_before"} <= set(told["machine"])
        assert told["rows"]


def test_the_command_on_the_page_measures_and_then_draws():
    told = subprocess.run(
        ["make", "--dry-run", "bench-cometbft"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    assert told.index("benchmarks/scaling.py") < told.index("-m reference")


@pytest.mark.parametrize(
    ("room", "size"), [("inbox", 3), ("contracts", 2), ("validators", 2), ("idle", 24), ("busy", 2), ("pruned", 2)]
)
def test_each_room_measures_what_its_table_shows(room, size):
    """At a size that takes a second; warm-ups of a day's rooms are cut short."""
    code = (
        "import sys, json; sys.path.insert(0, 'benchmarks'); import rooms; "
        "rooms.WARM_BLOCKS, rooms.WINDOW_SECONDS, rooms.LOOKS = 4, 4.0, 2; "
        f"print(json.dumps(rooms.ROOMS[{room!r}][0]({size})))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert {"size", *found} == set(scaling.rows(room)[0])
    assert all(value >= 0 for name, value in found.items() if "per_round" not in name and "mb" not in name)


def test_every_network_that_ran_shows_all_its_figures():
    """Nothing can be killed of one validator; every other cell is filled."""
    _, _, *lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in scaling.running().splitlines()]
    one, *more = zip(*(cells[1:] for cells in lines), strict=True)
    assert [cells[0] for cells, figure in zip(lines, one, strict=True) if not figure] == [
        cells[0] for cells in lines[-5:]
    ]
    assert all(map(all, more))
    assert [row["killed"] for row in scaling.rows("running")[1:]] == [
        (row["validators"] - 1) // 3 for row in scaling.rows("running")[1:]
    ]


def test_our_files_are_weighed_by_what_grows():
    code = (
        "import sys, json; sys.path.insert(0, 'benchmarks'); import disk, bare\n"
        "with bare.bare() as ledger:\n"
        "    ledger.block(ledger.calls([0] * 3)); ledger.block()\n"
        "    print(json.dumps(disk.ours(ledger.directory, 2)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    found = json.loads(run.stdout)
    assert set(found) < set(scaling.rows("files")[0])
    assert all(value > 0 for value in found.values())


def test_a_slope_within_its_error_is_no_growth():
    row = {"memory_bytes_per_round": 2.0, "memory_error_bytes_per_round": 3.0}
    assert scaling._slope(row, "memory", 10**6) == "0 ± 3"
    assert scaling._slope(row | {"memory_error_bytes_per_round": 1.0}, "memory", 10**6) == "2 ± 1"


def test_a_chart_bears_every_value_and_escapes_names():
    shown = [Bar("a & b", (1.0, 2.0)), Bar("c", (4.0,))]
    drawn = bars("t <1>", "ms", ("x", "y"), shown)
    ET.fromstring(drawn)
    assert all(value in drawn for value in (">3 ms<", ">4 ms<", "a &amp; b"))
    drawn = panels("t", [Panel("p", "ms", "n", [(10, 1), (100, 50), (1000, 2000)])])
    ET.fromstring(drawn)
    assert all(f">{value}<" in drawn for value in ("1", "50", "2\u202f000", "10", "100", "1\u202f000"))


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.0123"), (1.5, "1.5"), (12.34, "12.3"), (999.6, "1000"), (1234, "1\u202f234")],
)
def test_numbers_have_three_digits(value, text):
    assert spelled(value) == text
