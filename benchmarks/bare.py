"""A ledger in this process, with active contracts and a live worker, without the ceremony that leads there.

What the rules and the disk cost shows here without programs, sockets and enclaves around them.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from keephold.chain.chain_id import chain_id
from keephold.chain.sparse import SparseMap
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.overlay import Overlay
from keephold.ledger.reader import LedgerReader
from keephold.ledger.rules.roll import enrol
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.protocol.state import (
    Batch,
    ContractRecord,
    Registration,
    batch_path,
    contract_path,
    inbox_head,
    registration_path,
)
from keephold.protocol.transactions import Call, Result, SlotWrite, SubmitResult, sign

SECOND = 1_000_000_000
SENDERS = 16
CALL_BYTES = 1650
"""Of a sealed transfer."""
RECEIPT_BYTES = 300
SLOT_BYTES = 160
SLOTS = 2000
"""Slots of a contract that results write, in turn: a state that does not grow."""
VALIDATOR_SEED = b"v" * 32
VALIDATOR = ValidatorKey(SecretBytes(VALIDATOR_SEED))


def key(name: str) -> SigningKey:
    return SigningKey(SecretBytes(hashlib.sha256(name.encode()).digest()))


def contract(number: int) -> bytes:
    return hashlib.sha256(b"contract %d" % number).digest()


def law() -> Constitution:
    return Constitution(
        GovernanceRules((key("governor").public,), 1, 0),
        AttestationPolicy((), (), SECOND),
        CommitteeRules(1, 1, SECOND),
        Timing(SECOND, SECOND, SECOND),
        (ValidatorEntry(VALIDATOR.public, 1),),
    )


class Ticking:
    """A clock that the benchmark moves."""

    def __init__(self) -> None:
        self.time_ns = SECOND

    def now_ns(self) -> int:
        return self.time_ns

    def monotonic(self) -> float:
        return self.time_ns / SECOND


class Bare:
    """The ledger, and who calls and answers."""

    def __init__(self, directory: Path, contracts: int = 1) -> None:
        self.directory = directory
        self.genesis = Genesis("bench", SECOND, bytes(32), law())
        self.network = network_id(self.genesis)
        self.clock = Ticking()
        self.worker = key("worker")
        self.senders = [key(f"sender {number}") for number in range(SENDERS)]
        self._nonces = [0] * SENDERS
        self._results = 0
        self.written = 0
        self.application = LedgerApplication(self.genesis, directory)
        self._prepare(contracts)
        self.engine = self._engine()
        self.reader = LedgerReader(self.application, self.engine)

    def _engine(self) -> EmbeddedEngine:
        return EmbeddedEngine(
            self.application,
            self.directory,
            VALIDATOR,
            chain_id=chain_id(self.network),
            genesis_ns=SECOND,
            validators=self.application.validators(),
            clock=self.clock,
        )

    def _prepare(self, contracts: int) -> None:
        newest = self.application.map.newest
        overlay = Overlay(newest)
        registration = Registration(
            identity=self.worker.public,
            role="worker",
            operator=bytes(32),
            instance=bytes(32),
            encryption_key=bytes(1216),
            transaction=bytes(32),
            level=1,
            measurement=bytes(32),
            platform=bytes(32),
            vendor="none",
            collateral=bytes(32),
            judged_by=bytes(32),
            height=1,
            lease_ns=(1 << 62),
        )
        overlay.put(registration_path(self.worker.public), registration)
        enrol(overlay, registration)
        record = ContractRecord(
            creator=bytes(32),
            nonce=0,
            code=bytes(32),
            deployment=bytes(32),
            policy=ContractPolicy(),
            phase="active",
            workers=(self.worker.public,),
            encryption_key=bytes(1216),
            signing_key=bytes(32),
            state_root=SparseMap.empty().root,
        )
        for number in range(contracts):
            overlay.put(contract_path(contract(number)), record)
        state, _ = overlay.settle(newest.height, newest.time_ns)
        self.application.map._newest = state  # noqa: SLF001 - a benchmark's short cut
        self.application.recheck(())

    def record(self, number: int = 0) -> ContractRecord:
        found = self.application.map.newest.record(contract_path(contract(number)), ContractRecord)
        assert found is not None
        return found

    def calls(self, numbers: Sequence[int]) -> list[bytes]:
        """Return signed calls to these contracts, the senders in turn."""
        raws = []
        for at, number in enumerate(numbers):
            who = at % SENDERS
            raws.append(
                sign(self.network, self.senders[who], self._nonces[who], Call(contract(number), 1, bytes(CALL_BYTES)))
            )
            self._nonces[who] += 1
        return raws

    def result(self, number: int = 0) -> bytes:
        """Return the signed result of a contract's oldest batch, which writes two slots for each call."""
        record = self.record(number)
        first = record.done + 1
        batch = self.application.map.newest.record(batch_path(contract(number), first), Batch)
        assert batch is not None
        head = batch.before
        for entry, identity in enumerate(batch.entries, first):
            head = inbox_head(head, entry, identity, batch.height)
        slots = self.application.map.newest.slots.get(contract(number), SparseMap.empty())
        count = len(batch.entries)
        turns = range(self.written, self.written + 2 * count)
        self.written += 2 * count
        tags = sorted({hashlib.sha256(b"%d" % (turn % SLOTS)).digest() for turn in turns})
        value = self.written.to_bytes(8, "big") * (SLOT_BYTES // 8)
        writes = dict.fromkeys(tags, value)
        result = Result(
            contract(number),
            1,
            first,
            count,
            head,
            record.version,
            record.state_root,
            slots.update(writes.items()).root,
            tuple(bytes(RECEIPT_BYTES) for _ in range(count)),
            tuple(SlotWrite(tag, item) for tag, item in writes.items()),
        )
        raw = sign(self.network, self.worker, self._results, SubmitResult(bytes(32), result))
        self._results += 1
        return raw

    def block(self, raws: Sequence[bytes] = (), seconds: float = 0.25) -> int:
        """Have these ordered in one block, so much later; return its height."""
        if raws:
            refused = [said for said in self.engine.submit(raws) if said.code]
            assert not refused, refused[0]
        self.clock.time_ns += round(seconds * SECOND)
        return self.engine.step()

    def fresh(self) -> LedgerReader:
        """Return a reader that has made nothing yet: what the first to ask pays."""
        return LedgerReader(self.application, self.engine)

    def close(self) -> None:
        self.engine.stop()
        self.application.close()


@contextlib.contextmanager
def bare(contracts: int = 1) -> Iterator[Bare]:
    """Yield a ledger in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="bare-") as place:
        ledger = Bare(Path(place), contracts)
        try:
            yield ledger
        finally:
            ledger.close()
