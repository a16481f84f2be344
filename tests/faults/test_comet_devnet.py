"""The whole product on real CometBFT: key generation, deployment, sealed calls and queries, and a node that dies."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_colony import connected

from keephold.base.errors import ConfigurationError
from keephold.client.pinned import PinnedNetwork
from keephold.client.source import code_from_file
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet

pytestmark = [pytest.mark.comet, pytest.mark.slow]

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
PATIENCE = 300.0


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path))


def test_a_token_lives_on_comet_and_survives_its_node(binary, place):
    with (
        Devnet.start(state=place, shape=Shape(engine="cometbft"), comet=binary) as net,
        connected(net.url, net.genesis) as network,
    ):
        alice, bob = net.accounts["alice"], net.accounts["bob"]
        token = network.deploy(code_from_file(str(TOKEN)), "KEP", 1000, account=alice, deadline=PATIENCE)
        token.call("transfer", bob.address, 3, account=alice, deadline=PATIENCE)
        assert token.query("balance", account=bob, deadline=PATIENCE) == 3
        net.kill("node")
        token.call("transfer", bob.address, 4, account=alice, deadline=PATIENCE)
        assert token.query("balance", account=bob, deadline=PATIENCE) == 7
        assert (net.home / "node" / "home" / "cometbft" / "data" / "blockstore.db").exists()


def test_four_validators_go_on_without_one_and_are_there_again_after_a_stop(binary, place):
    """Enclaves and clients reach the network through whichever node lives."""
    shape = Shape(gatekeepers=1, threshold=1, workers=1, validators=4)
    with Devnet.start(state=place, shape=shape, comet=binary) as net:
        alice, bob = net.accounts["alice"], net.accounts["bob"]
        assert set(net.pids) == {"n0", "n1", "n2", "n3", "g0", "w0"}
        assert PinnedNetwork.read(place).urls == net.urls, "a command finds every node"
        with connected(net.urls[3], net.genesis) as network:
            token = network.deploy(code_from_file(str(TOKEN)), "KEP", 1000, account=alice, deadline=PATIENCE)
            net.kill("n0", hold=True)
            token.call("transfer", bob.address, 3, account=alice, deadline=PATIENCE)
            assert token.query("balance", account=bob, deadline=PATIENCE) == 3
    with (
        Devnet.start(state=place, shape=shape, comet=binary) as net,
        connected(net.url, net.genesis) as network,
    ):
        assert network.contract(token.address).query("balance", account=bob, deadline=PATIENCE) == 3
    with pytest.raises(ConfigurationError, match="--validators 4 and --engine cometbft: ask for the same"):
        Devnet.start(state=place, shape=Shape(1, 1, 1))


def test_a_client_of_four_nodes_outlives_each_of_them_in_turn(binary, place):
    """Calls are under way whenever the node that it follows dies: all of them are answered, once."""
    shape = Shape(gatekeepers=1, threshold=1, workers=1, validators=4)
    with (
        Devnet.start(state=place, shape=shape, comet=binary) as net,
        connected(net.urls, net.genesis) as network,
    ):
        alice, bob = net.accounts["alice"], net.accounts["bob"]
        token = network.deploy(code_from_file(str(TOKEN)), "KEP", 1000, account=alice, deadline=PATIENCE)
        for count, name in enumerate(("n0", "n1"), 1):
            sent = [token.submit("transfer", bob.address, 1, account=alice) for _ in range(5)]
            net.kill(name, hold=True)
            sent += [token.submit("transfer", bob.address, 1, account=alice) for _ in range(5)]
            assert {call.wait(PATIENCE) for call in sent} == {None}
            assert token.query("balance", account=bob, deadline=PATIENCE) == 10 * count
            net.resume(name)


def test_a_state_too_deep_for_sockets_is_refused(binary, tmp_path):
    with pytest.raises(ConfigurationError, match="too long for a socket"):
        Devnet.start(state=tmp_path / ("d" * 80), shape=Shape(validators=2), comet=binary)
