"""Where a stopped run stood is read from its memory, which the contract may have filled with anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold.base.limits import CALL_FUEL
from keephold.contract import check
from keephold.contract.dispatch import FILE
from keephold.runtime.effects import Effects
from keephold.runtime.host import OutOfFuel
from keephold.runtime.python import standing
from keephold.runtime.python.standing import Standing, _lines

UNTIMED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

SOURCE = """from keephold import *
class C(Contract):
    @call
    def go(self, ctx: Call) -> int:
        planted = [b"xdebugpy" * 1000]
        n = 0
        while True:
            n += 1
"""
ENV = json.dumps(
    {
        "contract": "khc1",
        "creator": "kh1",
        "entry": 1,
        "height": 1,
        "room": 0,
        "seed": "",
        "sender": "kh1",
        "time_ns": 1,
    }
)


class Memories:
    """The guest's own memory, and what a run that burned its fuel left; not for printing."""

    def __init__(self, pristine: bytes, left: bytearray) -> None:
        self.pristine = pristine
        self.left = left


@pytest.fixture(scope="module")
def memories(program):
    instance = program.instantiate(CALL_FUEL)
    pristine = bytes(instance.memory())
    assert not instance.call("load", json.loads(instance.call("compile", SOURCE))["code"])
    instance.refuel(CALL_FUEL // 100)
    with pytest.raises(OutOfFuel):
        instance.call("run", "call", ENV, "go\n[]", effects=Effects("call", {}))
    left = bytearray(instance.memory())
    instance.close()
    return Memories(pristine, left)


def test_a_stopped_run_stood_in_its_loop(memories):
    pristine, left = memories.pristine, memories.left
    found = Standing(memoryview(pristine))
    assert found.line(memoryview(left), FILE) in (7, 8)
    assert found.line(memoryview(left), "another file") == 0
    assert found.line(memoryview(pristine), FILE) == 0


def test_a_guest_that_says_nothing_or_is_another_version_has_no_lines(memories):
    pristine, left = memories.pristine, memories.left
    at = pristine.find(b"xdebugpy")
    for other in (b"", bytes(1 << 16), b"xdebugpy" * 3, pristine[: at + 600]):
        assert Standing(memoryview(other)).line(memoryview(left), FILE) == 0
    newer = bytearray(pristine)
    newer[at + 8 + 2] += 1
    assert Standing(memoryview(newer)).line(memoryview(left), FILE) == 0


@pytest.fixture(scope="module")
def trail(memories):
    """Every address that is read on the way to the line, with its size."""
    pristine, left = memories.pristine, memories.left
    read = []

    class Traced(standing._Walk):
        def _bytes(self, address, size):
            read.append((address, size))
            return super()._bytes(address, size)

    found = Standing(memoryview(pristine))
    assert Traced(memoryview(left), found._at).line(found._runtime, FILE.encode())
    assert len(read) > 10
    return found, read


@settings(max_examples=300, deadline=None, suppress_health_check=UNTIMED)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(-99, 2**32 - 1)), min_size=1, max_size=3))
def test_whatever_the_memory_holds_there_is_a_line_or_none(memories, trail, drawn):
    left = memories.left
    found, read = trail
    likely = [0, 1, 3, 0x7FFFFFFF, 0xFFFFFFFF, len(left), len(left) - 1, *(address for address, _ in read)]
    changes = [(read[place % len(read)], word if word >= 0 else likely[word % len(likely)]) for place, word in drawn]
    kept = [(address, bytes(left[address : address + size])) for (address, size), _ in changes]
    for (address, size), alien in changes:
        left[address : address + size] = (alien.to_bytes(4, "little") * (size // 4 + 1))[:size]
    try:
        assert 0 <= found.line(memoryview(left), FILE) <= standing._LARGEST
    finally:
        for address, before in reversed(kept):
            left[address : address + len(before)] = before


def test_frames_that_go_round_end(memories, trail):
    left = memories.left
    found, _ = trail
    changed = bytearray(left)
    runtime = changed.find(FILE.encode() + b"\0")
    while runtime >= 0:  # no frame is the contract's any more
        changed[runtime] = 0
        runtime = changed.find(FILE.encode() + b"\0")
    walk = standing._Walk(memoryview(changed), found._at)
    thread = walk._word(walk._word(found._runtime + found._at.interpreters) + found._at.threads)
    frame = walk._word(thread + found._at.frame)
    assert found.line(memoryview(changed), FILE) == 0
    changed[frame + found._at.previous : frame + found._at.previous + 4] = frame.to_bytes(4, "little")
    assert found.line(memoryview(changed), FILE) == 0


def codes(path: Path):
    waiting = [compile(path.read_text(), str(path), "exec")]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [constant for constant in code.co_consts if hasattr(constant, "co_code")]


@pytest.mark.parametrize("path", sorted(Path(check.__file__).parent.glob("*.py")), ids=lambda path: path.stem)
def test_lines_are_those_that_python_reads(path):
    for code in codes(path):
        expected = {at: line or 0 for start, end, line in code.co_lines() for at in range(start, end, 2)}
        told, begin = {}, 0
        for end, line in _lines(code.co_linetable, code.co_firstlineno):
            told.update(dict.fromkeys(range(begin, end, 2), line))
            begin = end
        assert told == expected


@given(st.binary(max_size=200), st.integers(0, 2**32 - 1))
def test_a_table_of_anything_is_lines_of_something(table, first):
    ends = [end for end, line in _lines(table, first) if line >= 0]
    assert ends == sorted(ends)
    assert len(ends) <= len(table)
