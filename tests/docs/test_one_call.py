"""One call, nine functions: the page and the README name the same nine, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "one-call.md").read_text()
ROW = re.compile(r"^\| (\d) \| `([\w/]+\.py): ([\w.]+)` \|", re.MULTILINE)
NINE = ROW.findall(PAGE)


def test_they_are_nine_and_the_same_as_in_the_readme():
    assert [int(number) for number, _, _ in NINE] == list(range(1, 10))
    assert ROW.findall((ROOT / "README.md").read_text()) == NINE


@pytest.mark.parametrize(("number", "path", "name"), NINE)
def test_each_exists_and_its_section_shows_it(number, path, name):
    body: list[ast.stmt] = ast.parse((ROOT / "src" / "keephold" / path).read_text()).body
    for part in name.split("."):
        (found,) = [node for node in body if getattr(node, "name", "") == part]
        body = found.body
    (section,) = re.findall(rf"^## {number}\. .*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert f"\n::: keephold.{path.removesuffix('.py').replace('/', '.')}.{name}\n" in section
