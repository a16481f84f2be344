"""The supervisor leaves nothing running and brings back what dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from queue import Queue

import pytest

from keephold.testing.supervisor import Died, Event, Program, Started, Supervisor

SLEEPER = Program("sleeper", "sleeper")
PATIENCE = 120


@pytest.fixture
def sleeper(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sleeper.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(600)\n")
    (tmp_path / "stubborn.py").write_text(
        "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)\n"
    )
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def eventually(condition, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("did not become true in time")
        time.sleep(0.01)


def test_stop_ends_all_children(tmp_path: Path, sleeper: dict[str, str]) -> None:
    with Supervisor(tmp_path, environment=sleeper) as supervisor:
        supervisor.start(SLEEPER)
        supervisor.start(Program("other", "sleeper"))
        pids = supervisor.pids
        assert set(pids) == {"sleeper", "other"}
    assert not any(map(is_running, pids.values()))
    supervisor.stop()


def test_a_child_that_dies_comes_back_and_is_reported(tmp_path: Path, sleeper: dict[str, str], monkeypatch) -> None:
    monkeypatch.setattr("keephold.testing.supervisor.SETTLED", PATIENCE)  # the first death is not forgotten meanwhile
    events: Queue[Event] = Queue()
    with Supervisor(tmp_path, events.put, sleeper) as supervisor:
        supervisor.start(SLEEPER)
        first = events.get(timeout=PATIENCE)
        assert isinstance(first, Started)
        os.kill(first.pid, signal.SIGKILL)
        assert events.get(timeout=PATIENCE) == Died("sleeper", -9, 0.1)
        second = events.get(timeout=PATIENCE)
        assert isinstance(second, Started)
        assert second.pid != first.pid
        supervisor.kill("sleeper")
        assert isinstance(died := events.get(timeout=PATIENCE), Died)
        assert died.pause == pytest.approx(0.2)


@pytest.mark.parametrize("end", [lambda supervisor: supervisor.kill("parent", hold=True), Supervisor.stop])
def test_who_kills_a_child_finds_nothing_of_what_it_had_started(tmp_path: Path, sleeper: dict[str, str], end) -> None:
    """A grandchild in a group of its own that takes a while to notice: as CometBFT, which the kernel kills."""
    grandchild = "import sys, time; print('up', flush=True); sys.stdin.read(); time.sleep(0.5)"
    (tmp_path / "parent.py").write_text(
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {grandchild!r}], stdin=-1, stdout=-1, process_group=0)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with Supervisor(tmp_path, environment=sleeper) as supervisor:
        supervisor.start(Program("parent", "parent"))
        log = supervisor.log("parent")
        eventually(lambda: log.read_text().endswith("\n"), seconds=120)
        pid = int(log.read_text())
        assert is_running(pid)
        end(supervisor)
        assert not is_running(pid)


def test_a_held_child_stays_down_until_resumed(tmp_path: Path, sleeper: dict[str, str]) -> None:
    events: Queue[Event] = Queue()
    with Supervisor(tmp_path, events.put, sleeper) as supervisor:
        supervisor.start(SLEEPER)
        supervisor.kill("sleeper", hold=True)
        assert [type(events.get(timeout=PATIENCE)) for _ in range(2)] == [Started, Died]
        assert supervisor.pids == {}
        supervisor.resume("sleeper")
        assert isinstance(events.get(timeout=PATIENCE), Started)


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path, sleeper: dict[str, str], monkeypatch) -> None:
    monkeypatch.setattr("keephold.testing.supervisor.GRACE", 0.2)
    with Supervisor(tmp_path, environment=sleeper) as supervisor:
        supervisor.start(Program("stubborn", "stubborn"))
        eventually(lambda: b"up" in supervisor.log("stubborn").read_bytes())
        pid = supervisor.pids["stubborn"]
    assert not is_running(pid)


def test_names_are_unique_and_known(tmp_path: Path, sleeper: dict[str, str]) -> None:
    with Supervisor(tmp_path, environment=sleeper) as supervisor:
        supervisor.start(SLEEPER)
        with pytest.raises(ValueError, match="runs already"):
            supervisor.start(SLEEPER)
        with pytest.raises(KeyError):
            supervisor.kill("nobody")
    with pytest.raises(RuntimeError):
        supervisor.start(SLEEPER)


def test_kill_9_of_the_supervisor_leaves_nothing(tmp_path: Path, sleeper: dict[str, str]) -> None:
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from keephold.testing.supervisor import Program, Supervisor
        supervisor = Supervisor(Path({str(tmp_path)!r}))
        for name in ("a", "b"):
            supervisor.start(Program(name, "sleeper"))
        print(*supervisor.pids.values(), flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=sleeper) as parent:
        children = [int(word) for word in parent.stdout.readline().split()]
        eventually(lambda: all(b"up" in (tmp_path / f"{name}.log").read_bytes() for name in "ab"))
        assert all(map(is_running, children))
        parent.kill()
    eventually(lambda: not any(map(is_running, children)))


def test_a_child_whose_parent_is_gone_before_it_is_tethered_exits(sleeper: dict[str, str]) -> None:
    command = [sys.executable, "-m", "keephold.testing.tether", "1", "sleeper"]
    done = subprocess.run(command, env=sleeper, timeout=PATIENCE, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout == b""
