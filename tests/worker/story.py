"""A network in one process with a real worker, and the steps that tests on it share."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from keephold.base.errors import DeadlineExceeded
from keephold.base.ids import ContractId
from keephold.client.source import code_from_source
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.messages import CallPlain, QueryBody
from keephold.protocol.state import (
    AccountRecord,
    CommitteeRecord,
    ContractRecord,
    account_path,
    committee_path,
    contract_path,
)
from keephold.protocol.transactions import Call, Deploy, transaction_id
from keephold.protocol.wire import QueryEnvelope
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.query import open_answer, request_digest, seal_query, sign_query
from keephold.testing.gateway import LocalGateway
from keephold.testing.local import LocalNetwork, named_key
from keephold.worker.service import Worker

TOKEN = (Path(__file__).parents[2] / "examples" / "token" / "token.py").read_text()
PAD = (512, 4096)
ALICE, BOB = named_key("alice"), named_key("bob")
ANSWER_KEY = b"a" * 32


class Story:
    """One network, its worker, and the steps that tests share."""

    def __init__(self, net: LocalNetwork, guest) -> None:
        self.net, self.guest = net, guest
        self.gateway = LocalGateway(net)

    async def start(self, workers: int = 1) -> Worker:
        self.net.start()
        await self.net.until(lambda: self.net.node.application.map.newest.time_ns > 0)
        self.net.bring_collateral()
        self.gatekeepers = {name: self.net.gatekeeper(name) for name in ("g0", "g1", "g2")}
        self.keeping = {name: self.net.run(gatekeeper.run()) for name, gatekeeper in self.gatekeepers.items()}
        self.workers = [self.worker(f"w{at}") for at in range(workers)]
        self.tasks = [self.net.run(worker.run()) for worker in self.workers]
        return self.workers[0]

    def worker(self, name: str) -> Worker:
        return Worker(self.net.session(name, "worker"), [self.gateway], self.guest)

    def record(self, contract: ContractId) -> ContractRecord:
        found = self.net.node.reader.record(contract_path(contract), ContractRecord)
        assert found is not None
        return found

    async def deploy(self, code: Code | None = None, policy: ContractPolicy | None = None, phase: str = "active"):
        policy = policy or ContractPolicy()
        code = code or code_from_source(TOKEN)
        nonce = self.nonce(ALICE)
        self.net.send(ALICE, Deploy(code, policy))
        contract = contract_id(self.net.network, ALICE.public, nonce, code_hash(code), policy)
        try:
            await self.net.until(
                lambda: (
                    self.net.node.reader.record(contract_path(contract), ContractRecord) is not None
                    and self.record(contract).phase == phase
                )
            )
        except DeadlineExceeded as error:
            reader = self.net.node.reader
            error.add_note(f"contract: {reader.record(contract_path(contract), ContractRecord)}")
            error.add_note(f"committee: {reader.record(committee_path(), CommitteeRecord)}")
            raise
        return contract

    def nonce(self, key: SigningKey) -> int:
        return (self.net.node.reader.record(account_path(key.public), AccountRecord) or AccountRecord()).nonce

    async def call(self, contract: ContractId, key: SigningKey, method: str, *arguments: object) -> bytes:
        """Have a call ordered; return its id."""
        record = self.record(contract)
        context = CallContext(self.net.network, contract, record.epoch, key.public, self.nonce(key))
        plain = CallPlain(method, json.dumps(arguments).encode(), b"r" * 32)
        sealed = seal_call(record.encryption_key, context, plain, PAD)
        raw = self.net.send(key, Call(contract, record.epoch, sealed))
        await self.net.until(lambda: self.record(contract).inbox_count > record.inbox_count)
        return transaction_id(raw)

    async def consumed(self, contract: ContractId) -> None:
        await self.net.until(lambda: self.record(contract).done == self.record(contract).inbox_count)

    def question(self, contract, worker, method="balance", key=BOB, **other) -> QueryEnvelope:
        record = self.record(contract)
        instance = other.pop("instance", worker._session.instance.id)
        body = QueryBody(self.net.network, contract, record.epoch, instance, key.public, method, b"[]", ANSWER_KEY, 0)
        signed = sign_query(other.pop("signer", key), replace(body, **other))
        return QueryEnvelope(contract, instance, seal_query(record.encryption_key, signed, PAD))

    def opened(self, contract, envelope, answer):
        key = SecretBytes(ANSWER_KEY)
        return open_answer(key, self.net.network, contract, request_digest(envelope.sealed), answer.sealed)

    async def ask(self, contract, worker, **other):
        envelope = self.question(contract, worker, **other)
        return self.opened(contract, envelope, await worker.answer(envelope, worker._session.instance.id))


def story(guest, tmp_path, tell, *, freshness_s: int = 60, **timing) -> None:
    """Tell a story. However busy the machine, an enclave that is fresh is so still when it is asked the moment after.

    Whoever needs it to fall silent, or a lease to end, gives a `LeapingClock` and turns that.
    """

    async def run() -> None:
        net = LocalNetwork(tmp_path, seats=3, threshold=2, freshness_s=freshness_s, **timing)
        try:
            await tell(Story(net, guest))
        finally:
            await net.close()

    asyncio.run(run())


@pytest.fixture(scope="session")
def guest():
    with CompiledCache(cache_directory() / "tests", SecretBytes(b"k" * 32)).guest(guest_artefact()) as compiled:
        yield compiled
