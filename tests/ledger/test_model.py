"""Rules against a model: whatever accounts and a worker try, in whatever order, nonces, inbox and progress agree."""

from __future__ import annotations

from collections import Counter
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId
from keephold.chain.sparse import SparseMap
from keephold.ledger import rules
from keephold.ledger.overlay import Overlay, State
from keephold.ledger.rules.context import BlockContext
from keephold.ledger.rules.roll import enrol
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    AccountRecord,
    Batch,
    ContractRecord,
    Registration,
    account_path,
    batch_path,
    contract_path,
    inbox_head,
    registration_path,
)
from keephold.protocol.transactions import Call, Echo, Result, SlotWrite, SubmitResult, Transaction

CONTRACT = ContractId(b"c" * 32)
WORKER = b"w" * 32
ACCOUNTS = [b"a" * 32, b"b" * 32, b"d" * 32]
NETWORK = b"n" * 32
SECOND = 10**9


def first_state(law: Any) -> State:
    state = State(0, SECOND, SparseMap.empty(), {}, {}, (), law)
    overlay = Overlay(state)
    registration = Registration(
        WORKER,
        "worker",
        bytes(32),
        bytes(32),
        bytes(1216),
        bytes(32),
        1,
        bytes(32),
        bytes(32),
        "v",
        bytes(32),
        bytes(32),
        1,
        2**60,
    )
    overlay.put(registration_path(WORKER), registration)
    enrol(overlay, registration)
    record = ContractRecord(
        ACCOUNTS[0],
        0,
        bytes(32),
        bytes(32),
        ContractPolicy(),
        "active",
        workers=(WORKER,),
        state_root=SparseMap.empty().root,
    )
    overlay.put(contract_path(CONTRACT), record)
    return overlay.settle(0, SECOND)[0]


