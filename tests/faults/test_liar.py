"""One of four nodes lies to whoever reads from it: about headers, values, receipts, by leaving out, by its past, by a
chain of its own with every name of ours.

A worker and a gatekeeper dial it first, each time anew; a client knows no other. Every result needs that worker, for
the quorum is two of two: so it has to find the truth elsewhere for a call to be answered. What they refuse they write
down.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from faults_aftermath import Acknowledged, inspect
from faults_colony import Colony

from keephold.base.errors import KeepholdError
from keephold.client.network import Network
from keephold.client.source import code_from_file
from keephold.protocol.contracts import ContractPolicy
from keephold.testing.comet.liar import Lie

pytestmark = [pytest.mark.comet, pytest.mark.slow, pytest.mark.faults]

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
LIAR = 3
PATIENCE = 300.0
AGAIN = 30.0
REFUSED_BY: dict[str, tuple[str, ...]] = {
    "header": ("w0", "g0"),
    "value": ("w0", "g0"),
    "receipt": ("w0",),
    "fork": ("w0",),
}
"""Who is bound to be told the lie in a form that contradicts itself. What is left out, or past, is silence: whoever
needs more asks elsewhere; and a gatekeeper asks for no receipt."""


@pytest.fixture(scope="module")
def told(binary, common_place, machines, tmp_path_factory) -> Iterator[Told]:
    """A colony with a contract, for all lies."""
    places = {"g0": LIAR, "w0": LIAR, "g1": 0, "g2": 1, "w1": 0}
    with machines(5) as switch, switch.machines[4].entered(), pytest.MonkeyPatch.context() as patched:
        patched.setenv("KEEPHOLD_HOME", str(tmp_path_factory.mktemp("home")))
        colony = Colony(common_place, binary, switch, places)
        try:
            with colony.connect(0) as network:
                yield Told(colony, network)
        finally:
            colony.stop()


class Told:
    """A colony, a client of an honest node, and what has to be true."""

    def __init__(self, colony: Colony, network: Network) -> None:
        self.colony = colony
        self.alice, self.bob = colony.accounts["alice"], colony.accounts["bob"]
        code = code_from_file(str(TOKEN))
        policy = ContractPolicy(workers=2, quorum=2)
        self.token = network.deploy(code, "KEP", 1000, account=self.alice, policy=policy, deadline=PATIENCE)
        self.balance = 0

    def transfer(self) -> None:
        self.token.call("transfer", self.bob.address, 1, account=self.alice, deadline=PATIENCE)
        self.balance += 1

    def wait_known(self) -> None:
        """Wait until the liar's own ledger has what the honest node has now: its past begins after that."""
        reached = height(self.colony.url(0))
        deadline = time.monotonic() + PATIENCE
        while height(self.colony.url(LIAR)) < reached:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def wait_told(self, refusals: dict[str, int], lies: int) -> None:
        """Wait until there are more lies and refusals than these; whoever went to another node first comes up again."""
        deadline = time.monotonic() + PATIENCE
        again = time.monotonic() + AGAIN
        while True:
            missing = [name for name, before in refusals.items() if len(self.colony.refusals(name)) == before]
            if not missing and len(self.colony.lies(LIAR)) > lies:
                return
            assert time.monotonic() < deadline, f"{missing} refused nothing"
            if time.monotonic() > again:
                self.dial_anew(missing or ["w0"])
                again = time.monotonic() + AGAIN
            time.sleep(0.05)

    def dial_anew(self, names: Iterable[str]) -> None:
        """Kill enclaves: they come up again and ask the liar first."""
        for name in names:
            self.colony.supervisor.kill(name)
            self.colony.supervisor.resume(name)


def height(url: str) -> int:
    with urllib.request.urlopen(f"{url}/v1/status", timeout=60) as reply:
        return int(json.load(reply)["height"])


@pytest.mark.parametrize("lie", get_args(Lie))
def test_worker_gatekeeper_and_client_of_a_node_that_lies_are_told_the_truth_or_nothing(told: Told, lie: Lie) -> None:
    colony = told.colony
    colony.lie(LIAR, None)
    told.transfer()
    told.wait_known()
    before = {name: len(colony.refusals(name)) for name in ("w0", "g0")}
    lies = len(colony.lies(LIAR))
    colony.lie(LIAR, lie)
    # (1) A client that knows the liar alone.
    try:
        with Network.connect(colony.url(LIAR), colony.genesis) as network:
            found = network.contract(told.token.address).query("balance", account=told.bob, deadline=5)
    except KeepholdError:
        pass
    else:
        assert found == told.balance
    # (2) Enclaves that are new, and dial the liar first; the call needs the worker.
    told.dial_anew(before)
    told.transfer()
    told.wait_told({name: before[name] for name in REFUSED_BY.get(lie, ())}, lies)
    assert {line.split()[0] for line in colony.lies(LIAR)[lies:]} == {lie}
    # (3) Healed.
    colony.lie(LIAR, None)
    told.transfer()
    assert told.token.query("balance", account=told.bob, deadline=PATIENCE) == told.balance


def test_afterwards_all_is_as_if_nobody_had_lied(told: Told, new_reader, new_sender) -> None:
    async def afterwards() -> None:
        readers = [new_reader(told.colony, number) for number in range(4)]
        sender = new_sender(told.colony.genesis, b"afterwards")
        await inspect(told.colony.genesis, readers, sender, Acknowledged(), told.colony.all_releases)
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    asyncio.run(asyncio.wait_for(afterwards(), PATIENCE))
