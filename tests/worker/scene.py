"""A contract's world in one process: callers, a ledger of one contract that obeys its rules, and a scripted sandbox."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

from msgspec.structs import replace

from keephold.base.errors import ExecutionCrashed
from keephold.base.ids import ContractId, HeaderHash, Height, NetworkId, PublicKey, TransactionId
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.admission import Admitted
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.messages import CallPlain, Reply
from keephold.protocol.rotation import may_migrate, migration_page
from keephold.protocol.state import Backing, Batch, ContractRecord, Publication, Rotation, inbox_head
from keephold.protocol.transactions import (
    Call,
    Migration,
    PublishKey,
    Result,
    SubmitMigration,
    SubmitResult,
    sign,
    transaction_id,
)
from keephold.runtime.outcome import CallRequest, ContractInfo, Emitted, Outcome, StateReader
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.sealing.receipt import open_receipt
from keephold.worker.code import ContractCode, contract_code
from keephold.worker.contract import ContractCore
from keephold.worker.inbox import Ordering, ProvenBatch
from keephold.worker.lineage import Vote, vote_of
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
from keephold.worker.readable import Proven
from keephold.worker.running import Executor
from keephold.worker.witnesses import transaction_of

NETWORK = NetworkId(b"n" * 32)
CONTRACT = ContractId(b"c" * 32)
WORKER_KEY, OTHER_KEY = SigningKey(SecretBytes(b"w" * 32)), SigningKey(SecretBytes(b"v" * 32))
WORKER, OTHER = WORKER_KEY.public, OTHER_KEY.public
INSTANCE = b"i" * 32
PAD = (512, 4096)
VIEWS = {
    "balance": {"kind": "view", "scope": "balance"},
    "title": {"kind": "view", "public": True},
}
ABI = json.dumps({"abi": 1, "pad": list(PAD), "methods": VIEWS}).encode()
REPLY_KEY = b"r" * 32


def keys(seed: bytes = b"k" * 32, epoch: int = 1) -> ContractKeys:
    return ContractKeys(SecretBytes(seed), NETWORK, CONTRACT, epoch)


KEYS = keys()
OWNED = OwnedKeys(SecretBytes(b"o" * 32), NETWORK, CONTRACT)


def code(policy: ContractPolicy = ContractPolicy(), *, tells: bool = False, abi: bytes = ABI) -> ContractCode:  # noqa: B008 - frozen
    return contract_code(
        CONTRACT, PublicKey(b"o" * 32), Code("python", b"", "Token", abi), policy, tells_failures=tells
    )


CODE = code()


class Caller:
    """An account."""

    def __init__(self, seed: bytes) -> None:
        self.key = SigningKey(SecretBytes(seed * 32))
        self.nonce = 0

    def call(self, method: str, arguments: bytes = b"[]", *, nonce: int | None = None, epoch: int = 1) -> bytes:
        """Return a signed call, under the next nonce or a given one."""
        if nonce is None:
            nonce = self.nonce
            self.nonce += 1
        context = CallContext(NETWORK, CONTRACT, epoch, self.key.public, nonce)
        public = KEYS.encryption.public if epoch == 1 else keys(epoch=epoch).encryption.public
        sealed = seal_call(public, context, CallPlain(method, arguments, REPLY_KEY), PAD)
        return self.signed(sealed, nonce, epoch)

    def signed(self, sealed: bytes, nonce: int, epoch: int = 1) -> bytes:
        return sign(NETWORK, self.key, nonce, Call(CONTRACT, epoch, sealed))


def admitted(identity: PublicKey, *, role: str = "worker", level: int = 1, operator: bytes = b"") -> Admitted:
    """What verified evidence of an enclave of its own operator and machine comes to."""
    claim = SimpleNamespace(role=role, operator=operator or bytes(identity))
    proof = SimpleNamespace(claim=claim, level=level, platform=b"p" + bytes(identity)[1:])
    return Admitted._mint(identity=identity, proof=proof, until_ns=1 << 62)


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


class Ledger:
    """One contract's records, by the rules: what an honest ledger proves."""

    def __init__(self, policy: ContractPolicy = ContractPolicy(), workers: tuple[bytes, ...] = (WORKER,)) -> None:  # noqa: B008 - frozen
        self.height = 1
        self.record = ContractRecord(
            creator=b"o" * 32,
            nonce=0,
            code=b"h" * 32,
            deployment=b"d" * 32,
            policy=policy,
            phase="keying",
            workers=workers,
            state_root=EMPTY_ROOT,
        )
        self.slots = SparseMap.empty()
        self.history: dict[bytes, SparseMap] = {EMPTY_ROOT: self.slots}
        self.raws: dict[bytes, bytes] = {}
        self.batches: list[tuple[int, Batch]] = []
        self.results: list[Result | Migration] = []
        self.receipts: dict[bytes, bytes] = {}
        self.enclaves: dict[bytes, Admitted] = {who: admitted(who) for who in (WORKER, OTHER)}
        self.votes: dict[bytes, tuple[int, Vote]] = {}

    def ordering(self, height: int) -> Ordering:
        return Ordering(Height(height), HeaderHash(sha256(b"header %d" % height)), 1_000_000_000 * height)

    def vote(self, step: Result | Migration, key: SigningKey = OTHER_KEY, *, time_ns: int = 0) -> Vote:
        """Return a worker's vote as a block orders it; any node hands it out from now on."""
        body = SubmitMigration(INSTANCE, step) if isinstance(step, Migration) else SubmitResult(INSTANCE, step)
        raw = sign(NETWORK, key, 0, body)
        vote = vote_of(transaction_id(raw), raw, transaction_of(raw), time_ns or self.ordering(self.height).time_ns)
        self.votes[vote.id] = (self.height, vote)
        return vote

    def ordered(self, height: int) -> list[Vote]:
        """Return the votes that a block ordered, as they come along with it."""
        return [copy.copy(vote) for at, vote in self.votes.values() if at == height]

    def settle(self, *votes: Vote) -> None:
        """Name the votes behind the present state."""
        backings = tuple(Backing(vote.id, b"registration".ljust(32), b"collateral".ljust(32)) for vote in votes)
        self.record = replace(self.record, settled=backings)

    def located(self, identity: bytes, backing: Backing | None = None) -> Vote:
        """Return a vote as its place on the chain is proven."""
        _, vote = self.votes[identity]
        return Vote(vote.id, vote.raw, vote.sender, vote.step, vote.time_ns, backing, is_accepted=True)

    def proven(self) -> Proven:
        """Return the record as the next header proves it."""
        header = self.ordering(self.height)
        return Proven(self.record, Height(self.height), header.header_hash, header.time_ns)

    def order(self, *raws: bytes) -> list[tuple[TransactionId, bytes]]:
        """Append calls in the block at the present height, and move on to the next."""
        first, before = self.record.inbox_count + 1, self.record.inbox_head
        ids = [transaction_id(raw) for raw in raws]
        head = before
        for at, identity in enumerate(ids, start=first):
            head = inbox_head(head, at, identity, Height(self.height))
        if ids:
            self.batches.append((first, Batch(self.height, before, tuple(ids))))
            self.record = replace(self.record, inbox_count=first + len(ids) - 1, inbox_head=head)
            self.raws |= dict(zip(ids, raws, strict=True))
        self.height += 1
        return list(zip(ids, raws, strict=True))

    def batch(self, index: int) -> ProvenBatch:
        first, batch = next(
            (first, batch) for first, batch in self.batches if first <= index < first + len(batch.entries)
        )
        return ProvenBatch(first, batch, self.ordering(batch.height), self.raws)

    def rotate(self) -> None:
        """End the key epoch."""
        self.record = replace(
            self.record, phase="rotating", rotation=(Rotation(self.record.epoch + 1, drain=self.record.inbox_count),)
        )
        self.height += 1

    def migrate(self, migration: Migration, key: SigningKey = WORKER_KEY) -> bool:
        """Apply a page if the rules allow it."""
        record = self.record
        if not may_migrate(record) or (migration.version, migration.pre_root) != (record.version, record.state_root):
            return False
        (rotation,) = record.rotation
        page = migration_page(self.slots, rotation.cursor, rotation.to_epoch)
        assert (migration.after, migration.until, migration.is_last) == (rotation.cursor, page.until, page.is_last)
        assert [write.tag for write in migration.writes] == sorted({write.tag for write in migration.writes})
        self.slots = self.slots.update((tag, None) for tag, _ in page.slots)
        self.slots = self.slots.update((write.tag, write.value) for write in migration.writes)
        self.history[self.slots.root] = self.slots
        self.results.append(migration)
        rotation = replace(rotation, cursor=page.until, pages=rotation.pages + 1)
        record = replace(record, version=record.version + 1, state_root=self.slots.root, rotation=(rotation,))
        if page.is_last:
            record = replace(
                record,
                phase="active",
                epoch=rotation.to_epoch,
                publications=rotation.publications,
                signing_key=rotation.signing_key,
                encryption_key=rotation.encryption_key,
                rotation=(),
            )
        self.record = record
        self.settle(self.vote(migration, key))
        return True

    def publish(self, body: PublishKey, worker: bytes = WORKER) -> None:
        """Take a publication; the contract becomes active."""
        published = Publication(worker, b"t" * 32, b"g" * 32)
        if self.record.rotation:
            (rotation,) = self.record.rotation
            rotation = replace(
                rotation,
                publications=(*rotation.publications, published),
                signing_key=body.signing_key,
                encryption_key=body.encryption_key,
            )
            self.record = replace(self.record, rotation=(rotation,))
            return
        self.record = replace(
            self.record,
            phase="active",
            publications=(*self.record.publications, published),
            signing_key=body.signing_key,
            encryption_key=body.encryption_key,
        )

    def accept(self, result: Result, key: SigningKey = WORKER_KEY) -> bool:
        """Apply a result if the rules allow it."""
        record = self.record
        if (result.first, result.version, result.pre_root) != (record.done + 1, record.version, record.state_root):
            return False
        first, batch = next(
            (first, batch) for first, batch in self.batches if first <= result.first < first + len(batch.entries)
        )
        head = batch.before
        for at, identity in enumerate(batch.entries, start=first):
            head = inbox_head(head, at, identity, Height(batch.height))
            if at == result.first + result.count - 1 and head == result.head:
                break
        else:
            return False
        assert len(result.receipts) == result.count
        assert [write.tag for write in result.writes] == sorted({write.tag for write in result.writes})
        for offset, receipt in enumerate(result.receipts):
            self.receipts[batch.entries[result.first - first + offset]] = receipt
        self.slots = self.slots.update((write.tag, write.value or None) for write in result.writes)
        self.history[self.slots.root] = self.slots
        self.results.append(result)
        self.record = replace(
            record,
            done=result.first + result.count - 1,
            version=record.version + 1,
            state_root=self.slots.root,
        )
        self.settle(self.vote(result, key))
        return True

    def reply(self, raw: bytes, epoch: int = 1) -> Reply:
        """Open the receipt of a call that was sealed to `epoch`."""
        call = transaction_id(raw)
        return open_receipt(SecretBytes(REPLY_KEY), NETWORK, CONTRACT, epoch, call, self.receipts[call])


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
