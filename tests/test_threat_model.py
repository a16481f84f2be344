"""The threat model names functions and tests that exist, and every check listed for deletion is one of its rows."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "threat-model.md"
GUARANTEES = [f"G{number}" for number in range(1, 13)]
ROW = re.compile(r"^\| `(?P<file>[\w/]+\.py): (?P<function>[\w.]+)` \| .+ \| `(?P<test>[\w/]+\.py::test_\w+)` \|$")


class Row(NamedTuple):
    guarantee: str
    file: str
    function: str
    test: str


def rows() -> list[Row]:
    found = []
    guarantee = ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            guarantee = line[3:].strip()
        elif guarantee in GUARANTEES and line.startswith("| `"):
            matched = ROW.match(line)
            assert matched, line
            found.append(Row(guarantee, matched["file"], matched["function"], matched["test"]))
    return found


@cache
def defined(path: Path) -> frozenset[str]:
    """Return every function, class and method of a module, methods behind their class's name."""
    names = set()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, kinds):
            names.add(node.name)
            names |= {f"{node.name}.{inner.name}" for inner in getattr(node, "body", []) if isinstance(inner, kinds)}
    return frozenset(names)


@pytest.fixture(scope="module")
def mutants() -> ModuleType:
    spec = importlib.util.spec_from_file_location("keephold_mutants", ROOT / "tools" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_what_a_table_names_exists(guarantee: str) -> None:
    here = [row for row in rows() if row.guarantee == guarantee]
    assert len(here) >= 5
    for row in here:
        assert row.function in defined(ROOT / "src" / "keephold" / row.file), row
        path, name = row.test.split("::")
        assert name in defined(ROOT / "tests" / path), row


def test_each_guarantee_has_its_attacks_and_each_attack_its_guarantee() -> None:
    files = sorted(path.name for path in (ROOT / "tests" / "hostile").glob("test_g*.py"))
    assert sorted({name[:8] for name in files}) == [f"test_g{number:02}" for number in range(1, 13)]
    for name in files:
        number = int(name[6:8])
        assert any(row.test.startswith(f"hostile/{name}::") for row in rows() if row.guarantee == f"G{number}"), name


def test_every_mutant_is_a_row_and_every_fragment_is_there_once(mutants: ModuleType) -> None:
    listed = mutants.read_list()
    known = set(rows())
    assert len(listed) >= 60
    assert {mutant.guarantee for mutant in listed} == set(GUARANTEES)
    for mutant in listed:
        assert Row(mutant.guarantee, mutant.file, mutant.function, mutant.test) in known, mutant
        altered = mutant.applied((ROOT / mutant.path).read_text())
        assert altered != (ROOT / mutant.path).read_text()
        ast.parse(altered)


def test_the_tests_that_mutants_run_start_no_network(mutants: ModuleType) -> None:
    """They are run alone, a hundred times over."""
    assert not [mutant.test for mutant in mutants.read_list() if mutant.test.startswith(("integration/", "faults/"))]


def test_the_page_speaks_of_every_guarantee_in_the_same_shape() -> None:
    page = PAGE.read_text()
    for guarantee in GUARANTEES:
        section = page.split(f"\n## {guarantee}\n", 1)[1].split("\n## ", 1)[0]
        for heading in ("**Promise.**", "**Mechanism.**", "**What remains.**"):
            assert section.count(heading) == 1, (guarantee, heading)
