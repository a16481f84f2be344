"""A ledger of one contract on paper: it obeys its rules, and proves what an honest ledger proves."""

from __future__ import annotations

import copy

from msgspec.structs import replace
from worker_cast import CONTRACT, INSTANCE, NETWORK, OTHER, OTHER_KEY, REPLY_KEY, WORKER, WORKER_KEY, admitted

from keephold.base.ids import HeaderHash, Height, TransactionId
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.admission import Admitted
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.messages import Reply
from keephold.protocol.rotation import may_migrate, migration_page
from keephold.protocol.state import Backing, Batch, ContractRecord, Publication, Rotation, inbox_head
from keephold.protocol.transactions import (
    Migration,
    PublishKey,
    Result,
    SubmitMigration,
    SubmitResult,
    sign,
    transaction_id,
)
from keephold.sealing.receipt import open_receipt
from keephold.worker.inbox import Ordering, ProvenBatch
from keephold.worker.lineage import Vote, vote_of
from keephold.worker.readable import Proven
from keephold.worker.witnesses import transaction_of


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
