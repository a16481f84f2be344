"""What enclaves and clients do that are cut off with a minority: nothing that would have to be believed later.

A worker, a gatekeeper and a client stand with one node of four behind a cut, the others with three. Behind the cut
nothing is ordered. So the client is told nothing, the worker answers no longer than its freshness window, and the
gatekeeper releases nothing. After healing nothing is lost, and nothing happened twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faults_aftermath import Acknowledged, inspect
from faults_colony import Colony

from keephold.base.errors import DeadlineExceeded, KeepholdError
from keephold.client.source import code_from_file
from keephold.protocol.contracts import ContractPolicy

pytestmark = [pytest.mark.comet, pytest.mark.slow, pytest.mark.faults]

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
MAJORITY, MINORITY = {0, 1, 2}, {3}
GATEKEEPERS = ("g0", "g1", "g2")
PATIENCE = 300.0


@pytest.fixture
def colony(binary, switch, place, tmp_path, monkeypatch) -> Iterator[Colony]:
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path))
    made = Colony(place, binary, switch, {"g0": 3, "w0": 3, "g1": 0, "g2": 1, "w1": 0})
    try:
        yield made
    finally:
        made.stop()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_who_is_cut_off_with_a_minority_falls_silent_and_comes_back(colony, switch, new_reader, new_sender):
    window = colony.genesis.law.timing.freshness_ns / 10**9
    alice, bob = colony.accounts["alice"], colony.accounts["bob"]
    with switch.machines[3].entered():  # its threads and sockets stay in there
        behind = colony.connect(3)
    with behind, colony.connect(0) as network:
        code = code_from_file(str(TOKEN))
        token = network.deploy(code, "KEP", 1000, account=alice, policy=ContractPolicy(workers=2), deadline=PATIENCE)
        token.call("transfer", bob.address, 1, account=alice, deadline=PATIENCE)
        cut_off = behind.contract(token.address)
        assert cut_off.query("balance", account=bob, deadline=PATIENCE) == 1
        # What was asked so far, each gatekeeper has released: none has an answer under way.
        until(lambda: len({frozenset(item.requested for item in colony.releases(name)) for name in GATEKEEPERS}) == 1)
        silent = len(colony.releases("g0"))
        # (1) The cut. The client behind it is told nothing about what it sends.
        switch.part(MAJORITY | {4}, MINORITY)
        pending = cut_off.submit("transfer", alice.address, 1, account=bob)
        with pytest.raises(DeadlineExceeded):
            pending.wait(window)
        # (2) Beyond its window the worker behind it answers nobody, nor does one that is started there.
        for _ in range(2):
            with pytest.raises(KeepholdError):
                cut_off.query("balance", account=bob, deadline=3)
            colony.supervisor.kill("w0")
        # (3) The others go on; a worker that needs its keys anew gets them from t gatekeepers on this side.
        token.call("transfer", bob.address, 10, account=alice, deadline=PATIENCE)
        colony.supervisor.kill("w1")
        released = len(colony.releases("g1"))
        token.call("transfer", bob.address, 10, account=alice, deadline=PATIENCE)
        assert token.query("balance", account=bob, deadline=PATIENCE) == 21
        assert len(colony.releases("g1")) > released
        # (4) Nothing left the gatekeeper behind the cut.
        assert len(colony.releases("g0")) == silent
        # (5) Healed: what waited is ordered once, and everybody tells the same.
        switch.heal()
        pending.wait(PATIENCE)
        # A client's answers are as new as what it has seen itself; the other one may have seen more.
        for each in (token, cut_off):
            until(lambda each=each: each.query("balance", account=bob, deadline=PATIENCE) == 20)
        cut_off.call("transfer", alice.address, 5, account=bob, deadline=PATIENCE)
        until(lambda: token.query("balance", account=bob, deadline=PATIENCE) == 15)

    async def afterwards() -> None:
        readers = [new_reader(colony, number) for number in range(4)]
        sender = new_sender(colony.genesis, b"afterwards")
        await inspect(colony.genesis, readers, sender, Acknowledged(), colony.all_releases)
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    assert colony.all_releases
    asyncio.run(asyncio.wait_for(afterwards(), PATIENCE))
