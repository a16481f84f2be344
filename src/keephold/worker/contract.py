"""One contract on one worker: a state machine over verified inputs. No I/O, no clock; a shell carries out its orders.

What comes in is proven (records, batches), checked here (slots against their root), or executed by our own process.
What goes out are orders: fetch this, execute that, submit this result.

    record proven ─> code ─> loaded ─> key ─> published ─> state, inbox ─> execute ─> submit ─> record proven …

There is no phase variable: `orders` asks for whatever is missing next, so anything can be lost and asked for again.

**State.** A position is proven by own work, or by other workers' signatures: `ground` says how it is found and moved,
`progress` what is under way on it.

**Rotation.** While the record says so, keys of two epochs are held. The inbox drains under the old ones; then slots are
sealed anew page by page, each built on a proven state (`migration`), adopted from another worker as results are, or
found in the downloaded state by whoever was killed: what is done is what lies behind the committed cursor. With the
record of the next epoch the old keys are dropped, and with their last reference they are overwritten.

**What a proof does not say.** A proven record is the ledger's word. No root in it is followed to which no verified
worker's result leads (`lineage`); policy, code and id are recomputed from the deployment; calls are opened by their
senders' signatures and seals. What remains the validators' word is order: which calls, in which sequence, and, for a
worker that was not there, what came since the gatekeepers looked (`floors`). No record that was proven here is followed
back, to another version or another state of the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, final

from keephold.base.errors import ProofInvalid, SandboxError
from keephold.base.ids import ContractId, InstanceId, NetworkId, PublicKey, TransactionId
from keephold.follower.admission import Admitted
from keephold.protocol.lines import ChannelLine
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Migration, RefuseCode, Result, SubmitMigration, SubmitResult
from keephold.runtime.outcome import ContractInfo
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.message import ChannelKey
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.asked import Asked
from keephold.worker.code import ContractCode, check_loaded
from keephold.worker.epochs import Epochs
from keephold.worker.execution import Job
from keephold.worker.ground import Ground
from keephold.worker.inbox import Inbox, Ordering, ProvenBatch, head_before
from keephold.worker.lineage import Vote
from keephold.worker.mail import Lacking, Mail, PeerEpochs
from keephold.worker.migration import MigrationJob, SealedPage
from keephold.worker.orders import (
    Execute,
    FetchBatch,
    FetchCode,
    FetchKey,
    FetchPeer,
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
from keephold.worker.progress import Progress
from keephold.worker.readable import Proven, Readable
from keephold.worker.results import Built, Position

MAX_AHEAD: Final = 512
"""Entries fetched ahead of the proven state while catching up."""

MAX_PEERS_AT_ONCE: Final = 64
"""Other contracts whose key epochs are being proven at a time: callers choose how many a batch names."""

_MAX_HOLD: Final = 8
"""Blocks to wait after repeated refusals."""
_MAX_REASON: Final = 256


@final
class ContractCore:
    """The decisions about one contract that this worker was given. For one thread."""

    def __init__(self, contract: ContractId, network: NetworkId, identity: PublicKey, instance: InstanceId) -> None:
        self.contract: Final = contract
        self._identity: Final = identity
        self._instance = instance
        self._proven: Proven | None = None
        self._height = 0
        self._code: ContractCode | None = None
        self._is_loaded = False
        self._refusal: SandboxError | None = None
        self._epochs: Final = Epochs()
        self._owned: OwnedKeys | None = None
        self._mail: Final = Mail()
        self._progress: Final = Progress()
        self._ground: Final = Ground(contract, network, identity, self._progress)
        self._asked: Final = Asked()
        self._refusals = 0
        self._hold = 0

    # --- what is known ---

    @property
    def proven(self) -> Proven | None:
        """The newest proven record."""
        return self._proven

    @property
    def position(self) -> Position | None:
        """Where this worker stands: a state that it computed, or that verified workers signed."""
        return self._progress.base

    @property
    def lost_track(self) -> int:
        """How often the steps to the ledger's state had to be looked for."""
        return self._ground.lost_track

    @property
    def is_assigned(self) -> bool:
        """Whether the newest proven record names this worker."""
        return self._proven is not None and self._identity in self._proven.record.workers

    @property
    def epochs(self) -> tuple[int, ...]:
        """The key epochs that are of use: the present one, and the one on its way in."""
        return () if self._proven is None else open_epochs(self._proven.record)

    @property
    def lines(self) -> frozenset[ChannelLine]:
        """The lines whose keys are waited for."""
        return self._progress.lacking.lines

    def readable(self) -> Readable | None:
        """Return what questions are answered from; None until all of it is there and in step with the ledger."""
        proven, base, code = self._proven, self._progress.base, self._code
        if proven is None or base is None or code is None or not self.is_assigned:
            return None
        keys = self._epochs.in_use(proven.record)
        if keys is None or base.version != proven.record.version or not self._owns(code):
            return None
        # Half of the slots are another epoch's: whoever asks again in a moment finds all of them there.
        if any(rotation.pages for rotation in proven.record.rotation):
            return None
        return Readable(proven, base.state, keys, code, self._owned)

    # --- what comes in ---

    def renew(self, instance: InstanceId) -> None:
        """Vote as another instance from now on; what is not confirmed is submitted again, in its name."""
        self._instance = instance
        self._progress.submit_again()

    def record(self, proven: Proven) -> None:
        """Take a proven record; one that is not newer than what is known changes nothing.

        Raises:
            ProofInvalid: the ledger contradicts what it proved before.
            StateUnproven: no verified worker's result leads to its state.
        """
        if self._proven is not None and proven.height <= self._proven.height:
            return
        record, known = proven.record, None if self._proven is None else self._proven.record
        if known is not None and (record.version < known.version or record.inbox_count < known.inbox_count):
            raise ProofInvalid("the contract's record went back")
        if known is not None and record.version == known.version and record.state_root != known.state_root:
            raise ProofInvalid("another state of a version that was proven")
        self._proven = proven
        self._height = max(self._height, proven.height)
        self._follow()
        self._turn(record)
        if record.rotation:
            self._progress.end_at(record.rotation[0].drain)
        if self._progress.inbox is not None:
            self._progress.inbox.confirm(record.inbox_count, record.inbox_head)
            self._progress.reconcile()

    def block(self, ordering: Ordering, calls: Iterable[tuple[TransactionId, bytes]], votes: Iterable[Vote]) -> None:
        """Take what a verified block orders for this contract; the record that its header proves goes before.

        Raises:
            StateUnproven: see `Ground.follow`.
        """
        self._height = max(self._height, ordering.height)
        self._ground.see(ordering.height, votes)
        self._follow()
        # A record proven by a later header counts this block's calls already.
        inbox = self._progress.inbox
        if inbox is None or self._proven is None or ordering.height < self._proven.height:
            return
        inbox.settle(ordering.height)
        self._progress.reconcile()
        # Tentative entries continue a complete inbox only; gaps are filled by proven batches. While the epoch changes,
        # the rules take none.
        record = self._proven.record
        if inbox.tip == record.inbox_count and record.phase == "active":
            inbox.follow(ordering, calls)

    def coded(self, code: ContractCode) -> None:
        """Take the verified code."""
        self._code = code
        self._ground.policy(code.policy)
        self._asked.answered(FetchCode)

    def refused_code(self, error: SandboxError) -> None:
        """Take the sandbox's refusal of the code; the ledger is told."""
        self._refusal = error

    def loaded(self, info: ContractInfo) -> None:
        """Take what the sandbox made of the code."""
        if self._code is None:
            return
        try:
            check_loaded(self._code, info)
        except SandboxError as error:
            self._refusal = error
        else:
            self._is_loaded = True

    def keyed(self, keys: ContractKeys) -> None:
        """Take the contract's keys of an epoch; those of one that is of no use any more are not kept."""
        self._asked.over(FetchKey(keys.epoch))
        if self._proven is not None:
            self._epochs.take(keys, self._proven.record)

    def owned(self, keys: OwnedKeys) -> None:
        """Take the keys that the contract owns; they are the same in every key epoch."""
        self._asked.answered(FetchSigning)
        self._owned = keys

    def voted(self, order: FetchVotes | FetchSteps, votes: Iterable[Vote]) -> None:
        """Take votes whose place on the chain is proven: all that were asked for.

        Raises:
            StateUnproven: see `Ground.follow`.
        """
        if not self._asked.waits(order):
            return
        if isinstance(order, FetchVotes):
            self._asked.over(order)
            self._ground.named(order, votes)
        else:
            self._ground.fetched(votes)  # not asked for again before another record is proven
        self._follow()

    def judged(self, found: Mapping[TransactionId, Admitted | None]) -> None:
        """Take what became of the evidence of those who voted; None: nobody whose vote counts.

        Raises:
            StateUnproven: see `Ground.follow`.
        """
        self._asked.answered(JudgeVotes)
        self._ground.judged(found)
        self._follow()

    def slots(self, order: FetchSlots, slots: Iterable[tuple[bytes, bytes]]) -> None:
        """Take downloaded slots.

        Raises:
            ProofInvalid: they are not those of the root; the order counts as failed.
            StateUnproven: see `Ground.follow`.
        """
        opened = self._epochs.opened
        if not self._asked.answered(FetchSlots) or opened is None:
            return
        self._ground.slots(order, slots, opened)
        self._follow()

    def batch(self, proven: ProvenBatch) -> None:
        """Take a proven batch.

        Raises:
            ProofInvalid: it does not continue the inbox; the order counts as failed.
            StateUnproven: the state was not made of the calls before it.
        """
        progress = self._progress
        if not self._asked.answered(FetchBatch) or progress.base is None:
            return
        if progress.inbox is None:
            before = head_before(proven, progress.base.done)
            self._ground.starts_with(progress.base.done, before)
            progress.inbox = Inbox(progress.base.done, before)
        progress.inbox.extend(proven)
        progress.reconcile()

    def executed(self, job: Job, built: Iterable[Built]) -> None:
        """Take the results of a job; those of a job that was given up change nothing."""
        self._progress.executed(job, built)
        if not self._progress.lacking:
            self._mail.trim()

    def lacking(self, job: Job, lacking: Lacking) -> None:
        """Take what a job has to be told first; it is run again once that is here."""
        self._progress.lack(job, lacking)

    def line(self, key: ChannelKey) -> None:
        """Take the key of a line."""
        self._mail.take(key)

    def peer(self, peer: PeerEpochs) -> None:
        """Take the proven key epochs of another contract."""
        self._mail.learn(peer)
        self._asked.forget(lambda order: isinstance(order, FetchPeer) and order.peer.contract == peer.contract)

    def migrated(self, job: MigrationJob, page: SealedPage) -> None:
        """Take a page; that of a job that was given up changes nothing."""
        self._progress.migrated(job, page)

    def failed(self, order: Order) -> None:
        """An order could not be carried out: it will be given again."""
        self._asked.over(order)
        if isinstance(order, FetchSlots):
            self._ground.look_again()
        if isinstance(order, Execute | Migrate):
            self._progress.failed(order.job)
        if isinstance(order, Submit):
            self._refused(order)

    # --- what goes out ---

    def orders(self) -> list[Order]:
        """Return what to do next; each order is given once until it is answered or failed."""
        if self._proven is None or not self.is_assigned or self._height < self._hold:
            return []
        record, once = self._proven.record, self._asked.once
        if record.phase not in ("keying", "active", "rotating"):
            return []
        if self._refusal is not None:
            # The reason is public, as the code is. Later deployments of the same text are other contracts.
            reason = self._refusal.message[:_MAX_REASON]
            return once(Submit(RefuseCode(self.contract, self._instance, reason, max(0, self._refusal.line))))
        if self._code is None:
            return once(FetchCode())
        orders: list[Order] = []
        if not self._is_loaded:
            orders += once(LoadCode(self._code))
        for epoch in self._epochs.missing(record):
            orders += once(FetchKey(epoch))
        if not self._owns(self._code):
            orders += once(FetchSigning())
        if not self._is_loaded:
            return orders
        publication = self._epochs.publication(record, self._identity, self._instance)
        if publication is not None:
            orders += once(Submit(publication))
        keys = self._epochs.in_use(record)
        if keys is not None and self._epochs.opened is not None and self._owns(self._code):
            missing = self._ground.orders(record, self._proven.height, self._epochs.opened)
            # Whoever is judged already is not judged again because more votes came in.
            is_judging = self._asked.waits_for(JudgeVotes)
            missing = [order for order in missing if not (is_judging and isinstance(order, JudgeVotes))]
            orders += [order for wanted in missing for order in once(wanted)]
            base = self._progress.base
            # Nothing is done on a state that the ledger left behind.
            if base is not None and base.version == record.version:
                orders += self._inbox_orders(record, base)
                orders += self._work_orders(record, self._code, keys)
        return orders

    def _inbox_orders(self, record: ContractRecord, base: Position) -> list[Order]:
        progress = self._progress
        if progress.inbox is None:
            if record.inbox_count > base.done:
                return self._asked.once(FetchBatch(base.done + 1))
            progress.inbox = Inbox(record.inbox_count, record.inbox_head)
        if progress.inbox.proven < record.inbox_count and progress.inbox.proven < base.done + MAX_AHEAD:
            return self._asked.once(FetchBatch(progress.inbox.proven + 1))
        return []

    def _work_orders(self, record: ContractRecord, code: ContractCode, keys: ContractKeys) -> list[Order]:
        orders: list[Order] = []
        lacking = self._progress.lacking = self._progress.lacking.without(self._mail)
        for peer in sorted(lacking.peers)[:MAX_PEERS_AT_ONCE]:
            orders += self._asked.once(FetchPeer(peer))
        last = record.rotation[0].drain if record.rotation else None
        job = None if lacking else self._progress.next_job(code, keys, self._owned, self._mail, last)
        if job is not None:
            orders.append(Execute(job))
        orders += [
            Submit(SubmitResult(self._instance, result)) for result in self._progress.due_results(record.policy.quorum)
        ]
        epochs = self._epochs.to_migrate(record)
        if epochs is not None:
            page = self._progress.next_page(code, *epochs, record)
            if page is not None:
                orders.append(Migrate(page))
            orders += [Submit(SubmitMigration(self._instance, page)) for page in self._progress.due_page(record)]
        return orders

    def _owns(self, code: ContractCode) -> bool:
        """Say whether the keys are here that the contract owns, or none are declared."""
        return self._owned is not None or not code.keys

    # --- decisions ---

    def _turn(self, record: ContractRecord) -> None:
        """Hold the keys that the record names; read the state with those of the epoch that began."""
        open_now, coming = open_epochs(record), self._epochs.coming
        self._asked.forget(lambda order: isinstance(order, FetchKey) and order.epoch not in open_now)
        is_turned = self._epochs.turn(record)
        if self._epochs.coming is not coming:
            self._progress.drop_page()
        if not is_turned:
            return
        self._mail.forget_keys()
        self._progress.lacking = Lacking()
        if self._progress.base is not None and self._epochs.opened is not None:
            self._progress.read_with(self._epochs.opened)
        else:
            self._progress.start_over()
            self._ground.look_again()

    def _follow(self) -> None:
        if self._proven is not None and self._ground.follow(self._proven.record, self._proven.height):
            self._refusals = 0

    def _refused(self, order: Submit) -> None:
        """Back to the proven state: what the ledger refuses is executed again, after a pause that grows."""
        body = order.body
        step: Result | Migration | None = None
        if isinstance(body, SubmitResult):
            step = body.result
        elif isinstance(body, SubmitMigration):
            step = body.migration
        if step is not None and not self._progress.is_pending(step):
            return  # of a past that was given up already
        self._refusals += 1
        self._hold = self._height + min(1 << min(self._refusals, _MAX_HOLD) - 1, _MAX_HOLD)
        if step is not None:
            self._progress.drop_pending()
