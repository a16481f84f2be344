"""Calls that a change of key epoch shuts out: sealed again once it is proven that they did not happen."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from keephold.base.errors import DeadlineExceeded, LedgerRefused, NoLiveWorker
from keephold.client import outbox, pending
from keephold.crypto.secret import SecretBytes
from keephold.follower.contracts import VerifiedContract
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, Registration, Rotation, contract_path, registration_path
from keephold.protocol.transactions import Rotate, open_signed, transaction_id
from keephold.protocol.wire import Verdict
from keephold.sealing.contract_keys import ContractKeys

NOW = 1_700_000_000 * 10**9
WORKER = b"w" * 32
LIVE = Registration(
    WORKER, "worker", WORKER, WORKER, bytes(1216), WORKER, 1, WORKER, WORKER, "v", WORKER, WORKER, 1, NOW + 10**15
)


class Epochs:
    """The contract's key epochs on a paper node: what the rules say to calls, and what verification finds."""

    def __init__(self, desk, monkeypatch) -> None:
        self.desk, self.node = desk, desk.node
        self.first = desk.contract._verified
        self.verdict = True
        self.node.verdict = self.judge
        monkeypatch.setattr("keephold.client.contract.verify_contract", self.verify)
        self.put("active", 1)

    def put(self, phase: str, epoch: int) -> None:
        coming = (Rotation(epoch + 1),) if phase == "rotating" else ()
        self.record = ContractRecord(
            bytes(32), 0, bytes(32), bytes(32), ContractPolicy(), phase, epoch=epoch, rotation=coming, workers=(WORKER,)
        )
        self.node.leaves[registration_path(WORKER)] = encode(LIVE)
        self.node.leaves[contract_path(self.node.contract)] = encode(self.record)
        for known in (epoch, epoch + 1):
            self.node.epochs.setdefault(
                known, ContractKeys(SecretBytes(b"k" * 32), self.node.network, self.node.contract, known)
            )
        self.node.make([])
        self.node.make([])

    def judge(self, raw: bytes) -> Verdict | None:
        body = open_signed(raw, self.node.network).body
        if isinstance(body, Rotate):
            return None
        if self.record.phase == "rotating":
            return Verdict(Refusal.ROTATING)
        return Verdict(Refusal.WRONG_EPOCH) if body.epoch != self.record.epoch else None

    async def verify(self, *_: object, **__: object) -> VerifiedContract:
        if self.record.phase == "rotating":
            raise LedgerRefused(Refusal.ROTATING.word)
        fields = {name: getattr(self.first, name) for name in VerifiedContract.__dataclass_fields__}
        public = self.node.epochs[self.record.epoch].encryption.public
        return VerifiedContract._mint(**fields | {"record": self.record, "encryption_key": public})


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(outbox, "DOUBT_SECONDS", 0.1)
    monkeypatch.setattr(pending, "_HEADERS", 2)
    monkeypatch.setattr(pending, "_PROOF_SECONDS", 60)  # what is proven here is proven at once, or when the machine can
    monkeypatch.setattr("keephold.follower.follow._WAIT_SECONDS", 0.2)


async def spin(seconds: float = 0.1) -> None:
    await asyncio.sleep(seconds)


