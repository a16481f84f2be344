"""G11, between contracts: whoever calls a contract chooses where its messages go, and stops it by no choice."""

from __future__ import annotations

import pytest
from worker_cast import NETWORK, Caller
from worker_ledger import Ledger
from worker_scene import Sandbox, Worker

from keephold.base.ids import ContractId
from keephold.base.limits import MAX_BATCH, MAX_MESSAGES
from keephold.contract.address import Address
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.runtime.outcome import CallRequest, Outcome, Posted
from keephold.sealing.message import ChannelKey
from keephold.worker.contract import MAX_PEERS_AT_ONCE
from keephold.worker.mail import MAX_LINES, MAX_PEERS, Lacking, PeerAt, PeerEpochs
from keephold.worker.orders import Execute, FetchPeer, Order

_TURNS = 10_000


def notify(call: CallRequest, _: object) -> Outcome:
    """Send eight messages, each to a contract that the caller named: here, to one that nobody else names."""
    targets = (ContractId(sha256(b"%s %d" % (call.method.encode(), at))) for at in range(MAX_MESSAGES))
    return Outcome(
        status="ok", messages=tuple(Posted(Address.contract(target).text, "told", "[]", "") for target in targets)
    )


class Notifier(Worker):
    """A worker whose node and gatekeepers answer whatever it lacks."""

    def __init__(self, ledger: Ledger, *, epoch: int) -> None:
        super().__init__(ledger, Sandbox(notify))
        self.epoch = epoch
        self.most_at_once = 0

    def work(self) -> None:
        for _ in range(_TURNS):
            orders = self.core.orders()
            self.most_at_once = max(self.most_at_once, sum(isinstance(order, FetchPeer) for order in orders))
            lines = self.core.lines
            for order in orders:
                self.do(order)
            for line in lines:
                self.core.line(ChannelKey(SecretBytes(b"s" * 32), NETWORK, line))
            if not orders and not lines:
                return
        pytest.fail("it never stops asking")

    def do(self, order: Order) -> None:
        match order:
            case FetchPeer(PeerAt(contract, _)):
                begun = ((self.epoch, 1),) if self.epoch else ()
                self.core.peer(PeerEpochs(contract, 1 << 30, begun, is_whole=True))
            case Execute(job):
                found = job.run(self.sandbox)
                if isinstance(found, Lacking):
                    self.core.lacking(job, found)
                else:
                    self.core.executed(job, found)
            case _:
                super().do(order)


def answered(worker: Notifier, *raws: bytes) -> None:
    """Order calls in one block and have them executed."""
    calls = worker.ledger.order(*raws)
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.prove()
    while worker.outbox:
        assert worker.deliver()


def hosted(kind: type[Notifier], *, epoch: int) -> Notifier:
    worker = kind(Ledger(), epoch=epoch)
    worker.prove()
    worker.ledger.height += 1
    worker.prove()
    return worker


@pytest.mark.parametrize("epoch", [0, 1], ids=["contracts that do not exist", "contracts that do"])
def test_a_block_that_names_more_contracts_than_are_remembered_is_executed_all_the_same(epoch) -> None:
    calls = max(MAX_LINES, MAX_PEERS) // MAX_MESSAGES + 1
    assert calls <= MAX_BATCH
    worker = hosted(Notifier, epoch=epoch)
    mallory, alice = Caller(b"m"), Caller(b"a")
    answered(worker, *(mallory.call(f"m{at}") for at in range(calls)))
    assert worker.ledger.record.done == calls
    messages = [message for result in worker.ledger.results for message in result.messages]
    assert len(messages) == calls * MAX_MESSAGES
    assert {bool(message.sealed) for message in messages} == {bool(epoch)}
    # And so is what comes behind it.
    answered(worker, alice.call("a"))
    assert worker.ledger.record.done == calls + 1
    assert worker.most_at_once <= MAX_PEERS_AT_ONCE
    assert len(worker.core._mail._keys) <= MAX_LINES


class Forgetful(Notifier):
    """While a job is under way something comes in late that says less than what it began with."""

    def __init__(self, ledger: Ledger, *, epoch: int) -> None:
        super().__init__(ledger, epoch=epoch)
        self.asked: list[ContractId] = []

    def do(self, order: Order) -> None:
        if isinstance(order, FetchPeer):
            self.asked.append(order.peer.contract)
        if isinstance(order, Execute):
            for contract in self.asked:
                self.core.peer(PeerEpochs(contract, 0, (), is_whole=True))
        super().do(order)


def test_what_comes_in_while_a_job_runs_changes_nothing_of_what_it_seals() -> None:
    worker = hosted(Forgetful, epoch=1)
    answered(worker, Caller(b"a").call("a"))
    (result,) = worker.ledger.results
    assert [bool(message.sealed) for message in result.messages] == [True] * MAX_MESSAGES
