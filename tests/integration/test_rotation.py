"""A token changes its key epoch while people use it: nothing is lost, nothing happens twice, nothing old is left."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest

from keephold.base.errors import LedgerRefused
from keephold.cli.main import run
from keephold.client.network import Contract, Network
from keephold.client.outside import OutsideContract, outside_contract
from keephold.protocol.codec import decode
from keephold.protocol.messages import SealedSlot
from keephold.testing.devnet import Devnet

SUPPLY = 1_000_000
PATIENCE = 240.0


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet.start() as started:
        yield started


@pytest.fixture
def gold(net: Devnet, network: Network, token) -> Contract:
    return network.deploy(token, "GLD", SUPPLY, account=net.accounts["alice"])


def balance(net: Devnet, gold: Contract, name: str) -> int:
    return gold.query("balance", account=net.accounts[name], deadline=PATIENCE)


def outside(network: Network, gold: Contract) -> OutsideContract:
    return network.run(lambda connected: outside_contract(connected.connection, connected.contract(gold.address).id))


def test_balances_survive_while_calls_go_on(net: Devnet, network: Network, gold: Contract) -> None:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    gold.call("transfer", bob.address, 10, account=alice)
    before = outside(network, gold)
    epochs: list[int] = []
    turning = threading.Thread(target=lambda: epochs.append(gold.rotate(alice, PATIENCE).epoch))
    sent = [gold.submit("transfer", bob.address, 1, account=alice) for _ in range(10)]
    turning.start()
    while turning.is_alive() and len(sent) < 400:
        sent.append(gold.submit("transfer", bob.address, 1, account=alice))
        sent.append(gold.submit("transfer", alice.address, 1, account=bob))
    turning.join()
    assert epochs == [2]
    sent.append(gold.submit("transfer", bob.address, 1, account=alice))
    assert {call.wait(PATIENCE) for call in sent} == {None}
    assert (balance(net, gold, "alice"), balance(net, gold, "bob")) == (SUPPLY - 21, 21)
    after = outside(network, gold)
    assert {decode(slot.value, SealedSlot).epoch for slot in before.slots} == {1}
    assert {decode(slot.value, SealedSlot).epoch for slot in after.slots} == {2}
    assert not {slot.tag for slot in before.slots} & {slot.tag for slot in after.slots}
    assert after.deployment.record.encryption_key != before.deployment.record.encryption_key


def test_a_worker_killed_in_the_middle_goes_on(net: Devnet, network: Network, gold: Contract) -> None:
    alice, bob = net.accounts["alice"], net.accounts["bob"]
    calls = [gold.submit("transfer", bob.address, 1, account=alice) for _ in range(20)]
    for call in calls:
        call.wait(PATIENCE)
    for epoch in (2, 3):
        turning = threading.Thread(target=lambda: gold.rotate(alice, PATIENCE))
        turning.start()
        net.kill("w0")
        turning.join()
        assert outside(network, gold).deployment.record.epoch == epoch
        assert (balance(net, gold, "alice"), balance(net, gold, "bob")) == (SUPPLY - 20, 20)


def test_one_gatekeeper_of_three_may_be_away(net: Devnet, gold: Contract) -> None:
    net.kill("g0", hold=True)
    try:
        assert gold.rotate(net.accounts["alice"], PATIENCE).epoch == 2
        assert balance(net, gold, "alice") == SUPPLY
    finally:
        net.resume("g0")


def test_only_its_creator_rotates_a_contract(net: Devnet, gold: Contract) -> None:
    with pytest.raises(LedgerRefused, match="not_creator"):
        gold.rotate(net.accounts["bob"])


def test_who_held_an_ended_epoch_is_told_by_contract_and_by_worker(
    net: Devnet, network: Network, gold: Contract, capsys
):
    before = outside(network, gold).deployment.record
    gold.rotate(net.accounts["alice"], PATIENCE)
    at = ["--network", str(net.home)]
    assert run(["exposure", str(gold.address), *at, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    first, second = told["epochs"]
    assert (first["epoch"], second["epoch"], second["ended"]) == (1, 2, 0)
    assert {item["worker"] for item in first["holders"]} >= {worker.hex() for worker in before.workers}
    assert max(item["since"] for item in first["holders"]) < first["ended"] <= told["height"]
    said = f"ended epoch: what was sealed under it before height {first['ended']}"
    assert run(["exposure", str(gold.address), *at]) == 0
    assert f"epoch 1, {said}" in capsys.readouterr().out
    worker = before.workers[0].hex()
    assert run(["exposure", worker, *at]) == 0
    assert f"{gold.address} epoch 1, {said}" in capsys.readouterr().out
    assert run(["exposure", worker, *at, "--json"]) == 0
    held = json.loads(capsys.readouterr().out)["held"]
    mine = [(item["epoch"], item["why"], item["ended"]) for item in held if item["contract"] == str(gold.address)]
    assert mine == [(1, "ended", first["ended"]), (2, "assigned", 0)]
    assert run(["trust", str(gold.address), *at]) == 0
    assert f"epoch 1, {said}" in capsys.readouterr().out
    assert run(["exposure", "nobody", *at]) != 0
    assert "no contract 'nobody'" in capsys.readouterr().err
