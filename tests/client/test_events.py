"""Events: found by tag in results that were accepted, opened by whoever they are for, none left out unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace

import pytest

from keephold.base.errors import AbiError, NotFound, ProofInvalid
from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.client.events import ContractEvent, EventLog
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.nodes import Nodes
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.messages import EventPlain
from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Result, SealedEvent, SubmitResult, sign
from keephold.protocol.wire import Frame, InboxEntry, InboxPage, LocatedTransaction, StreamRequest, TransactionResult
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.event import EventSealer, public_event_key

NETWORK = NetworkId(b"n" * 32)
CONTRACT = ContractId(b"c" * 32)
ALICE, BOB = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
WORKERS = [SigningKey(SecretBytes(bytes([number]) * 32)) for number in (1, 2, 3)]
BUCKETS = (128,)
KEYS = {epoch: ContractKeys(SecretBytes(bytes([epoch]) * 32), NETWORK, CONTRACT, epoch) for epoch in (1, 2)}
SCHEMAS = {"Moved": {"type": "object", "properties": {"amount": {"format": "int128"}}, "required": ["amount"]}}


def sealed(entry: int, to: PublicKey | None, amount: int, *, position: int = 0, epoch: int = 1, name: str = "Moved"):
    key = public_event_key(NETWORK, CONTRACT, epoch) if to is None else KEYS[epoch].event_key(to)
    return EventSealer(key).seal(EventPlain(name, b'{"amount":%d}' % amount, entry), position, BUCKETS)


def result(first: int, *events: SealedEvent, count: int = 1, epoch: int = 1) -> Result:
    return Result(CONTRACT, epoch, first, count, bytes(32), first - 1, bytes(32), bytes(32), (b"",) * count, (), events)


class Node:
    """A follower whose node shows one vote a block; `codes` is what each came to."""

    def __init__(self, votes: Sequence[tuple[int, Result]], done: int, *, quorum: int = 1, codes=None) -> None:
        self.view = SimpleNamespace(network=NETWORK)
        self.remote = self
        self.done, self.quorum = done, quorum
        self.height = len(votes) + 1
        self.raws = [
            sign(NETWORK, WORKERS[worker], number, SubmitResult(bytes(32), voted))
            for number, (worker, voted) in enumerate(votes)
        ]
        self.codes = dict(zip(map(sha256, self.raws), codes or [0] * len(votes), strict=True))
        self.asked = StreamRequest(0, None)  # type: ignore[arg-type]

    async def prove(self, paths: Sequence[bytes]):
        policy = ContractPolicy(2, self.quorum, self.quorum)
        record = ContractRecord(ALICE, 0, bytes(32), bytes(32), policy, "active", done=self.done)
        values = {path: encode(record) if self.done >= 0 else None for path in paths}
        return Proven(values, self.height)

    @property
    def nodes(self) -> Nodes:
        return Nodes([self])  # type: ignore[list-item]

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        return InboxPage(() if first > self.done else (InboxEntry(first, b""),))

    async def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        self.asked = request
        for height, raw in enumerate([b"junk", *self.raws, b""], 1):
            items = (LocatedTransaction(0, raw),) if raw else ()
            yield Frame(height, b"", transactions=items)
        yield Frame(self.height + 1, b"")

    async def locate(self, ids: Sequence[bytes]):
        return {id_: SimpleNamespace(result=TransactionResult(self.codes[id_])) for id_ in ids if id_ in self.codes}


class Proven(dict):
    def __init__(self, values: dict[bytes, bytes | None], height: int) -> None:
        super().__init__(values)
        self.height = height


def read(node: Node, reader: PublicKey | None = None, *, epoch: int = 1, since: int = 0) -> list[tuple[int, int, bool]]:
    key = None if reader is None else KEYS[epoch].event_key(reader)
    log = EventLog(node, CONTRACT, SCHEMAS)  # type: ignore[arg-type]
    found: tuple[ContractEvent, ...] = asyncio.run(log.read(key, epoch, since))
    return [(event.entry, event.fields["amount"], event.public) for event in found]


HISTORY = [
    (0, result(1, sealed(1, ALICE, 10), sealed(1, BOB, 10), sealed(1, ALICE, 11, position=1))),
    (0, result(2, sealed(3, None, 30), sealed(2, BOB, 20), count=2)),
    (0, result(4, sealed(4, ALICE, 40))),
]


def test_each_reader_finds_his_own_and_the_public_ones():
    assert read(Node(HISTORY, 4), ALICE) == [(1, 10, False), (1, 11, False), (3, 30, True), (4, 40, False)]
    assert read(Node(HISTORY, 4), BOB) == [(1, 10, False), (2, 20, False), (3, 30, True)]
    assert read(Node(HISTORY, 4)) == [(3, 30, True)]


def test_reading_on_starts_in_the_middle_of_a_result():
    assert read(Node(HISTORY, 4), ALICE, since=2) == [(3, 30, True), (4, 40, False)]
    assert read(Node(HISTORY, 4), ALICE, since=4) == []


def test_a_result_that_is_left_out_is_noticed():
    with pytest.raises(ProofInvalid, match="up to entry 1; 4 entries"):
        read(Node([HISTORY[0], HISTORY[2]], 4), ALICE)
    with pytest.raises(ProofInvalid, match="up to entry 3"):
        read(Node(HISTORY[:2], 4), ALICE)


def test_a_refused_result_does_not_count():
    forged = (1, result(1, sealed(1, None, 666)))
    assert read(Node([forged, *HISTORY], 4, codes=[1, 0, 0, 0])) == [(3, 30, True)]


def test_one_liar_of_a_quorum_is_outvoted():
    forged, honest = result(1, sealed(1, None, 666)), result(1, sealed(1, None, 1))
    assert read(Node([(1, forged), (0, honest), (2, honest)], 1, quorum=2)) == [(1, 1, True)]
    with pytest.raises(ProofInvalid):
        read(Node([(1, forged), (1, forged), (0, honest)], 1, quorum=2))


def test_events_of_another_epoch_stay_closed_but_public_ones_do_not():
    history = [HISTORY[0], (0, result(2, sealed(2, ALICE, 20, epoch=2), sealed(2, None, 21, epoch=2), epoch=2))]
    assert read(Node(history, 2), ALICE, epoch=2) == [(2, 20, False), (2, 21, True)]


def test_an_event_that_the_abi_does_not_know():
    with pytest.raises(AbiError, match="Odd"):
        read(Node([(0, result(1, sealed(1, None, 1, name="Odd")))], 1))


def test_a_contract_that_is_not_there():
    with pytest.raises(NotFound):
        read(Node([], -1))


def test_the_stream_is_asked_for_this_contract_from_the_first_entry_on():
    node = Node(HISTORY, 4)
    read(node, ALICE, since=1)
    assert (node.asked.from_height, node.asked.interest.contracts) == (2, (CONTRACT,))
