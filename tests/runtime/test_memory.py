"""What an instance leaves in its memory, the next one must not find."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import wasmtime

from keephold.base.limits import CALL_FUEL
from keephold.runtime import machine
from keephold.runtime.host import Program
from keephold.runtime.memory import Image, Memories
from keephold.runtime.python.sandbox import PythonSandbox

SOURCE = """
from keephold import *

seen = []

class C(Contract):
    kept: str = ""

    @call
    def go(self, ctx: Call, n: int) -> int:
        seen.append("secret" * n)
        self.kept = "x" * 100
        return len(seen)

    @call
    def die(self, ctx: Call) -> int:
        seen.append("secret" * 1000)
        while True: pass

    @view
    def look(self, ctx: View) -> int:
        seen.append("warm")
        return len(seen)
"""


@pytest.fixture
def image():
    made = Image()
    yield made
    made.close()


@pytest.fixture
def lab(guest, image):
    made = PythonSandbox(Program.open(guest.descriptor, Image(guest.memory)), SOURCE, image)
    yield made
    made.close()


def contents(view) -> bytes:
    return ctypes.string_at(view.base, view.image.size)


def original(image) -> bytes:
    return os.pread(image.descriptor, image.size, 0)


STEPS = [("go", "[1]"), ("go", "[1000000]"), ("die", "[]"), ("go", "[9000000]"), ("no", "["), ("go", "[1]")]


@pytest.mark.parametrize("scan", [True, False], ids=["copied", "dropped"])
def test_a_memory_is_the_image_again_after_every_end(lab, image, slots, call, query, monkeypatch, scan):
    if not scan:
        monkeypatch.setattr(lab._program._memories, "_pagemap", -1)
    assert lab.query(query("look"), slots).value_json == "1"  # the warm instance holds a view of its own
    first = None
    for method, args in STEPS:
        outcome = lab.execute(call(method, args), slots)
        assert outcome.value_json in {"1", "null"}
        (view,) = image.idle
        assert view.size == image.size
        assert contents(view) == original(image)
        if args == "[1]":
            first = first or outcome
            assert outcome == first
    lab.close()
    assert [contents(view) == original(image) for view in image.idle] == [True, True]


def test_what_was_grown_is_inaccessible_and_zero_when_grown_again(lab, image, slots, call):
    big = lab.execute(call("go", "[5000000]"), slots)
    (view,) = image.idle
    maps = [line.split()[:2] for line in Path("/proc/self/maps").read_text().splitlines()]
    span = next(access for area, access in maps if int(area.split("-")[0], 16) == view.base + image.size)
    assert span == "---p"
    assert lab.execute(call("go", "[5000000]"), slots) == big


def test_views_are_used_again_and_never_shared(lab, image, slots, call):
    program = lab._program
    one, two = program.instantiate(CALL_FUEL, image), program.instantiate(CALL_FUEL, image)
    assert len({id(view.base) for view in program._memories._live.values()}) == 2
    one.close()
    two.close()
    bases = {view.base for view in image.idle}
    for _ in range(3):
        lab.execute(call("go", "[1]"), slots)
        assert {view.base for view in image.idle} == bases


def test_a_page_that_was_touched_between_two_scans_is_found(lab, image, slots, call):
    """The list of anonymous pages is kept while nothing faults; a fault must renew it."""
    lab.execute(call("go", "[1]"), slots)
    lab.execute(call("go", "[1]"), slots)
    (view,) = image.idle
    untouched = next(
        place
        for place in range(0, image.size, 4096)
        if not any(start.value <= view.base + place < start.value + size.value for start, _, size in view.copies)
    )
    instance = lab._program.instantiate(CALL_FUEL, image)
    instance._memory()[untouched] ^= 0xFF
    instance.close()
    assert contents(view) == original(image)


def test_the_image_is_a_function_of_guest_and_source(guest, image):
    script = (
        "import sys, hashlib, os\n"
        "from keephold.runtime.host import Program\n"
        "from keephold.runtime.memory import Image\n"
        "from keephold.runtime.python.sandbox import PythonSandbox\n"
        "image = Image()\n"
        "PythonSandbox(Program.open(int(sys.argv[1]), Image(int(sys.argv[2]))), sys.argv[3], image)\n"
        "print(hashlib.sha256(os.pread(image.descriptor, image.size, 0)).hexdigest())\n"
    )
    passed = (guest.descriptor, guest.memory)
    found = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", script, *map(str, passed), SOURCE]
        ran = subprocess.run(
            command, pass_fds=passed, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        found.add(ran.stdout)
    assert len(found) == 1


def test_a_module_that_fills_memory_before_its_snapshot_keeps_it(guest, image, slots, call):
    source = "table = 'x' * 9_000_000\n" + SOURCE.replace("return len(seen)", "return len(table)", 1)
    made = PythonSandbox(Program.open(guest.descriptor, Image(guest.memory)), source, image)
    outcomes = [made.execute(call("go", "[1]"), slots) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    assert outcomes[0].value_json == "9000000"
    made.close()


def test_an_image_cannot_be_altered_or_filled_twice(image):
    image.fill(memoryview(bytearray(8192)))
    with pytest.raises(OSError, match="not permitted"):
        os.pwrite(image.descriptor, b"x", 0)
    with pytest.raises(OSError, match="not permitted"):
        image.fill(memoryview(bytearray(4096)))


PEEK = """(module (memory (export "m") 1 4)
  (func (export "peek") (param i32) (result i32) local.get 0 i32.load offset=%d)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))"""


@pytest.mark.parametrize("offset", [0, 1 << 20, (1 << 32) - 4])
def test_an_access_beyond_the_memory_traps(image, offset):
    image.fill(memoryview(bytearray(b"\1" * (1 << 16))))
    memories = Memories()
    memories.use(image)
    engine = machine.new_engine(memories)
    with wasmtime.Store(engine) as store:
        store.set_fuel(10**6)
        exports = wasmtime.Instance(store, wasmtime.Module(engine, PEEK % offset), []).exports(store)
        for place in (1 << 16, (1 << 31) - 4, -4, -1):
            with pytest.raises(wasmtime.Trap, match="out of bounds"):
                exports["peek"](store, place)
        if not offset:
            assert exports["peek"](store, 0) == 0x01010101
            assert [exports["grow"](store, pages) for pages in (2, 2, 1)] == [1, -1, 3]
            assert exports["peek"](store, (4 << 16) - 4) == 0
            exports["peek"](store, 1 << 16)
            with pytest.raises(wasmtime.Trap, match="out of bounds"):
                exports["peek"](store, 4 << 16)


BROKEN = {
    "new": "M._View = None",
    "get": "M._View.grow = None; m._live = Lying()",
    "leave": "M._View.shrink = None",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_callback_that_fails_ends_the_process(guest, name):
    script = (
        "import sys\n"
        "import keephold.runtime.memory as M\n"
        "from keephold.runtime.host import Program\n"
        "class Lying(dict):\n"
        "    def __getitem__(self, key): raise KeyError(key)\n"
        "program = Program.open(int(sys.argv[1]), M.Image(int(sys.argv[2])))\n"
        "m = program._memories\n"
        f"{BROKEN[name]}\n"
        "program.instantiate(10**9).close()\n"
        "print('went on')\n"
    )
    passed = (guest.descriptor, guest.memory)
    command = [sys.executable, "-c", script, *map(str, passed)]
    ran = subprocess.run(command, pass_fds=passed, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (-signal.SIGABRT, "")


def test_an_exception_before_a_callback_begins_ends_the_process(lab, monkeypatch):
    ended = []
    monkeypatch.setattr("keephold.runtime.host.end", lambda: ended.append(True))
    unraisable = type("Unraisable", (), {"object": lab._program._memories._on_get})
    lab._program._poison(unraisable)
    assert ended
