"""The whole product on real CometBFT: key generation, deployment, sealed calls and queries, and a node that dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.client.network import Network
from keephold.client.source import code_from_file
from keephold.testing import programs
from keephold.testing.devnet import Devnet, free_port

pytestmark = [pytest.mark.comet, pytest.mark.slow]

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
PATIENCE = 90.0


@pytest.fixture
def net(binary, tmp_path, monkeypatch) -> Iterator[Devnet]:
    """A devnet whose node was configured for CometBFT."""
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path))
    written = programs._written

    def on_comet(path, values):
        name = written(path, values)
        if path.name == "node.toml":
            comet = f'engine = "cometbft"\n[cometbft]\nbinary = "{binary}"\nport = {free_port(0)}\ncommit = 0.1\n'
            path.write_text(path.read_text() + comet)
        return name

    monkeypatch.setattr(programs, "_written", on_comet)
    with Devnet.start() as devnet:
        yield devnet


def test_a_token_lives_on_comet_and_survives_its_node(net):
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    with Network.connect(net.url, net.genesis) as network:
        token = network.deploy(code_from_file(str(TOKEN)), "KEP", 1000, account=alice, deadline=PATIENCE)
        token.call("transfer", bob.address, 3, account=alice, deadline=PATIENCE)
        assert token.query("balance", account=bob, deadline=PATIENCE) == 3
        net.kill("node")
        token.call("transfer", bob.address, 4, account=alice, deadline=PATIENCE)
        assert token.query("balance", account=bob, deadline=PATIENCE) == 7
        assert (net.home / "node" / "cometbft" / "data" / "blockstore.db").exists()
