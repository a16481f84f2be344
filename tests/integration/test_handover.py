"""The committee changes hands in a network of separate programs; contract keys stay what they were."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx2
import pytest

from keephold.base.ids import PublicKey
from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork
from keephold.client.network import Network
from keephold.client.outside import outside_network
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode
from keephold.protocol.contracts import Code
from keephold.protocol.governance import (
    Action,
    GovernanceRecord,
    Proposal,
    RevokeIdentity,
    SignedProposal,
    sign_proposal,
)
from keephold.protocol.state import CommitteeRecord, governance_path
from keephold.protocol.transactions import Govern
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet

PATIENCE = 240.0


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet.start(shape=Shape(gatekeepers=3, threshold=2, workers=1)) as started:
        yield started


@pytest.fixture
def network(net: Devnet) -> Iterator[Network]:
    with Network.connect(net.url, net.genesis) as connected:
        yield connected


def committee(network: Network) -> CommitteeRecord:
    async def ask(inner: AsyncNetwork) -> CommitteeRecord:
        return (await outside_network(inner.connection)).committee

    return network.run(ask)


def govern(net: Devnet, network: Network, action: Action) -> None:
    """Sign with two of the devnet's three governance keys, and have it ordered."""
    seeds = [SecretBytes((net.home / f"governor-{number}.seed").read_bytes()) for number in range(2)]
    keys = sorted((SigningKey(seed) for seed in seeds), key=lambda key: key.public)

    async def send(inner: AsyncNetwork) -> None:
        connection = inner.connection
        raw = (await connection.follower.prove([governance_path()]))[governance_path()]
        record = GovernanceRecord() if raw is None else decode(raw, GovernanceRecord)
        proposal = Proposal(inner.id, record.count + 1, action)
        signed = SignedProposal(proposal, tuple(sign_proposal(proposal, key) for key in keys))
        await connection.effect(
            await connection.transact(Account.generate("messenger"), Govern(signed)),
            governance_path(),
            lambda raw: raw is not None and decode(raw, GovernanceRecord).count > record.count,
        )

    network.run(send)


def lost(net: Devnet, network: Network) -> PublicKey:
    """Kill g2 for good; return who it was."""
    for line in net.log("g2").read_text().splitlines():
        entry = json.loads(line)
        if "identity" in entry:
            net.kill("g2", hold=True)
            return PublicKey(bytes.fromhex(entry["identity"]))
    raise AssertionError("g2 never said who it is")


def test_a_gatekeeper_gone_for_good_is_replaced(
    net: Devnet, network: Network, token: Code, eventually: Callable[..., None]
) -> None:
    alice = net.accounts["alice"]
    contract = network.deploy(token, "OLD", 100, account=alice)
    before, first = contract.verified(), committee(network)
    assert (first.phase, len(first.members)) == ("ready", 3)

    # One machine burns; a fourth operator is ready. Governance does not wait for the lease to end.
    gone = lost(net, network)
    net.add_gatekeeper("g3")
    govern(net, network, RevokeIdentity(gone))
    eventually(lambda: committee(network).keys[0].sharing_epoch == 2, "the successor is in office", PATIENCE)

    after = committee(network)
    assert after.keys[0].master == first.keys[0].master
    assert gone not in after.members
    assert len(after.members) == 3
    seen = httpx2.get(f"{net.url}/v1/committee").json()
    assert (seen["phase"], seen["sharing_epoch"]) == ("ready", 2)

    # The worker starts with nothing and gets the same key from another committee; a new contract gets its first.
    net.kill("w0")
    contract.call("transfer", net.accounts["bob"].address, 1, account=alice, deadline=PATIENCE)
    assert contract.query("balance", account=alice, deadline=PATIENCE) == 99
    again = contract.verified()
    assert (again.signing_key, again.encryption_key) == (before.signing_key, before.encryption_key)
    younger = network.deploy(token, "NEW", 7, account=alice)
    assert younger.query("balance", account=alice, deadline=PATIENCE) == 7
