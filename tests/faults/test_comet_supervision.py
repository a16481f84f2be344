"""`keephold node` over real CometBFT: what it starts again, what it does not, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import httpx2
import pytest

from keephold.chain.sparse import SparseMap
from keephold.programs.founding import Plan, found
from keephold.programs.law_tables import Law
from keephold.programs.members import CONFIG
from keephold.programs.node import NodeConfig, read_config
from keephold.testing.ports import free_ports
from keephold.testing.processes import of_environment

pytestmark = [pytest.mark.comet, pytest.mark.slow]

MARK = "KEEPHOLD_TEST_PLACE"
PATIENCE = 300.0


class Node:
    """`keephold node` of a network of one, in a directory of its own."""

    def __init__(self, place: Path, binary: Path, law: Law) -> None:
        ports = free_ports(0, 0, 0)
        (self.home,) = found(place / "net", law, Plan(("127.0.0.1",), *ports, binary=str(binary))).members
        self.config: NodeConfig = read_config(self.home / CONFIG)
        self.place = place
        self.log = place / "node.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "keephold", "node", "--home", str(self.home)],
                env={**os.environ, MARK: str(self.place)},
                stdout=log,
                stderr=log,
            )

    def wait(self, status: int) -> str:
        """Return the log of a node that ended by itself with a status."""
        assert self.process is not None
        assert self.process.wait(PATIENCE) == status, self.log.read_text()
        assert self.left() == []
        return self.log.read_text()

    def height(self) -> int:
        with httpx2.Client() as http:
            try:
                return int(http.get(f"http://127.0.0.1:{self.config.port}/v1/status").json()["height"])
            except (httpx2.HTTPError, KeyError):
                return -1

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def left(self) -> list[int]:
        return of_environment(f"{MARK}={self.place}")

    def pids(self) -> list[int]:
        """Return the node's own process and CometBFT's; fewer while they start."""
        assert self.process is not None
        nodes = children(self.process.pid)
        return [*nodes, *(comet for node in nodes for comet in children(node))]

    def told(self) -> list[str]:
        """Return the events that it logged, in complete lines."""
        lines = self.log.read_bytes().split(b"\n")[:-1]
        return [json.loads(line).get("event", "") for line in lines if line.startswith(b"{")]

    def end(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(PATIENCE) == 0


def children(pid: int) -> list[int]:
    found = []
    with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


@pytest.fixture
def node(binary: Path, law: Law, place: Path) -> Iterator[Node]:
    made = Node(place, binary, law)
    made.start()
    try:
        made.until(lambda: made.height() > 0)
        yield made
    finally:
        if made.process is not None:
            made.process.kill()
            made.process.wait()
        made.until(lambda: made.left() == [])


def test_whichever_dies_both_live_again_and_a_killed_supervisor_leaves_nothing(node):
    for victim in (0, 1):
        node.until(lambda: node.height() > 0 and len(node.pids()) == 2)
        before, height = node.pids(), node.height()
        os.kill(before[victim], signal.SIGKILL)
        node.until(lambda before=before: not set(before) & set(node.left()))
        node.until(lambda height=height: node.height() >= max(1, height))
    node.until(lambda: node.told().count("started again") == 2)
    assert node.process is not None
    node.process.kill()
    node.until(lambda: node.left() == [])


def test_told_to_end_it_ends_in_order(node):
    node.end()
    assert node.left() == []
    node.start()
    node.until(lambda: node.height() > 0)
    node.end()


def halted(log: str) -> str:
    """Return the reason in the last line of a log, which is for people."""
    matched = re.match(r"keephold: halted: (\w+): ", log.splitlines()[-1])
    assert matched is not None, log
    return matched.group(1)


def test_another_state_than_the_network_ordered_halts_it(node):
    """The ledger is changed, and the hash that it states of itself with it: only CometBFT knows better."""
    node.end()
    connection = apsw.Connection(str(Path(node.config.home) / "ledger.db"))
    connection.execute("INSERT INTO leaf VALUES (?, ?)", (b"?" * 32, b"?"))
    root = SparseMap.of(connection.execute("SELECT path, value FROM leaf").fetchall()).root
    connection.execute("UPDATE block SET app_hash = ? WHERE height = (SELECT max(height) FROM block)", (root,))
    connection.close()
    node.start()
    assert halted(node.wait(12)) == "app_hash"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("ledger.db", "store"),
        ("cometbft/data/state.db/CURRENT", "store"),
        ("cometbft/data/blockstore.db", "configuration"),  # all of it: as if its disk had not been mounted
    ],
)
def test_a_damaged_store_halts_it(node, damage, reason):
    node.end()
    path = Path(node.config.home) / damage
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.write_bytes(b"damage" * 100)
    node.start()
    assert halted(node.wait(12)) == reason


@pytest.mark.parametrize("which", ["port", "p2p"])
def test_a_taken_port_halts_it(node, which):
    node.end()
    port = node.config.port if which == "port" else node.config.cometbft.port
    with socket.create_server(("127.0.0.1", port)):
        node.start()
        assert halted(node.wait(12)) == "port_taken"


def test_a_genesis_of_another_network_halts_it(node, law, tmp_path):
    node.end()
    other = found(tmp_path / "other", law, Plan(("127.0.0.1",))).members[0]
    shutil.copy(other / "genesis.bin", node.home / "genesis.bin")
    node.start()
    assert halted(node.wait(12)) == "configuration"
