"""A worker's vote for the next result or the next page of a migration: once each, until a quorum said the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from keephold.base.ids import ContractId
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import backing, refused
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Backing, ContractRecord, Vote, contract_path
from keephold.protocol.transactions import Transaction
from keephold.protocol.votes import tally


class Agreement(NamedTuple):
    """What a quorum agreed upon."""

    settled: tuple[Backing, ...]
    """What its votes rest on."""
    outvoted: tuple[Vote, ...]
    """Those that said something else."""


def vote(
    state: Overlay,
    transaction: Transaction,
    identity: bytes,
    contract: ContractId,
    record: ContractRecord,
    digest: Callable[[], bytes],
) -> Agreement | None:
    """Count the sender's vote for the next step of a contract; None while its quorum is not reached.

    The caller owes that the sender may vote, and that the step is the next one.

    Args:
        state: Where the vote waits for others.
        transaction: The vote.
        identity: Its id.
        contract: For whose next step.
        record: Of it.
        digest: What is voted for; not asked where one vote decides.

    Raises:
        LedgerRefused: `already_voted`.
    """
    cast = backing(state, transaction, identity)
    if record.policy.quorum == 1:
        return Agreement((cast,), ())
    if any(earlier.worker == transaction.sender for earlier in record.votes):
        raise refused(Refusal.ALREADY_VOTED, f"for version {record.version + 1}")
    votes = (*record.votes, Vote(transaction.sender, digest(), cast))
    decided = tally(votes, record.policy.quorum)
    if decided is None:
        state.put(contract_path(contract), replace(record, votes=votes))
        return None
    return Agreement(tuple(agreeing.backing for agreeing in decided.settled), decided.outvoted)
