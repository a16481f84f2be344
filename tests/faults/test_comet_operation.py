"""A production network, founded and run by the commands, on real CometBFT."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from keephold.client.pinned import PinnedNetwork
from keephold.protocol.genesis import Genesis
from keephold.testing.ports import free_row
from keephold.testing.processes import of_environment

pytestmark = [pytest.mark.comet, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "network.md").read_text(encoding="utf-8")
LAW = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0]
NODES = 4
MARK = "KEEPHOLD_TEST_PLACE"


@dataclass(frozen=True)
class Net:
    """What readers want to know of a cluster."""

    port: int
    logs: list[Path]
    genesis: Genesis

    def __len__(self) -> int:
        return len(self.logs)

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port + number}"

    def log(self, number: int) -> Path:
        return self.logs[number]


def rows() -> tuple[int, int, int]:
    """Return three ports from which on enough are free."""
    first = free_row(3 * NODES)
    return first, first + NODES, first + 2 * NODES


def test_a_network_founded_by_init_runs_under_keephold_node(binary, place, new_reader, new_sender, ids, patiently):
    """As `docs/operate/network.md` says for one operator: four nodes agree, go on without one, and end in order."""
    (place / "law.toml").write_text(LAW, encoding="utf-8")
    (place / "bin").mkdir()
    shutil.copy(binary, place / "bin" / "cometbft")
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}", MARK: str(place)}
    keephold = [sys.executable, "-m", "keephold"]
    port, p2p, rpc = rows()
    init = ["network", "init", "--law", "law.toml", "--out", "local", "--validators", str(NODES)]
    command = [*keephold, *init, "--port", str(port), "--p2p-port", str(p2p), "--rpc-port", str(rpc)]
    subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True)
    logs = [place / f"v{number}.log" for number in range(NODES)]
    net = Net(port, logs, PinnedNetwork.read(place / "local" / "network").genesis)
    with ExitStack() as stack:
        nodes = []
        for number in range(NODES):
            log = stack.enter_context(logs[number].open("wb"))
            command = [*keephold, "node", "--home", f"local/v{number}"]
            started = subprocess.Popen(command, cwd=place, env=environment, stderr=log, stdout=log)
            nodes.append(stack.enter_context(started))
            stack.callback(started.kill)

        async def run() -> None:
            readers = [new_reader(net, number) for number in range(NODES)]
            sender = new_sender(net.genesis, b"alice")
            first = sender.next(10)
            assert await readers[0].submit(first) == [0] * 10
            found = await asyncio.gather(*(reader.found(ids(first)) for reader in readers))
            assert found == [found[0]] * NODES
            nodes[3].kill()
            second = sender.next(5)
            assert await readers[1].submit(second) == [0] * 5
            (height, _), *_ = await readers[2].found(ids(second))
            await readers[2].follow(height)
            await asyncio.gather(*(reader.remote.aclose() for reader in readers))

        patiently(run(), net)
        for node in nodes:
            node.send_signal(signal.SIGTERM)
        assert [node.wait(120) for node in nodes] == [0, 0, 0, -signal.SIGKILL]
    assert of_environment(f"{MARK}={place}") == [], "CometBFT goes with its node"
