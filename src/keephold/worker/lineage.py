"""Whose word a state rests on: votes for results and migrations, counted here as the rules count them, and again.

The ledger's record says which state is present. That is its word, and colluding validators can put any root there. So
a worker goes to a state by one of three ways, and by no other:

1. It computed the step itself.
2. From the state where it stands, along steps that a quorum of verified workers signed (`adoption`): each on the root
   before, to the root that it names, for exactly the next entries.
3. When it just booted: the step that made the present state is signed so. Its signers were workers of the same code,
   which stood on the state before by one of these three ways: so, back to the empty map of version 0, no state has
   ever been that an honest enclave did not compute.

A vote counts for a step when, in order:

1. Its sender signed it, for this network.
2. The sender was a worker when it was ordered (`follower.admission`), at the level that the contract asks for.
3. A record proven before named it as assigned, or the ledger accepted the vote. That is the validators' word: they
   may assign any worker that 2 lets pass.
4. No other vote counted for the step is of the same identity, operator or platform.

Level and quorum are those that the contract's id commits to, not those on record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import CryptoError, EncodingError, LedgerRefused, StateUnproven
from keephold.base.ids import ContractId, NetworkId, PublicKey, TransactionId
from keephold.follower.admission import Admitted
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.rotation import migration_digest
from keephold.protocol.state import Backing, ContractRecord, result_digest
from keephold.protocol.transactions import Migration, Result, SubmitMigration, SubmitResult, Transaction, open_signed

_MAX_VOTES: Final = 256
"""Votes kept until the state that they lead to is proven."""


@final
@dataclass(slots=True, eq=False)
class Vote:
    """One vote as it was ordered. Nothing in it is checked before it is counted."""

    id: TransactionId
    raw: bytes
    sender: PublicKey
    step: Result | Migration
    time_ns: int
    """Of the block that ordered it."""
    backing: Backing | None = None
    """What a proven record says that it rests on; None for one that just came along."""
    is_accepted: bool = False
    """Whether its place on the chain was proven, and that the ledger accepted it there."""
    is_signed: bool | None = None
    """None until somebody asked."""


def vote_of(identity: TransactionId, raw: bytes, transaction: Transaction, time_ns: int) -> Vote | None:
    """Return the vote in an ordered transaction; None if it is none. Its signature is not looked at."""
    sender = PublicKey(transaction.sender)
    match transaction.body:
        case SubmitResult(result=step) | SubmitMigration(migration=step):
            return Vote(identity, raw, sender, step, time_ns)
        case _:
            return None


@final
class Lineage:
    """The votes of others that one worker saw on one contract, and what became of their senders' evidence."""

    def __init__(self, contract: ContractId, network: NetworkId, identity: PublicKey) -> None:
        self._contract: Final = contract
        self._network: Final = network
        self._identity: Final = identity
        self._votes: Final[deque[Vote]] = deque(maxlen=_MAX_VOTES)
        self._assigned: Final[set[bytes]] = set()
        self._judged: Final[dict[TransactionId, Admitted | None]] = {}

    def assigned(self, workers: Iterable[bytes]) -> None:
        """Take note of who was assigned, as of some proven record."""
        self._assigned.update(workers)

    def see(self, votes: Iterable[Vote]) -> None:
        """Take votes that a block orders, or that were fetched; others than of assigned workers count for nothing."""
        for vote in votes:
            if vote.step.contract != self._contract or not (vote.is_accepted or vote.sender in self._assigned):
                continue
            if vote.backing is not None and self._judged.get(vote.id) is None:
                self._judged.pop(vote.id, None)  # there is better evidence now
            self._votes.append(vote)

    def forget(self, version: int) -> None:
        """Forget votes for steps from before a version."""
        kept = [vote for vote in self._votes if vote.step.version >= version]
        for vote in self._votes:
            if vote.step.version < version:
                self._judged.pop(vote.id, None)
        self._votes.clear()
        self._votes.extend(kept)

    def unjudged(self, first: int, last: int) -> tuple[Vote, ...]:
        """Return votes for steps from versions `first` to `last` whose senders' evidence nobody looked at yet."""
        return tuple(
            vote
            for vote in self._votes
            if first <= vote.step.version <= last
            and vote.sender != self._identity
            and vote.id not in self._judged
            and self._is_signed(vote)
        )

    def judged(self, found: Mapping[TransactionId, Admitted | None]) -> None:
        """Take what became of senders' evidence, by vote; None: it does not make a worker."""
        self._judged.update(found)

    def steps(self, policy: ContractPolicy) -> tuple[Result | Migration, ...]:
        """Return the steps that a quorum of verified workers signed."""
        by_digest: dict[bytes, list[Vote]] = {}
        for vote in self._votes:
            if self._counts(vote, policy):
                by_digest.setdefault(_digest(vote.step), []).append(vote)
        return tuple(votes[0].step for votes in by_digest.values() if self._independent(votes) >= policy.quorum)

    def origin(self, record: ContractRecord, policy: ContractPolicy) -> Result | Migration | None:
        """Return the verified step that made a record's state; None if none did, at version 0.

        Raises:
            StateUnproven: the votes that the record names do not make one.
        """
        if record.version == 0:
            return None
        for step in self.steps(policy):
            if step.root == record.state_root and step.version + 1 == record.version and _fits(step, record):
                return step
        raise StateUnproven(f"no result of verified workers leads to the state of version {record.version}")

    def _is_signed(self, vote: Vote) -> bool:
        """Step 1, once for each vote."""
        if vote.is_signed is None:
            vote.is_signed = _is_signed(vote, self._network)
        return vote.is_signed

    def _counts(self, vote: Vote, policy: ContractPolicy) -> bool:
        if not self._is_signed(vote):
            return False
        if vote.sender == self._identity:
            return True  # the key is in this enclave
        # (2) A worker, good enough.
        voter = self._judged.get(vote.id)
        if voter is None or voter.identity != vote.sender:
            return False
        return voter.proof.claim.role == "worker" and voter.proof.level <= policy.level

    def _independent(self, votes: Sequence[Vote]) -> int:
        """Step 4."""
        taken: set[bytes] = set()
        count = 0
        for vote in votes:
            voter = self._judged.get(vote.id)
            names = {bytes(vote.sender)}
            if voter is not None:
                names |= {voter.proof.claim.operator, voter.proof.platform}
            if not names & taken:
                taken |= names
                count += 1
        return count


def _fits(step: Result | Migration, record: ContractRecord) -> bool:
    """Say whether a step ends where the record stands. A migration consumes nothing."""
    if isinstance(step, Result):
        is_of_inbox = record.done != record.inbox_count or step.head == record.inbox_head
        return step.first + step.count - 1 == record.done and step.epoch == record.epoch and is_of_inbox
    return record.epoch == (step.to_epoch if step.is_last else step.from_epoch)


def _digest(step: Result | Migration) -> bytes:
    return migration_digest(step) if isinstance(step, Migration) else result_digest(step)


def _is_signed(vote: Vote, network: NetworkId) -> bool:
    try:
        transaction = open_signed(vote.raw, network)
    except (CryptoError, EncodingError, LedgerRefused):
        return False
    return transaction.sender == vote.sender
