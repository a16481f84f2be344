"""Any bytes, and any edit of honest ones: accepted in their one spelling, or refused with the error that is declared.

The same parsers are given to a coverage-guided fuzzer by `make fuzz`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.parsers import PARSERS, REACHED, UNREACHED

SOURCE = Path(__file__).parents[2] / "src" / "keephold"
EDITS = st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 8), st.binary(max_size=8)), max_size=3)
VERBS = ("decode", "open", "parse", "read", "unpad", "refusal", "check_public")


def edited(raw: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for position, removed, inserted in edits:
        at = position % (len(raw) + 1)
        raw = raw[:at] + inserted + raw[at + removed :]
    return raw


@pytest.mark.parametrize("name", PARSERS)
def test_honest_bytes_are_accepted(name):
    assert all(PARSERS[name].feed(raw) for raw in PARSERS[name].samples)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_bytes_are_accepted_or_refused_as_declared(name, data):
    parser = PARSERS[name]
    start = data.draw(st.sampled_from((b"", *parser.samples)))
    parser.feed(data.draw(st.binary(max_size=200)) if not start else edited(start, data.draw(EDITS)))


def readers() -> set[str]:
    """Return `module.function` of every public function that turns bytes or text from somewhere into a value."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith(VERBS):
                continue
            kinds = {ast.unparse(item.annotation) for item in node.args.args if item.annotation is not None}
            if kinds & {"bytes", "memoryview", "Path"} and node.returns is not None:
                found.add(f"{module}.{node.name}")
    return found


def test_no_reader_is_left_out():
    """A new one is named in `tools/fuzz/parsers.py`: with the parser that reaches it, or the reason why none does."""
    assert readers() == REACHED.keys() | UNREACHED.keys()
    assert REACHED.keys().isdisjoint(UNREACHED)
    assert PARSERS.keys() >= set(REACHED.values())
