"""G10, G11: whoever holds the wire delays, cuts and corrupts; programs raise what they declare, and then go on.

The proxy between them and the node is what the host of an enclave, or anybody between a client and a node, can do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keephold.base.errors import KeepholdError, LedgerRefused
from keephold.client.network import Network
from keephold.contract.address import Address
from keephold.testing.devnet import Devnet
from keephold.testing.proxy import Behaviour, Corrupting, Cutting, Faithful, Proxy, Slow, Unplugged
from keephold.testing.supervisor import Died, Event

SUPPLY = 10_000
PATIENCE = 240.0
BEHAVIOURS = [
    Corrupting(every=2),
    Corrupting(every=101),
    Corrupting(every=4099),
    Corrupting(every=101, direction="up"),
    Cutting(after=0),
    Cutting(after=900),
    Cutting(after=9000),
    Cutting(after=400, direction="up"),
    Slow(0.05),
    Unplugged(),
]


@dataclass
class Wires:
    """A devnet behind two proxies: one for its enclaves, one for clients."""

    net: Devnet
    enclaves: Proxy
    clients: Proxy
    token: Address
    reported: list[Event]

    def moved(self) -> int:
        """Move one unit from alice to bob and return what bob holds then: both on a wire of its own.

        An answer is never older than what its own connection was told; of another one's doings it may know nothing yet.
        """
        alice, bob = self.net.accounts["alice"], self.net.accounts["bob"]
        ends = time.monotonic() + PATIENCE
        with Network.connect(self.net.url, self.net.genesis) as network:
            contract = network.contract(self.token)
            while True:
                try:
                    contract.call("transfer", bob.address, 1, account=alice, deadline=PATIENCE)
                    break
                except LedgerRefused as refusal:
                    # What was sent over the other wire may be ordered only now, under the same nonce.
                    if refusal.reason != "bad_nonce" or time.monotonic() > ends:
                        raise
            return int(contract.query("balance", account=bob, deadline=PATIENCE))


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory, behind_a_proxy, token) -> Iterator[Wires]:
    captured = tmp_path_factory.mktemp("wires")
    reported: list[Event] = []
    with (
        behind_a_proxy(captured / "enclaves") as behind,
        Devnet.start(report=reported.append) as net,
        Proxy(urlsplit(net.url).port or 0, captured / "clients") as clients,
    ):
        with Network.connect(net.url, net.genesis) as network:
            contract = network.deploy(token, "WIRE", SUPPLY, account=net.accounts["alice"])
        yield Wires(net, behind[0], clients, contract.address, reported)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_a_client_is_answered_truly_or_told_what_it_declares(wires: Wires, behaviour: Behaviour) -> None:
    alice, bob = wires.net.accounts["alice"], wires.net.accounts["bob"]
    before = wires.moved()
    sent = acknowledged = 0
    try:
        with Network.connect(wires.clients.url, wires.net.genesis) as network:
            contract = network.contract(wires.token)
            assert contract.query("balance", account=bob) == before
            wires.clients.behave(behaviour)
            wires.clients.cut()
            for _ in range(3):
                sent += 1
                contract.call("transfer", bob.address, 1, account=alice, deadline=3)
                acknowledged += 1
                assert before + acknowledged <= contract.query("balance", account=bob, deadline=3) <= before + sent
    except KeepholdError:
        pass
    finally:
        wires.clients.behave(Faithful())
    assert before + acknowledged + 1 <= wires.moved() <= before + sent + 1


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=str)
def test_enclaves_behind_a_hostile_wire_go_on_when_it_ends(wires: Wires, behaviour: Behaviour) -> None:
    before, deaths = wires.moved(), len([event for event in wires.reported if isinstance(event, Died)])
    try:
        wires.enclaves.behave(behaviour)
        wires.enclaves.cut()
        with Network.connect(wires.net.url, wires.net.genesis) as network:
            alice, bob = wires.net.accounts["alice"], wires.net.accounts["bob"]
            pending = network.contract(wires.token).submit("transfer", bob.address, 1, account=alice)
            wires.net.kill("w0")  # it has to attest and fetch its keys over this wire, or after it
            try:
                pending.wait(2)
            except KeepholdError:
                wires.enclaves.behave(Faithful())
                pending.wait(PATIENCE)
    finally:
        wires.enclaves.behave(Faithful())
    assert wires.moved() == before + 1 + 1
    died = [event for event in wires.reported if isinstance(event, Died)][deaths:]
    assert {event.status for event in died} <= {-9, 6, 10, 11}, "killed by this test, or ended for a declared reason"
    for name in ("g0", "g1", "g2", "w0"):
        assert "Traceback" not in Path(wires.net.log(name)).read_text()
