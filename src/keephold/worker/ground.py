"""How a worker comes to stand on a contract's state, and what it takes to move from there.

`lineage` says whose word counts; here is what a proven record makes the worker do:

1. **It says what own work led to**: confirmed up to there.
2. **It says something else.** Own work beyond the position is given up. The position moves once votes of verified
   workers lead from it to the record, step by step (`adoption`). Until then nothing is executed and no question is
   answered. Votes not seen (blocks were skipped, or a node left them out) are fetched: first those that the record
   names, then all since the position.
3. **There is no position yet**, for this worker just booted: the votes that the record names are fetched and counted,
   and only then the slots of the root that they vouch for. Version 0 is the empty map.

A record whose named votes are there, and do not make its state, or make it from another state than the one where this
worker stands, is no continuation: `StateUnproven`, and the contract is not run here any more. A vote that no node hands
out proves nothing against anybody: then the worker waits, and asks again with the next record.

**What this does not show.** A worker without a position goes where the newest *genuine* votes lead that are shown to
it. Validators who all collude can show it a record of a while ago, and what came after never happened for it: a
rollback to a whole earlier state, of which no slot is mixed with another version's or invented. What stands against it
is what the worker has seen itself: its position, as long as it runs; the version sealed on its disk (`marks`) after
that, where the platform seals durably and its host does not put an older disk back. And what the gatekeepers saw,
without t of whom it has no key: it makes none where the record stands before that (`floors`). What came since they
looked can be put back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, final

from keephold.base.errors import ProofInvalid, StateUnproven
from keephold.base.ids import ContractId, NetworkId, PublicKey, StateRoot, TransactionId
from keephold.chain.sparse import EMPTY_ROOT
from keephold.follower.admission import Admitted
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.state import Backing, ContractRecord
from keephold.protocol.transactions import Migration, Result
from keephold.worker.adoption import adopt
from keephold.worker.lineage import Lineage, Vote
from keephold.worker.orders import FetchSlots, FetchSteps, FetchVotes, JudgeVotes, Order
from keephold.worker.progress import Progress
from keephold.worker.results import Position
from keephold.worker.state import Opened, downloaded


class _Target(NamedTuple):
    """A proven record, where the worker is to go."""

    record: ContractRecord
    height: int
    """Of the header that proves it."""


@final
class Ground:
    """The position of one contract on one worker: how it is found, and how it moves. No I/O."""

    def __init__(self, contract: ContractId, network: NetworkId, identity: PublicKey, progress: Progress) -> None:
        self.lost_track = 0
        """How often all steps since the position had to be fetched."""
        self._progress: Final = progress
        self._lineage: Final = Lineage(contract, network, identity)
        self._policy: ContractPolicy | None = None
        self._wanted: ContractRecord | None = None
        self._origin: Result | Migration | None = None
        self._named: tuple[Backing, ...] | None = None
        self._streamed = 0
        self._since = 0

    # --- what comes in ---

    def policy(self, policy: ContractPolicy) -> None:
        """Take the policy that the contract's id commits to."""
        self._policy = policy

    def see(self, height: int, votes: Iterable[Vote]) -> None:
        """Take the votes that a block orders."""
        self._streamed = max(self._streamed, height)
        self._lineage.see(votes)

    def named(self, order: FetchVotes, votes: Iterable[Vote]) -> None:
        """Take the votes that a record names, or as many of them as there are."""
        self._named = order.backings
        self._lineage.see(votes)

    def fetched(self, votes: Iterable[Vote]) -> None:
        """Take votes of blocks that the stream passed over."""
        self.lost_track += 1
        self._lineage.see(votes)

    def judged(self, found: Mapping[TransactionId, Admitted | None]) -> None:
        """Take what became of voters' evidence."""
        self._lineage.judged(found)

    def slots(self, order: FetchSlots, slots: Iterable[tuple[bytes, bytes]], opened: Opened) -> None:
        """Take downloaded slots.

        Raises:
            ProofInvalid: they are not those of the root.
        """
        wanted = self._wanted
        if wanted is None or order.root != wanted.state_root or self._progress.base is not None:
            return
        self._progress.base = Position(wanted.done, wanted.version, downloaded(order.root, slots, opened))
        self._wanted = None

    def look_again(self) -> None:
        """Want the newest state: the one that was wanted is gone."""
        self._wanted = None

    # --- decisions ---

    def follow(self, record: ContractRecord, height: int) -> bool:
        """Bring the position in step with a proven record; say whether own work led there.

        Raises:
            ProofInvalid: the ledger contradicts what it proved before.
            StateUnproven: no word of verified workers leads to it.
        """
        self._lineage.assigned(record.workers)
        if record.version == 0 and (record.done, record.state_root) != (0, EMPTY_ROOT):
            raise StateUnproven("a state before the first result")
        base = self._progress.base
        if base is None:
            self._find()
            return False
        if record.version == base.version:
            if (record.done, record.state_root) != (base.done, base.state.root):
                raise ProofInvalid("the state changed without a result")
            self._since = height
            return False
        # (1) Ours.
        if self._progress.confirm(record):
            self._arrived(height)
            return True
        # (2) Another worker's.
        self._progress.drop_pending()
        if self._policy is not None:
            self._move(base, _Target(record, height), self._policy)
        return False

    def starts_with(self, index: int, head: bytes) -> None:
        """Check that an inbox goes on from the calls that the state was made of.

        Raises:
            StateUnproven: the state was made under another head.
        """
        origin = self._origin
        if isinstance(origin, Result) and origin.first + origin.count - 1 == index and origin.head != head:
            raise StateUnproven(f"the state after entry {index} was made of other calls")

    def orders(self, record: ContractRecord, height: int, opened: Opened) -> list[Order]:
        """Return what is missing to stand where the record says; empty once the worker does."""
        base = self._progress.base
        if base is None:
            return self._first_orders(record, opened)
        if base.version == record.version:
            return []
        unjudged = self._lineage.unjudged(base.version, record.version - 1)
        if unjudged:
            return [JudgeVotes(unjudged)]
        if self._streamed < height - 1:
            return []  # what is missing may still come with the stream
        if self._named != record.settled:
            return [FetchVotes(record.settled)]
        return [FetchSteps(max(1, self._since), height - 1)]

    def _first_orders(self, record: ContractRecord, opened: Opened) -> list[Order]:
        if self._wanted is None:
            self._wanted, self._origin, self._named = record, None, None
        wanted = self._wanted
        if wanted.version == 0:
            self._progress.base = Position(0, 0, downloaded(StateRoot(EMPTY_ROOT), (), opened))
            self._wanted = None
            return []
        if self._named != wanted.settled:
            return [FetchVotes(wanted.settled)]
        unjudged = self._lineage.unjudged(wanted.version - 1, wanted.version - 1)
        if unjudged:
            return [JudgeVotes(unjudged)]
        return [] if self._origin is None else [FetchSlots(StateRoot(wanted.state_root))]

    def _find(self) -> None:
        """Count the votes for the first position, once all that the record names are there."""
        wanted, policy = self._wanted, self._policy
        if wanted is None or policy is None or self._named != wanted.settled:
            return
        if not self._lineage.unjudged(wanted.version - 1, wanted.version - 1):
            self._origin = self._lineage.origin(wanted, policy)

    def _move(self, base: Position, target: _Target, policy: ContractPolicy) -> None:
        """Move along verified steps; or see that there can be none."""
        record, height = target
        inbox = self._progress.inbox
        steps = self._lineage.steps(policy)
        adopted = adopt(base, record, steps, _nothing_known if inbox is None else inbox.proven_head_at)
        if adopted is not None:
            self._progress.stand_at(adopted)
            self._arrived(height)
            return
        if self._named == record.settled and not self._lineage.unjudged(base.version, record.version - 1):
            last = self._lineage.origin(record, policy)
            if last is not None and last.version == base.version:
                raise StateUnproven(f"version {record.version} was made of another state than the one known here")

    def _arrived(self, height: int) -> None:
        self._since, self._named, self._origin = height, None, None
        if self._progress.base is not None:
            self._lineage.forget(self._progress.base.version)


def _nothing_known(_: int) -> bytes | None:
    return None
