"""A contract's world in one process: its worker's core, a scripted sandbox, and the ledger on paper."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from worker_cast import CONTRACT, INSTANCE, NETWORK, OTHER, OTHER_KEY, OWNED, WORKER, WORKER_KEY, code, keys
from worker_ledger import Ledger

from keephold.base.errors import ExecutionCrashed
from keephold.base.ids import PublicKey, TransactionId
from keephold.protocol.transactions import (
    PublishKey,
    SubmitMigration,
    SubmitResult,
)
from keephold.runtime.outcome import CallRequest, ContractInfo, Emitted, Outcome, StateReader
from keephold.worker.contract import ContractCore
from keephold.worker.lineage import Vote
from keephold.worker.orders import (
    Execute,
    FetchBatch,
    FetchCode,
    FetchKey,
    FetchSigning,
    FetchSlots,
    FetchSteps,
    FetchVotes,
    JudgeVotes,
    LoadCode,
    Migrate,
    Order,
    Submit,
)
from keephold.worker.running import Executor

Behaviour = Callable[[CallRequest, Callable[[str], bytes | None]], Outcome]


def counter(call: CallRequest, get: Callable[[str], bytes | None]) -> Outcome:
    """A contract that counts its calls, rejects `no` and fails at `bad`; `big:n` returns n bytes, `wide:n` writes n."""
    if call.method == "no":
        return Outcome(status="rejected", code="no", detail="not today")
    if call.method == "bad":
        return Outcome(status="failed", detail="KeyError: secret", line=3)
    if call.method.startswith("big:"):
        return Outcome(status="ok", value_json='"' + "x" * int(call.method[4:]) + '"', writes={"big": b"1"})
    if call.method.startswith("wide:"):
        return Outcome(status="ok", writes={f"w{at:05}": b"x" * 400 for at in range(int(call.method[5:]))})
    if call.method == "tell":
        audience = tuple(json.loads(call.args_json))
        return Outcome(status="ok", events=(Emitted("Told", "{}", audience), Emitted("All", "{}", "public")))
    if call.method == "clear":
        return Outcome(status="ok", writes={"count": None})
    total = int(get("count") or b"0") + 1
    return Outcome(status="ok", value_json=str(total), writes={"count": str(total).encode(), call.sender: b"seen"})


@dataclass
class Sandbox:
    """A scripted executor: `poison` methods kill the process that runs them."""

    behaviour: Behaviour = counter
    poison: frozenset[str] = frozenset()
    deaths_left: int = 1_000
    ran: list[str] = field(default_factory=list)
    restarts: int = 0

    def execute(self, calls: Iterable[CallRequest], store: StateReader) -> Iterator[Outcome]:
        pending: dict[str, bytes | None] = {}
        for call in calls:
            self.ran.append(call.method)
            if call.method in self.poison and self.deaths_left:
                self.deaths_left -= 1
                raise ExecutionCrashed("killed")
            outcome = self.behaviour(call, lambda key: pending[key] if key in pending else store.get(key))
            pending.update(outcome.writes)
            yield outcome

    def restart(self) -> None:
        self.restarts += 1


class Worker:
    """A core with a shell that does everything at once, except what a test holds back."""

    def __init__(self, ledger: Ledger, sandbox: Executor | None = None, *, identity: PublicKey = WORKER) -> None:
        self.ledger = ledger
        self.identity = identity
        self.sandbox = sandbox or Sandbox()
        self.key = OTHER_KEY if identity == OTHER else WORKER_KEY
        self.core = ContractCore(CONTRACT, NETWORK, identity, INSTANCE)
        self.code = code(ledger.record.policy)
        self.outbox: list[SubmitResult | SubmitMigration] = []
        self.held: list[Order] = []
        self.hold: tuple[type, ...] = ()
        self.given: list[Order] = []

    def work(self) -> None:
        """Carry out orders until there are none."""
        while orders := self.core.orders():
            self.given += orders
            for order in orders:
                if isinstance(order, self.hold):
                    self.held.append(order)
                else:
                    self.do(order)

    def do(self, order: Order) -> None:
        match order:
            case FetchCode():
                self.core.coded(self.code)
            case LoadCode():
                self.core.loaded(ContractInfo(self.code.name, self.code.abi.decode()))
            case FetchKey(epoch):
                self.core.keyed(keys(epoch=epoch))
            case FetchSigning():
                self.core.owned(OWNED)
            case FetchVotes(backings):
                self.core.voted(order, [self.ledger.located(item.transaction, item) for item in backings])
            case FetchSteps(first, last):
                found = [vote.id for height, vote in self.ledger.votes.values() if first <= height <= last]
                self.core.voted(order, [self.ledger.located(identity) for identity in found])
            case JudgeVotes(votes):
                self.core.judged({vote.id: self.ledger.enclaves.get(vote.sender) for vote in votes})
            case FetchSlots(root):
                self.core.slots(order, tuple(self.ledger.history[root]))
            case FetchBatch(index):
                self.core.batch(self.ledger.batch(index))
            case Execute(job):
                self.core.executed(job, job.run(self.sandbox))
            case Submit(PublishKey() as body):
                self.ledger.publish(body, self.identity)
            case Migrate(job):
                self.core.migrated(job, job.run())
            case Submit(SubmitResult() | SubmitMigration() as body):
                self.outbox.append(body)

    def see(self, calls: list[tuple[TransactionId, bytes]] = (), votes: Sequence[Vote] = ()) -> None:  # type: ignore[assignment] # none
        """Follow one block: what its header proves, then what it orders. Call before the ledger moves on."""
        self.core.record(self.ledger.proven())
        self.core.block(self.ledger.ordering(self.ledger.height), calls, votes)
        self.work()

    def prove(self) -> None:
        """See the record only."""
        self.core.record(self.ledger.proven())
        self.work()

    def deliver(self) -> int:
        """Have the ledger take what was submitted; return how much of it it accepted."""
        accepted = 0
        for body in self.outbox:
            if isinstance(body, SubmitMigration):
                accepted += self.ledger.migrate(body.migration, self.key)
            else:
                accepted += self.ledger.accept(body.result, self.key)
        self.outbox.clear()
        self.ledger.height += 1
        self.prove()
        return accepted


def started(ledger: Ledger | None = None, sandbox: Executor | None = None) -> Worker:
    """Return a worker whose contract is active."""
    worker = Worker(ledger or Ledger(), sandbox)
    worker.prove()
    worker.ledger.height += 1
    worker.prove()
    return worker


def settle(worker: Worker, *raws: bytes) -> None:
    """Order calls in one block and go on until their results are accepted."""
    calls = worker.ledger.order(*raws)
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.work()
    worker.prove()
    while worker.outbox:
        worker.deliver()
