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
