"""`GET /metrics`: Prometheus' text format, strictly; what is watched moves with the ledger."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from msgspec.structs import replace

from keephold.api.metrics import Metrics
from keephold.api.views import contract_text
from keephold.base.errors import UnavailableError
from keephold.base.ids import ContractId
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger.engines.base import Load
from keephold.ledger.people import People, Worker
from keephold.programs import web
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.offences import Dissents
from keephold.protocol.state import ContractRecord, Registration
from keephold.protocol.transactions import RevokePermits, sign

LINE = re.compile(
    r"# (HELP|TYPE) keephold_[a-z_]+ .+|(keephold_[a-z_]+)(\{[a-z_]+=\"[^\"\n]*\"(,[a-z_]+=\"[^\"\n]*\")*\})? [0-9.e+]+"
)
SECOND = 10**9


def told(text: str) -> dict[str, float]:
    """Return the samples of a page, each line of which is in the format."""
    assert text.endswith("\n")
    lines = text.splitlines()
    assert all(LINE.fullmatch(line) for line in lines), [line for line in lines if not LINE.fullmatch(line)]
    samples = [line.rpartition(" ") for line in lines if not line.startswith("#")]
    assert len({name for name, _, _ in samples}) == len(samples), "no sample twice"
    return {name: float(value) for name, _, value in samples}


def test_it_is_served_and_moves_with_the_ledger(node):
    reader, engine, network = node
    app = web.application([web.metrics_route(Metrics(reader, engine))])

    def scrape() -> dict[str, float]:
        async def ask() -> httpx2.Response:
            async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://node") as client:
                return await client.get("/metrics")

        answer = asyncio.run(ask())
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        return told(answer.text)

    before = scrape()
    assert before["keephold_height"] == 0
    assert before["keephold_engine_up"] == 1
    engine.submit([sign(network, SigningKey(SecretBytes(b"a" * 32)), 0, RevokePermits())])
    assert scrape()["keephold_mempool_transactions"] == 1
    engine.step()
    after = scrape()
    assert (after["keephold_height"], after["keephold_mempool_transactions"]) == (1, 0)
    assert after["keephold_block_time_seconds"] > before["keephold_block_time_seconds"]
    assert after['keephold_committee_phase{phase="forming"}'] == 1
    assert after['keephold_enclaves{role="worker"}'] == 0
    assert any(name.startswith(f'keephold_info{{network="{network.hex()}",name="api-test"') for name in after)


@dataclass
class Scene:
    """People with contracts and workers of the test's making, over a real ledger."""

    people: People
    records: list[tuple[ContractId, ContractRecord]] = field(default_factory=list)
    live: list[Worker] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.people, name)

    def contracts(self, *, limit: int) -> list[tuple[ContractId, ContractRecord]]:
        return self.records[:limit]

    def workers(self, role: str) -> list[Worker]:
        return self.live if role == "worker" else []


class Silent:
    """An engine that does not answer."""

    def load(self) -> Load:
        raise UnavailableError("it starts")


@pytest.fixture
def scene(node) -> Scene:
    return Scene(node[0].people)


def page(scene: Scene, engine: Any) -> dict[str, float]:
    reader = type("Reader", (), {"people": scene})()
    return told(Metrics(reader, engine).text().decode())


def test_contracts_that_lag_and_leases_that_end_are_told(node, scene):
    record = ContractRecord(b"c" * 32, 0, bytes(32), bytes(32), ContractPolicy(), "active", inbox_count=9, done=4)
    idle = replace(record, phase="rotating", inbox_count=4)
    scene.records = [(ContractId(b"1" * 32), record), (ContractId(b"2" * 32), idle)]
    now = scene.people.status().time_ns
    lease = scene.people.law().timing.lease_ns
    registration = Registration(
        b"i" * 32, "worker", b"o" * 32, bytes(32), bytes(1216), bytes(32), 1, bytes(32), bytes(32), "v", bytes(32),
        bytes(32), 1, now + lease,
    )  # fmt: skip
    scene.live = [
        Worker(registration, (), Dissents()),
        Worker(replace(registration, lease_ns=now + lease // 8), (), Dissents()),
    ]
    samples = page(scene, node[1])
    assert samples[f'keephold_inbox_lag{{contract="{contract_text(b"1" * 32)}"}}'] == 5
    assert f'keephold_inbox_lag{{contract="{contract_text(b"2" * 32)}"}}' not in samples
    assert (samples['keephold_contracts{phase="active"}'], samples['keephold_contracts{phase="rotating"}']) == (1, 1)
    assert (samples['keephold_enclaves{role="worker"}'], samples['keephold_enclaves_lapsing{role="worker"}']) == (2, 1)


def test_an_engine_that_does_not_answer_hides_nothing_else(scene):
    samples = page(scene, Silent())
    assert samples["keephold_engine_up"] == 0
    assert "keephold_peers" not in samples
    assert "keephold_height" in samples
