"""Enclaves are driven from node to node in the midst of work: nothing is lost, and nothing happens twice.

Each of the four nodes in turn is cut off from all enclaves (which find another one) while an account transfers without
pause. The balance counts every acknowledged transfer, once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_aftermath import Acknowledged, inspect
from faults_colony import Colony

from keephold.client.source import code_from_file
from keephold.protocol.contracts import ContractPolicy

pytestmark = [pytest.mark.comet, pytest.mark.slow, pytest.mark.faults]

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
PATIENCE = 300.0
NODES, ENCLAVES, CLIENT = range(4), 4, 5


@pytest.fixture
def colony(binary, machines, place, tmp_path, monkeypatch) -> Iterator[Colony]:
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path))
    with machines(6) as switch, switch.machines[CLIENT].entered():
        made = Colony(place, binary, switch, dict.fromkeys(("g0", "g1", "g2", "w0", "w1"), ENCLAVES))
        try:
            yield made
        finally:
            made.stop()


def test_enclaves_move_from_node_to_node_under_load(colony, new_reader, new_sender):
    alice, bob = colony.accounts["alice"], colony.accounts["bob"]
    with colony.connect(0) as network:
        policy = ContractPolicy(workers=2)
        code = code_from_file(str(TOKEN))
        token = network.deploy(code, "KEP", 10**6, account=alice, policy=policy, deadline=PATIENCE)
        over, done = threading.Event(), []

        def trade() -> None:
            while not over.is_set():
                token.call("transfer", bob.address, 1, account=alice, deadline=PATIENCE)
                done.append(1)

        trading = threading.Thread(target=trade)
        trading.start()
        try:
            for node in NODES:
                # All lines between this node and the enclaves; the nodes and the client do not notice.
                colony.switch.part({node}, {ENCLAVES})
                # A gatekeeper and a worker come up anew meanwhile, and need what only other nodes can tell them.
                colony.supervisor.kill(f"g{node % 3}")
                colony.supervisor.kill(f"w{node % 2}")
                reached = len(done) + 5
                while len(done) < reached and trading.is_alive():
                    over.wait(0.1)
                colony.switch.heal()
        finally:
            over.set()
            trading.join()
        assert len(done) >= 5 * len(NODES)
        assert token.query("balance", account=bob, deadline=PATIENCE) == len(done)

    async def afterwards() -> None:
        readers = [new_reader(colony, number) for number in NODES]
        sender = new_sender(colony.genesis, b"afterwards")
        await inspect(colony.genesis, readers, sender, Acknowledged(), colony.all_releases)
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    assert colony.all_releases
    asyncio.run(asyncio.wait_for(afterwards(), PATIENCE))
