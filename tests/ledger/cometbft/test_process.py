"""The supervised process, with scripts in CometBFT's place."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from keephold.ledger.engines.cometbft.process import CometProcess
from keephold.ledger.engines.cometbft.telling import LastWords


def script(directory: Path, body: str) -> Path:
    path = directory / "cometbft"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it went, before or while it was read
        return False


@pytest.mark.parametrize(("body", "reason"), [("exit 3", "with status 3"), ("kill -9 $$", "by signal 9")])
def test_an_end_that_nobody_asked_for_is_told(tmp_path, wait, body, reason):
    ended: list[str] = []
    process = CometProcess(script(tmp_path, body), tmp_path)
    process.start(ended.append)
    wait(lambda: ended == [f"CometBFT ended {reason}"])
    process.stop()


def test_it_is_started_on_its_directory(tmp_path, wait):
    ended: list[str] = []
    process = CometProcess(script(tmp_path, f'echo "$@" > {tmp_path}/said'), tmp_path)
    process.start(ended.append)
    wait(lambda: bool(ended))
    process.stop()
    assert (tmp_path / "said").read_text() == f"start --home {tmp_path}\n"


def test_stopping_ends_it_and_is_no_failure(tmp_path, wait):
    ended: list[str] = []
    process = CometProcess(script(tmp_path, f"touch {tmp_path}/up; exec sleep 1000"), tmp_path)
    process.start(ended.append)
    wait((tmp_path / "up").exists)
    pid = process.pid
    assert pid is not None
    process.stop()
    assert not is_alive(pid)
    assert process.pid is None
    assert ended == []


def test_one_that_ignores_being_asked_is_killed(tmp_path, wait, monkeypatch):
    monkeypatch.setattr("keephold.ledger.engines.cometbft.process._GRACE", 0.1)
    process = CometProcess(script(tmp_path, f"trap '' TERM; touch {tmp_path}/up; while :; do sleep 1; done"), tmp_path)
    process.start(print)
    wait((tmp_path / "up").exists)
    pid = process.pid
    assert pid is not None
    process.stop()
    assert not is_alive(pid)


def test_stopping_what_was_never_started(tmp_path):
    CometProcess(tmp_path / "cometbft", tmp_path).stop()


def test_it_dies_with_its_parent_however_that_dies(tmp_path, wait):
    binary = script(tmp_path, f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 1000")
    program = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from keephold.ledger.engines.cometbft.process import CometProcess
        CometProcess(Path({str(binary)!r}), Path({str(tmp_path)!r})).start(print)
        time.sleep(1000)
    """)
    with subprocess.Popen([sys.executable, "-c", program]) as parent:
        wait((tmp_path / "pid").exists)
        pid = int((tmp_path / "pid").read_text())
        assert is_alive(pid)
        os.kill(parent.pid, signal.SIGKILL)
    wait(lambda: not is_alive(pid))


def last_word(directory: Path, body: str, wait: Callable[[Callable[[], bool]], None]) -> str:
    ended: list[str] = []
    process = CometProcess(script(directory, body), directory)
    process.start(ended.append)
    wait(lambda: bool(ended))
    process.stop()
    return ended[0]


def test_it_ends_with_its_fatal_line_and_the_log_passes_through(tmp_path, wait, capfd):
    said = last_word(tmp_path, "echo one; echo 'panic: two' >&2; echo 'goroutine 1'; echo '  main.go:3'; exit 2", wait)
    assert said == "CometBFT ended with status 2: panic: two"
    assert capfd.readouterr().err.splitlines() == ["one", "panic: two", "goroutine 1", "  main.go:3"]


def test_without_a_fatal_line_the_last_one_counts(tmp_path, wait):
    assert last_word(tmp_path, "echo one; echo two; echo; exit 3", wait) == "CometBFT ended with status 3: two"


def test_a_consensus_that_failed_ends_it_though_it_lives(tmp_path, wait):
    failed = '{"_msg":"CONSENSUS FAILURE!!!","err":"wrong"}'
    assert last_word(tmp_path, f"echo '{failed}'; exec sleep 600", wait) == f"CometBFT ended by signal 9: {failed}"


def test_only_the_beginning_of_the_first_fatal_line_is_kept():
    words = LastWords()
    assert words.text == ""
    assert not words.hear(b"panic: " + b"x" * 10_000 + b"\n")
    assert len(words.text) < 2000
    assert words.hear(b'{"_msg":"CONSENSUS FAILURE!!!"}')
    assert words.text.startswith("panic: ")
