"""A whole network as separate processes: what is acknowledged survives the death of any of them."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError, PortTaken, Rejected
from keephold.client.network import Contract, Network
from keephold.client.source import code_from_file
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet
from keephold.testing.directory import PREFIX
from keephold.testing.ports import free_port, free_ports

ROOT = Path(__file__).parents[2]
TOKEN = str(ROOT / "examples" / "token" / "token.py")
SUPPLY = 1_000_000
PATIENCE = 240.0

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lasting_home")]


@pytest.fixture(scope="module")
def net(lasting_home) -> Iterator[Devnet]:
    with Devnet.start() as started:
        yield started


@pytest.fixture(scope="module")
def network(net: Devnet) -> Iterator[Network]:
    with Network.connect(net.url, net.genesis) as connected:
        yield connected


@pytest.fixture
def token(net: Devnet, network: Network) -> Contract:
    return network.deploy(code_from_file(TOKEN), "GLD", SUPPLY, account=net.accounts["alice"])


def balance(net: Devnet, token: Contract, name: str) -> int:
    return token.query("balance", account=net.accounts[name], deadline=PATIENCE)


def test_transfers_and_private_views(net: Devnet, token: Contract) -> None:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    assert token.call("transfer", bob.address, 5, account=alice) is None
    assert (balance(net, token, "alice"), balance(net, token, "bob")) == (SUPPLY - 5, 5)
    with pytest.raises(Rejected, match="insufficient_balance"):
        token.call("transfer", alice.address, 6, account=bob)
    assert token.verified().is_simulated


def test_calls_survive_the_death_of_the_node_and_run_once(net: Devnet, token: Contract) -> None:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    sent = []
    for number in range(30):
        sent.append(token.submit("transfer", bob.address, 1, account=alice))
        if number in (5, 20):
            net.kill("node")
    for call in sent:
        assert call.wait(PATIENCE) is None
    assert (balance(net, token, "alice"), balance(net, token, "bob")) == (SUPPLY - 30, 30)


def test_calls_survive_the_death_of_the_worker(net: Devnet, token: Contract) -> None:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    token.call("transfer", bob.address, 1, account=alice)
    before = net.pids["w0"]
    net.kill("w0")
    assert token.call("transfer", bob.address, 2, account=alice, deadline=PATIENCE) is None
    assert balance(net, token, "bob") == 3
    assert net.pids["w0"] != before


def test_one_gatekeeper_of_three_may_be_away(net: Devnet, network: Network) -> None:
    net.kill("g1", hold=True)
    try:
        token = network.deploy(code_from_file(TOKEN), "GLD", 7, account=net.accounts["carol"])
        assert balance(net, token, "carol") == 7
    finally:
        net.resume("g1")


def test_everything_survives_kill_9_and_nothing_is_left_running(tmp_path: Path) -> None:
    state = tmp_path / "state"
    script = textwrap.dedent(f"""
        import time
        from pathlib import Path
        from keephold.client.network import Network
        from keephold.client.source import code_from_file
        from keephold.testing.devnet import Devnet
        net = Devnet.start(state=Path({str(state)!r}))
        with Network.connect(net.url, net.genesis) as network:
            token = network.deploy(code_from_file({TOKEN!r}), "GLD", 100, account=net.accounts["alice"])
            token.call("transfer", net.accounts["bob"].address, 5, account=net.accounts["alice"])
        print(token.address, *net.pids.values(), flush=True)
        time.sleep(600)
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        address, *pids = parent.stdout.readline().split()
        children = [int(pid) for pid in pids]
        everyone = [*children, *(below for pid in children for below in descendants(pid))]
        assert len(children) == 5
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while left := [pid for pid in everyone if is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    with Devnet.start(state=state) as net, Network.connect(net.url, net.genesis) as network:
        token = network.contract(address)
        assert (balance(net, token, "alice"), balance(net, token, "bob")) == (95, 5)
        token.call("transfer", net.accounts["alice"].address, 1, account=net.accounts["bob"], deadline=PATIENCE)
        assert balance(net, token, "bob") == 4
    with pytest.raises(ConfigurationError, match="ask for the same"):
        Devnet.start(state=state, shape=Shape(5, 3))


def descendants(pid: int) -> list[int]:
    try:
        direct = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return [*direct, *(below for child in direct for below in descendants(child))]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_ephemeral_devnet_leaves_no_directory(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Devnet.start(shape=Shape(1, 1, 0)) as net:
        assert net.home.parent == tmp_path
        assert net.home.name.startswith(PREFIX)
        pids = list(net.pids.values())
    net.stop()
    assert list(tmp_path.iterdir()) == []
    assert not any(map(is_running, pids))


def test_a_taken_port_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(PortTaken):
            Devnet.start(port=other.getsockname()[1])
    assert free_port(0) > 0
    assert len(set(free_ports(0, 0, 0, 0))) == 4
    with pytest.raises(PortTaken):
        free_port(1 << 20)


@pytest.mark.parametrize(
    "shape",
    [
        Shape(3, 1),
        Shape(2, 3),
        Shape(0, 0),
        Shape(4, 2),
        Shape(3, 2, -1),
        Shape(validators=0),
        Shape(validators=4, engine="embedded"),
    ],
)
def test_shapes_that_cannot_run(shape: Shape) -> None:
    with pytest.raises(ConfigurationError):
        Devnet.start(shape=shape)
