"""G3: the node listens on its port and nothing else; enclaves and their execution processes listen on nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Self
from urllib.parse import urlsplit

import pytest

from keephold.client.network import Network
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet
from keephold.testing.processes import Listener, command, listeners, tree

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="enclaves are not dumpable: the kernel shows their descriptors to root alone"
)


@pytest.fixture(scope="module")
def own() -> set[Listener]:
    """What the test process listens on before it supervises anything."""
    return set(listeners(os.getpid()))


@pytest.fixture(scope="module")
def net(own: set[Listener]) -> Iterator[Devnet]:
    with Devnet.start(shape=Shape(gatekeepers=3, threshold=2, workers=1)) as running:
        yield running


class Watch:
    """Looks again and again, because a socket may listen for a moment only."""

    def __init__(self, net: Devnet) -> None:
        self._net = net
        self._ended = threading.Event()
        self.seen: dict[str, set[Listener]] = {}
        self.execution: set[int] = set()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            for name, pid in dict(self._net.pids).items():
                for process in tree(pid):
                    self.seen.setdefault(name, set()).update(listeners(process))
                    if "keephold.runtime.child" in command(process):
                        self.execution.add(process)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture(scope="module")
def watched(net: Devnet, token) -> Watch:
    """What was seen while the network was keyed, called, asked, and healed."""
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    with Watch(net) as watch, Network.connect(net.url, net.genesis) as network:
        contract = network.deploy(token, "SOCK", 1000, account=alice)
        for amount in range(1, 6):
            contract.call("transfer", bob.address, amount, account=alice)
            assert contract.query("balance", account=bob) == sum(range(amount + 1))
        net.kill("w0")
        net.kill("g0")
        contract.call("transfer", bob.address, 1, account=alice, deadline=240)
    return watch


def test_the_node_listens_on_its_port_on_loopback_alone(net: Devnet, watched: Watch) -> None:
    port = urlsplit(net.url).port
    assert {(found.family, found.address) for found in watched.seen["node"]} == {("tcp", f"127.0.0.1:{port}")}


def test_workers_and_their_execution_processes_listen_on_nothing(watched: Watch) -> None:
    assert watched.execution, "no execution process was seen: nothing was shown"
    assert watched.seen["w0"] == set()


@pytest.mark.parametrize("name", ["g0", "g1", "g2"])
def test_gatekeepers_listen_on_nothing(watched: Watch, name: str) -> None:
    assert watched.seen[name] == set()


def test_the_supervisor_listens_on_nothing(watched: Watch, own: set[Listener]) -> None:
    assert set(listeners(os.getpid())) == own
