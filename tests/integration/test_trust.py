"""Whom a contract on a real network rests on, asked of that network, as a person would ask."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.base.ids import PublicKey
from keephold.cli.main import run
from keephold.client.exposure import exposure_of
from keephold.client.network import Contract, Network
from keephold.client.trust import TrustReport
from keephold.client.trust_shell import trust_of
from keephold.protocol.contracts import ContractPolicy
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet


@pytest.fixture(scope="module")
def net() -> Iterator[Devnet]:
    with Devnet.start(shape=Shape(workers=3)) as started:
        yield started


@pytest.fixture(scope="module")
def gold(net: Devnet, network: Network, token, eventually) -> Contract:
    policy = ContractPolicy(workers=3, quorum=2)
    deployed = network.deploy(token, "GLD", 10, account=net.accounts["alice"], policy=policy)
    eventually(lambda: len(asked(network, deployed).facts.workers) == 3, "three workers are assigned")
    return deployed


def asked(network: Network, gold: Contract) -> TrustReport:
    return network.run(lambda n: trust_of(n.connection, n.contract(gold.address).id))


@pytest.fixture
def report(network: Network, gold: Contract) -> TrustReport:
    return asked(network, gold)


def test_every_guardian_is_verified_and_the_sets_are_those_of_2_of_3(report: TrustReport) -> None:
    facts = report.facts
    assert [item.doubt for item in (*facts.workers, *facts.committee.members)] == [""] * 6
    assert sorted(item.seat for item in facts.committee.members) == [1, 2, 3]
    assert report.is_simulated
    workers = [party for party, held in report.parties.items() if any(item.role == "worker" for item in held)]
    seats = [party for party, held in report.parties.items() if any(item.seat for item in held)]
    assert (len(workers), len(seats)) == (3, 3)
    assert all(report.reveal.is_reached_by([party]) for party in workers)
    assert not any(report.reveal.is_reached_by([party]) for party in seats)
    assert report.reveal.is_reached_by(seats[:2])
    assert not any(report.forge.is_reached_by([party]) for party in workers)
    assert report.forge.is_reached_by(workers[:2])
    assert not report.reveal.is_reached_by(party for party in report.parties if party.kind == "validator")


def test_what_a_worker_holds_is_on_the_ledger(network: Network, gold: Contract, report: TrustReport) -> None:
    here = gold.address.value
    assert [[held.contract for held in item.held] for item in report.facts.exposures] == [[here]] * 3
    assert sum(held.is_published for item in report.facts.exposures for held in item.held) >= 1
    nobody = network.run(lambda n: exposure_of(n.connection.follower, PublicKey(bytes(range(32)))))
    assert nobody.held == ()
    assert nobody.not_proven


def test_the_command_tells_and_draws_it(net: Devnet, gold: Contract, tmp_path: Path, capsys) -> None:
    drawn = tmp_path / "trust.svg"
    at = ["trust", str(gold.address), "--network", str(net.home)]
    assert run([*at, "--svg", str(drawn)]) == 0
    said = capsys.readouterr().out
    assert "TEE: SIMULATED" in said
    assert said.index("Who can read it:     One party alone: 3 operators of workers, 1 TEE vendor") < said.index(
        "\nGate"
    )
    assert "Messages with other contracts:" in said
    assert "Not proven:" in said
    assert "pinned genesis" in said
    assert "holds: key of epoch 1" in "\n".join(ET.parse(drawn).getroot().itertext())
    assert run([*at, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["breaking"]["reveal"]["fewest"] == 1
    assert body["workers"]["quorum"] == 2
    assert set(body["summary"]) == {"read", "forge", "stop", "worst", "assumed"}
    assert "SIMULATED" in body["summary"]["assumed"]
    assert run([*at, "--svg", str(tmp_path)]) != 0
    assert "--svg" in capsys.readouterr().err
