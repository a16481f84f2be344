"""Clients of the ledger on paper: at one node, and at several that fail in every way that nodes can."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from client_paper import SOURCE, PaperNode, Served, StoppedClock

from keephold.base.errors import NodeUnreachable
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.contract import AsyncContract
from keephold.client.nodes import Node
from keephold.contract.check import check_source
from keephold.contract.values import canonical
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.contracts import Argument, VerifiedContract, Voucher
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.state import ContractRecord
from keephold.protocol.wire import (
    AnswerEnvelope,
    FoundTransaction,
    Frame,
    LightBlock,
    ProveAnswer,
    QueryEnvelope,
    StreamRequest,
    Verdict,
)

PATIENCE_SECONDS = 120
"""It ends a test that hangs, and says where; never one on a busy machine."""


@dataclass
class Desk:
    """A client at a paper node."""

    node: PaperNode
    connection: Connection
    contract: AsyncContract
    alice: Account
    bob: Account


def account(number: int, name: str) -> Account:
    return Account(SigningKey(SecretBytes(bytes(31) + bytes([number]))), name)


def contract_of(connection: Connection, paper: PaperNode) -> AsyncContract:
    """The paper ledger's contract, verified by decree."""
    code = Code("python", SOURCE.encode(), "Echo", canonical(check_source(SOURCE).abi).encode())
    record = ContractRecord(bytes(32), 0, bytes(32), bytes(32), ContractPolicy(), "active")
    worker = type("Worker", (), {"instance": b"i" * 32, "identity": b"w" * 32})()
    verified = VerifiedContract._mint(
        id=paper.contract, record=record, code=code, height=1, signing_key=paper.keys.signing.public,
        encryption_key=paper.keys.encryption.public,
        vouchers=(Voucher._mint(registration=worker, is_same_instance=True),),
        is_simulated=True, argument=Argument(()),
    )  # fmt: skip
    return AsyncContract(connection, paper.contract, verified)


class Front(Served):
    """One of several nodes over the same paper ledger, with a name, which can fail in every way that a node can."""

    def __init__(self, node: PaperNode, name: str) -> None:
        super().__init__(node)
        self._name = name
        self.is_dead = False
        self.is_stalled = False
        self.frozen = 0
        """Height at which its chain stands still; 0: it goes on."""
        self.keeps_receipts_back = False
        self.lie: Callable[[ProveAnswer], ProveAnswer] = lambda answer: answer
        self.asked: list[str] = []
        self._died = asyncio.Event()

    def __str__(self) -> str:
        return self._name

    def die(self) -> None:
        self.is_dead = True
        self._died.set()

    def live(self) -> None:
        self.is_dead = False
        self._died = asyncio.Event()

    async def _reached(self, name: str) -> None:
        self.asked.append(name)
        if self.is_dead:
            raise NodeUnreachable(f"{self}: it is down")
        if self.is_stalled:
            await asyncio.Event().wait()

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        await self._reached("submit")
        if self.frozen:
            return tuple(Verdict() for _ in transactions)
        verdicts = await self._node.submit(transactions)
        await self._reached("submit")
        return verdicts

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        await self._reached("prove")
        return self.lie(await self._node.prove(height or self.frozen, paths))

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        await self._reached("blocks")
        return await self._node.blocks_([height or self.frozen for height in heights])

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        await self._reached("transactions")
        return tuple(item for item in await self._node.transactions(ids) if not 0 < self.frozen < item.height)

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        await self._reached("query")
        return await self._node.query(envelope)

    async def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        await self._reached("stream")
        died = asyncio.ensure_future(self._died.wait())
        frames = self._node.stream(request)
        try:
            while True:
                following = asyncio.ensure_future(anext(frames))
                try:
                    await asyncio.wait({following, died}, return_when=asyncio.FIRST_COMPLETED)
                    await self._reached("frame")
                    frame = following.result()
                finally:
                    following.cancel()
                    await asyncio.wait({following})
                if self.frozen and frame.height > self.frozen:
                    await died
                    raise NodeUnreachable(f"{self}: it is down")
                if not (self.keeps_receipts_back and frame.receipts):
                    yield frame
        finally:
            died.cancel()
            await frames.aclose()


@dataclass
class Choice:
    """A client that has several nodes."""

    paper: PaperNode
    nodes: list[Front]
    connection: Connection
    contract: AsyncContract
    alice: Account


@pytest.fixture
def until():
    """Return a coroutine function that waits for a condition, which something on the same loop makes true."""

    async def wait(condition: Callable[[], Any]) -> None:
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture
def at_nodes():
    """Run a coroutine function of a client that has so many nodes."""

    def run(story: Callable[[Choice], Any], count: int = 2, before: Callable[[list[Front]], None] = lambda _: None):
        async def main() -> None:
            paper = PaperNode()
            nodes = [Front(paper, f"node {number}") for number in range(count)]
            before(nodes)
            connection = await Connection.open([Node(node, node) for node in nodes], paper.record, StoppedClock())
            choice = Choice(paper, nodes, connection, contract_of(connection, paper), account(1, "alice"))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await story(choice)
            finally:
                await connection.aclose()

        asyncio.run(main())

    return run


@pytest.fixture
def at_desk():
    """Run a coroutine function at a fresh desk."""

    def run(story: Callable[[Desk], Any], node: Callable[[], PaperNode] = PaperNode) -> None:
        async def main() -> None:
            paper = node()
            served = Served(paper)
            connection = await Connection.open([Node(served, served)], paper.record, StoppedClock())
            contract = contract_of(connection, paper)
            desk = Desk(paper, connection, contract, account(1, "alice"), account(2, "bob"))
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await story(desk)
            finally:
                await connection.aclose()

        asyncio.run(main())

    return run