class Ledger(RuleBasedStateMachine):
    """One contract, one worker, three accounts; blocks end whenever the machine says so."""

    law: ClassVar[Any] = None

    @initialize()
    def begin(self) -> None:
        self.state = first_state(type(self).law)
        self.height = 1
        self.overlay = Overlay(self.state)
        self.serial = 0
        # The model: nothing but lists and counters.
        self.nonces: Counter[bytes] = Counter()
        self.entries: list[tuple[int, bytes]] = []
        self.done = 0
        self.version = 0
        self.slots: dict[bytes, bytes] = {}

    def apply(self, sender: bytes, nonce: int, body: Any) -> tuple[Refusal | None, bytes]:
        self.serial += 1
        identity = self.serial.to_bytes(32, "big")
        block = BlockContext(NETWORK, self.height, self.height * SECOND, lambda _: None)
        before = dict(self.overlay.changed())
        try:
            rules.apply(self.overlay, block, Transaction(NETWORK, sender, nonce, body), identity)
        except LedgerRefused as error:
            assert dict(self.overlay.changed()) == before
            return Refusal[error.reason.upper()], identity
        return None, identity

    @rule(who=st.sampled_from([*ACCOUNTS, WORKER]), off=st.sampled_from([0, 0, 0, 1, -1]))
    def echo(self, who: bytes, off: int) -> None:
        nonce = self.nonces[who] + off
        if nonce < 0:
            return
        refusal, _ = self.apply(who, nonce, Echo(bytes(32)))
        assert refusal is (None if off == 0 else Refusal.BAD_NONCE)
        self.nonces[who] += refusal is None

    @rule(who=st.sampled_from(ACCOUNTS), epoch=st.sampled_from([1, 1, 1, 2]), off=st.sampled_from([0, 0, 0, 1]))
    def call(self, who: bytes, epoch: int, off: int) -> None:
        refusal, identity = self.apply(who, self.nonces[who] + off, Call(CONTRACT, epoch, b"sealed"))
        expected = Refusal.BAD_NONCE if off else Refusal.WRONG_EPOCH if epoch != 1 else None
        assert refusal is expected
        if refusal is None:
            self.nonces[who] += 1
            self.entries.append((self.height, identity))

    @rule()
    def end_block(self) -> None:
        self.state, _ = self.overlay.settle(self.height, self.height * SECOND)
        self.overlay = Overlay(self.state)
        self.height += 1

    @rule(
        count=st.integers(1, 4),
        off=st.sampled_from([0, 0, 0, 1, -1]),
        wrong=st.sampled_from(["", "", "", "head", "version", "root"]),
        writes=st.dictionaries(st.binary(min_size=32, max_size=32).filter(any), st.binary(max_size=3), max_size=3),
    )
    @precondition(lambda self: self.entries)
    def result(self, count: int, off: int, wrong: str, writes: dict[bytes, bytes]) -> None:
        first = self.done + 1 + off
        if first < 1:
            return
        head = self._head(first + count - 1)
        body = Result(
            CONTRACT,
            1,
            first,
            count,
            b"x" * 32 if wrong == "head" else head,
            self.version + (wrong == "version"),
            b"x" * 32 if wrong == "root" else SparseMap.of(self.slots.items()).root,
            self._root_after(writes),
            (b"receipt",) * count,
            tuple(SlotWrite(tag, value) for tag, value in sorted(writes.items())),
        )
        refusal, _ = self.apply(WORKER, self.nonces[WORKER], SubmitResult(bytes(32), body))
        consumed = self.entries[first - 1 : first - 1 + count]
        one_closed_batch = (
            len(consumed) == count and len({height for height, _ in consumed}) == 1 and consumed[0][0] < self.height
        )
        if off or not one_closed_batch or wrong == "head":
            assert refusal is Refusal.OUT_OF_ORDER
        elif wrong:
            assert refusal is Refusal.WRONG_PRE_STATE
        else:
            assert refusal is None
            self.nonces[WORKER] += 1
            self.done += count
            self.version += 1
            for tag, value in writes.items():
                self.slots[tag] = value
                if not value:
                    del self.slots[tag]

    def _root_after(self, writes: dict[bytes, bytes]) -> bytes:
        return SparseMap.of((tag, value) for tag, value in {**self.slots, **writes}.items() if value).root

    def _head(self, count: int) -> bytes:
        head = bytes(32)
        for index, (height, identity) in enumerate(self.entries[:count], 1):
            head = inbox_head(head, index, identity, height)  # type: ignore[arg-type]
        return head

    @invariant()
    def accounts_agree(self) -> None:
        for who in (*ACCOUNTS, WORKER):
            assert self.overlay.get(account_path(who), AccountRecord()).nonce == self.nonces[who]  # type: ignore[arg-type]

    @invariant()
    def the_contract_agrees(self) -> None:
        record = self.overlay.find(contract_path(CONTRACT), ContractRecord)
        assert record is not None
        assert (record.inbox_count, record.done, record.version) == (len(self.entries), self.done, self.version)
        assert record.inbox_head == self._head(len(self.entries))
        assert record.state_root == SparseMap.of(self.slots.items()).root
        assert dict(self.overlay.slot_map(CONTRACT)) == self.slots

    @invariant()
    def what_remains_lies_in_batches(self) -> None:
        """The batches chain from the first entry not consumed to the last one, and no other batch is left."""
        at = self.done + 1
        while at <= len(self.entries):
            batch = self.overlay.find(batch_path(CONTRACT, at), Batch)
            assert batch is not None
            expected = self.entries[at - 1 : at - 1 + len(batch.entries)]
            assert [(batch.height, entry) for entry in batch.entries] == expected
            assert batch.before == self._head(at - 1)
            at += len(batch.entries)
        assert at == len(self.entries) + 1


def test_rules_agree_with_the_model(make_desk):
    Ledger.law = make_desk().genesis.law
    machine = Ledger.TestCase
    machine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    machine().runTest()
