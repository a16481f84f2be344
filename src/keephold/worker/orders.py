"""What a contract's core asks its shell to do. Data: every order can be failed, forgotten and given again."""

from __future__ import annotations

from dataclasses import dataclass

from keephold.base.ids import StateRoot
from keephold.protocol.state import Backing
from keephold.protocol.transactions import PublishKey, RefuseCode, SubmitMigration, SubmitResult
from keephold.worker.code import ContractCode
from keephold.worker.execution import Job
from keephold.worker.lineage import Vote
from keephold.worker.mail import PeerAt
from keephold.worker.migration import MigrationJob


@dataclass(frozen=True, slots=True)
class FetchCode:
    """Fetch and verify the deployment."""


@dataclass(frozen=True, slots=True)
class LoadCode:
    """Load the code into an execution process."""

    code: ContractCode


@dataclass(frozen=True, slots=True)
class FetchKey:
    """Have the contract's key of an epoch combined."""

    epoch: int


@dataclass(frozen=True, slots=True)
class FetchSigning:
    """Have the seed of the keys combined that the contract owns."""


@dataclass(frozen=True, slots=True)
class FetchPeer:
    """Have proven which key epoch another contract had when a block ordered an entry."""

    peer: PeerAt


@dataclass(frozen=True, slots=True)
class FetchSlots:
    """Download all slots of a state root."""

    root: StateRoot


@dataclass(frozen=True, slots=True)
class FetchVotes:
    """Have the votes located that a record names."""

    backings: tuple[Backing, ...]


@dataclass(frozen=True, slots=True)
class FetchSteps:
    """Have all votes on the contract located that these blocks order."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class JudgeVotes:
    """Verify the evidence of those who cast these votes, as of their time."""

    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class FetchBatch:
    """Have the batch proven that holds entry `index`: it begins there, or less than a batch's size before."""

    index: int


@dataclass(frozen=True, slots=True)
class Execute:
    """Run a job in the execution process."""

    job: Job


@dataclass(frozen=True, slots=True)
class Migrate:
    """Seal a page of slots anew."""

    job: MigrationJob


@dataclass(frozen=True, slots=True)
class Submit:
    """Send a transaction."""

    body: PublishKey | RefuseCode | SubmitResult | SubmitMigration


Order = (
    FetchCode
    | LoadCode
    | FetchKey
    | FetchSigning
    | FetchPeer
    | FetchVotes
    | FetchSteps
    | JudgeVotes
    | FetchSlots
    | FetchBatch
    | Execute
    | Migrate
    | Submit
)
