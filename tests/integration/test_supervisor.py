"""`keephold devnet` leaves nothing behind, however it ends, and listens on nothing itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keephold.client.account import Account
from keephold.client.network import Network
from keephold.client.pinned import PinnedNetwork
from keephold.testing.processes import is_alive, listeners, of_session, tree


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict]]:
    """The command as a user runs it, in a session of its own, once it told its facts."""
    with (
        (tmp_path / "stderr").open("w") as stderr,
        subprocess.Popen(
            [sys.executable, "-m", "keephold", "devnet", "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as process,
    ):
        assert process.stdout is not None
        try:
            lines = ""
            while not lines.endswith("}\n"):
                line = process.stdout.readline()
                assert line, (tmp_path / "stderr").read_text()
                lines += line
            yield process, json.loads(lines)
        finally:
            process.kill()


@pytest.fixture
def at_work(supervisor: tuple[subprocess.Popen[str], dict], token) -> tuple[subprocess.Popen[str], dict]:
    """With a contract running, so that an execution process lives too."""
    process, facts = supervisor
    pinned = PinnedNetwork.read(Path(facts["directory"]))
    key = pinned.devnet_keys()["alice"]
    with Network.connect(pinned.url, pinned.genesis) as network:
        network.deploy(token, "SUP", 1, account=Account(key))
    return process, facts


@pytest.mark.skipif(os.geteuid() != 0, reason="enclaves are not dumpable: only root sees their descriptors")
def test_only_the_node_of_all_its_processes_listens(at_work: tuple[subprocess.Popen[str], dict]) -> None:
    process, facts = at_work
    assert [pid for pid in tree(process.pid) if listeners(pid)] == [facts["pids"]["node"]]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_its_end_leaves_nothing_running(
    at_work: tuple[subprocess.Popen[str], dict], number: signal.Signals, eventually: Callable[..., None]
) -> None:
    process, facts = at_work
    family = set(tree(process.pid)) | set(of_session(process.pid))
    assert len(family) >= 1 + len(facts["pids"]) + 1, "supervisor, programs, execution process"
    process.send_signal(number)
    status = process.wait(240)
    eventually(lambda: not any(map(is_alive, family)) and not of_session(process.pid), "every process is gone")
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert not Path(facts["directory"]).exists(), "an ephemeral directory goes with an orderly end"
