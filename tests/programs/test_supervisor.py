"""The supervisor over a node that is played: it dies, loops, halts, ends, hangs, and leaves orphans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keephold.programs import restarts
from keephold.testing.processes import of_environment

MARK = "KEEPHOLD_TEST_SUPERVISED"

SHELL = """
import logging, sys
from keephold.base.errors import KeepholdError
from keephold.programs import restarts, supervisor
restarts.FIRST_PAUSE = 0.01
restarts.GRACE = float(sys.argv[1])
supervisor._LINGERING = 0.5
try:
    supervisor.supervise(
        lambda parent, report: [sys.executable, sys.argv[2], sys.argv[3], str(parent), str(report)],
        lambda state: print("state", type(state).__name__, flush=True),
    )
except KeepholdError as error:
    print("raised", error, flush=True)
    sys.exit(error.exit_status)
print("over", flush=True)
"""

NODE = """
import ctypes, json, os, signal, subprocess, sys, time
from pathlib import Path
from keephold.programs.process import die_with_parent
mode, parent, report = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
die_with_parent(parent)
lives = Path(__file__).with_name("lives")
lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
def sleeper(*, bound):
    code = "import time; time.sleep(600)"
    if bound:
        code = f"from keephold.programs.process import die_with_parent; die_with_parent({os.getpid()}); " + code
    return subprocess.Popen([sys.executable, "-c", code], process_group=0)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "once" and len(lives.read_text()) > 1 or mode in {"serves", "stubborn", "comet", "orphan"}:
    if mode in {"comet", "orphan"}:
        child = sleeper(bound=mode == "comet")
        Path(__file__).with_name("child").write_text(str(child.pid))
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
print("something is wrong", flush=True)
if mode == "halts":
    os.write(report, json.dumps({"code": "halted", "reason": "store", "detail": "leveldb corrupted"}).encode())
    sys.exit(12)
if mode == "half":
    os.write(report, b'{"code": "hal')
sys.exit(3)
"""


class Supervised:
    def __init__(self, place: Path, mode: str, grace: float) -> None:
        (place / "shell.py").write_text(SHELL)
        (place / "node.py").write_text(NODE)
        self.place = place
        self.out = (place / "out").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, str(place / "shell.py"), str(grace), str(place / "node.py"), mode],
            stdout=self.out,
            stderr=self.out,
            env={**os.environ, MARK: str(place)},
        )

    def said(self) -> str:
        return (self.place / "out").read_text()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 240
        while not condition():
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.02)

    def lives(self) -> int:
        path = self.place / "lives"
        return len(path.read_text()) if path.exists() else 0

    def left(self) -> list[int]:
        return of_environment(f"{MARK}={self.place}")


@pytest.fixture
def supervised(tmp_path) -> Iterator[Callable[..., Supervised]]:
    made: list[Supervised] = []

    def make(mode: str, grace: float = 30.0) -> Supervised:
        made.append(Supervised(tmp_path, mode, grace))
        return made[-1]

    yield make
    for item in made:
        item.process.kill()
        item.process.wait()
        item.out.close()


def test_a_node_that_died_lives_again_and_ends_in_order(supervised):
    net = supervised("once")
    net.until(lambda: "ready" in net.said())
    assert net.lives() == 2
    net.process.send_signal(signal.SIGTERM)
    assert net.process.wait(240) == 0
    assert net.said().split("ready")[1].split() == ["state", "Ending", "state", "Ended", "over"]
    assert net.left() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it(supervised, number):
    net = supervised("serves")
    net.until(lambda: "ready" in net.said())
    net.process.send_signal(number)
    assert net.process.wait(240) == 0
    assert net.left() == []


def test_a_crash_loop_ends_with_its_reason(supervised):
    net = supervised("dies")
    assert net.process.wait(240) == 12
    assert net.lives() == restarts.MOST_DEATHS
    assert "raised crash_loop: the node died 6 times" in net.said()
    assert "with status 3" in net.said()
    assert "it said: something is wrong" in net.said()


@pytest.mark.parametrize(("mode", "lives", "raised"), [("halts", 1, "store: leveldb"), ("half", 6, "crash_loop")])
def test_a_last_word_is_taken_whole_or_not_at_all(supervised, mode, lives, raised):
    net = supervised(mode)
    assert net.process.wait(240) == 12
    assert net.lives() == lives
    assert f"raised {raised}" in net.said()


def test_a_node_that_does_not_end_is_killed(supervised):
    net = supervised("stubborn", grace=0.2)
    net.until(lambda: "ready" in net.said())
    net.process.send_signal(signal.SIGTERM)
    assert net.process.wait(240) == 0
    assert "state Killing" in net.said()
    assert net.left() == []


def test_a_killed_supervisor_leaves_nothing(supervised):
    net = supervised("comet")
    net.until(lambda: "ready" in net.said())
    assert len(net.left()) == 3
    net.process.kill()
    net.until(lambda: net.left() == [])


def test_the_next_life_begins_when_nothing_of_the_last_one_is_left(supervised):
    """Not even of one that the kernel was not asked to kill: an orphan that holds a port would doom the next life."""
    net = supervised("orphan")
    net.until(lambda: "ready" in net.said())
    orphan = int((net.place / "child").read_text())
    (node,) = [pid for pid in net.left() if pid not in {orphan, net.process.pid}]
    os.kill(node, signal.SIGKILL)
    net.until(lambda: net.lives() == 2 and "state Running" in net.said())
    assert not Path(f"/proc/{orphan}").exists()
    net.process.send_signal(signal.SIGTERM)
    net.process.wait(240)


def test_the_word_of_an_error_is_what_the_node_writes():
    word = restarts.Word.of(restarts.Halted("store", "damaged"))
    assert json.loads(restarts.msgspec.json.encode(word)) == {"code": "halted", "detail": "damaged", "reason": "store"}