def test_calls_of_a_closed_epoch_are_sealed_again_in_order_and_run_once(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("rotating", 1)
        calls = [await desk.contract.submit("say", n, account=who) for n in range(5) for who in (desk.alice, desk.bob)]
        before = [call.id for call in calls]
        await spin()
        assert desk.node.executed == []
        epochs.put("active", 2)
        assert [await call.wait() for call in calls] == [n for n in range(5) for _ in range(2)]
        for who in (desk.alice, desk.bob):
            assert [n for sender, n in desk.node.executed if sender == who.key.public] == list(range(5))
        assert not set(before) & {call.id for call in calls}
        assert {call.epoch for call in calls} == {2}

    at_desk(story)


def test_a_stale_client_learns_of_the_next_epoch_by_a_refusal(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("active", 3)
        assert await desk.contract.call("say", 1, account=desk.alice) == 1
        assert (await desk.contract.verified()).epoch == 3

    at_desk(story)


def test_a_new_call_waits_while_the_epoch_changes(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("rotating", 1)
        desk.contract._verified = None
        call = asyncio.ensure_future(desk.contract.call("say", 1, account=desk.alice))
        await spin()
        assert desk.node.submissions == []
        epochs.put("active", 2)
        assert await call == 1

    at_desk(story)


def test_a_call_accepted_before_is_answered_under_its_own_epoch(at_desk, monkeypatch, until) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        desk.node.is_executing = False
        call = await desk.contract.submit("say", 1, account=desk.alice)
        await until(lambda: desk.node.submissions)
        epochs.put("active", 2)
        desk.node.execute(desk.node.submissions[0])
        assert await call.wait() == 1
        assert call.epoch == 1

    at_desk(story)


@pytest.mark.parametrize("word", [Refusal.ROTATING, Refusal.WRONG_EPOCH])
def test_without_proof_that_the_epoch_is_closed_the_refusal_stands(at_desk, monkeypatch, word) -> None:
    """A node that lies: it says the epoch changed, and keeps the call. Sealed again it could run twice."""

    async def story(desk) -> None:
        Epochs(desk, monkeypatch)
        desk.node.verdict = lambda _: Verdict(word)
        with pytest.raises(LedgerRefused, match=word.word):
            await desk.contract.call("say", 1, account=desk.alice, deadline=20)
        assert len({raw for batch in desk.node.submissions for raw in batch}) == 1
        desk.node.verdict = lambda _: None
        assert await desk.contract.call("say", 2, account=desk.alice) == 2

    at_desk(story)


def test_a_call_that_happened_is_not_sealed_again_whatever_the_node_says(at_desk, monkeypatch) -> None:
    """The node orders the call, denies it, and then the epoch changes for real: the nonce gives it away."""

    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)

        def deny(raw: bytes) -> Verdict | None:
            if transaction_id(raw) not in desk.node.known:
                desk.node.order([raw])
                del desk.node.known[transaction_id(raw)]
                epochs.put("active", 2)
            return Verdict(Refusal.ROTATING)

        desk.node.frame = lambda frame: frame.__class__(frame.height, frame.signed_header)  # receipts withheld
        desk.node.verdict = deny
        with pytest.raises(LedgerRefused, match="rotating"):
            await desk.contract.call("say", 1, account=desk.alice, deadline=20)
        assert desk.node.executed == [(desk.alice.key.public, 1)]

    at_desk(story)


def test_a_refusal_for_another_reason_is_the_callers(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("rotating", 1)
        desk.node.verdict = lambda _: Verdict(Refusal.TOO_LARGE)
        first = await desk.contract.submit("say", 1, account=desk.alice)
        behind = await desk.contract.submit("say", 2, account=desk.alice)
        with pytest.raises(LedgerRefused, match="too_large"):
            await first.wait()
        with pytest.raises(LedgerRefused, match="bad_nonce"):
            await behind.wait()

    at_desk(story)


@pytest.mark.parametrize(
    ("registrations", "expected"),
    [
        pytest.param([], NoLiveWorker, id="none assigned"),
        pytest.param([None], NoLiveWorker, id="none registered"),
        pytest.param([replace(LIVE, status="lapsed")], NoLiveWorker, id="lapsed"),
        pytest.param([replace(LIVE, lease_ns=1)], NoLiveWorker, id="lapsed and not noted"),
        pytest.param([replace(LIVE, status="revoked"), replace(LIVE, lease_ns=1)], NoLiveWorker, id="two"),
        pytest.param([replace(LIVE, status="revoked"), LIVE], DeadlineExceeded, id="one of two"),
    ],
)
def test_a_contract_that_nobody_runs_is_told_from_one_that_is_late(at_desk, monkeypatch, registrations, expected):
    """The ledger proves it, so the caller knows what to do about it; the call waits and is executed later."""

    async def story(desk) -> None:
        node = desk.node
        workers = tuple(bytes([at]) * 32 for at in range(1, len(registrations) + 1))
        record = ContractRecord(bytes(32), 0, bytes(32), bytes(32), ContractPolicy(), "active", workers=workers)
        node.leaves[contract_path(node.contract)] = encode(record)
        for worker, found in zip(workers, registrations, strict=True):
            if found is not None:
                node.leaves[registration_path(worker)] = encode(replace(found, identity=worker))
        node.make([])
        node.make([])
        node.is_executing = False
        call = await desk.contract.submit("say", 4, account=desk.alice)
        await spin()
        with pytest.raises(expected):
            await call.wait(0.1)
        node.is_executing = True
        node.make([])

    at_desk(story)


def test_a_deadline_ends_the_waiting_and_the_call_goes_on(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("rotating", 1)
        call = await desk.contract.submit("say", 1, account=desk.alice)
        with pytest.raises(DeadlineExceeded):
            await call.wait(0.1)
        epochs.put("active", 2)
        assert await call.wait() == 1

    at_desk(story)


def test_closing_ends_those_who_wait_for_the_next_epoch(at_desk, monkeypatch, until) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        epochs.put("rotating", 1)
        call = await desk.contract.submit("say", 1, account=desk.alice)
        waiting = asyncio.ensure_future(call.wait())
        await until(lambda: call._refusal)
        await desk.connection.aclose()
        with pytest.raises(LedgerRefused, match="rotating"):
            await waiting

    at_desk(story)


@pytest.mark.parametrize("order", ["after", "before", "before, alone at first"])
def test_a_call_that_the_ledger_appended_twice_is_answered_by_its_own_receipt(at_desk, order, until) -> None:
    """Validators append it twice; a node shows the receipt of the repetition first, or for now nothing else."""

    async def story(desk) -> None:
        node = desk.node
        node.is_executing = False
        call = await desk.contract.submit("say", 1, account=desk.alice)
        await until(lambda: node.submissions)
        raws = node.submissions[0]
        if order == "after":
            node.execute(raws)
        node.is_repeating = True
        node.execute(raws)
        node.is_repeating = False
        if order != "after":
            await spin(0.05 if order == "before" else 0.3)
            node.execute(raws)
        assert await call.wait() == 1

    at_desk(story)


def test_a_repetition_alone_is_no_answer(at_desk) -> None:
    async def story(desk) -> None:
        desk.node.is_repeating = True
        with pytest.raises(DeadlineExceeded):
            await desk.contract.call("say", 1, account=desk.alice, deadline=0.3)

    at_desk(story)


def test_rotate_returns_the_contract_under_its_next_epoch(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        turning = asyncio.ensure_future(desk.contract.rotate(desk.alice))
        await spin(0.05)
        epochs.put("rotating", 1)
        await spin(0.05)
        assert not turning.done()
        epochs.put("active", 2)
        assert (await turning).epoch == 2
        assert await desk.contract.call("say", 1, account=desk.alice) == 1

    at_desk(story)


def test_rotate_is_refused_or_late(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        Epochs(desk, monkeypatch)
        desk.node.verdict = lambda _: Verdict(Refusal.NOT_CREATOR)
        with pytest.raises(LedgerRefused, match="not_creator"):
            await desk.contract.rotate(desk.bob)
        desk.node.verdict = lambda _: None
        with pytest.raises(DeadlineExceeded, match="next key epoch"):
            await desk.contract.rotate(desk.alice, 0.2)

    at_desk(story)


def test_a_call_of_the_next_epoch_behind_one_that_was_shut_out_goes_again_under_its_own_nonce(
    at_desk, monkeypatch, until
) -> None:
    async def story(desk) -> None:
        epochs = Epochs(desk, monkeypatch)
        desk.node.verdict = lambda _: Verdict()  # accepted, and forgotten: the block that held it refused it
        first = await desk.contract.submit("say", 1, account=desk.alice)
        await until(lambda: desk.node.submissions)
        epochs.put("active", 2)
        desk.node.verdict = epochs.judge
        desk.contract._verified = None
        behind = await desk.contract.submit("say", 2, account=desk.alice)
        assert (first.epoch, behind.epoch, behind.nonce) == (1, 2, 1)
        assert (await first.wait(), await behind.wait()) == (1, 2)
        assert [n for _, n in desk.node.executed] == [1, 2]
        assert (first.epoch, behind.nonce) == (2, 1)

    at_desk(story)
