"""From a genesis and the actions of governance to the law at a moment, and what waits to be law.

    ordered ──delay──> law          a revocation and a cancellation at once
       └── cancelled

The ledger's rules take these steps block by block; every enclave and client folds the same steps over the genesis it
pinned, and checks each signature on the way.

**A cancellation takes back what waits from one proposal on**, and nothing that is law. What was proposed behind it was
drawn up on the law that it leads to (a policy is replaced as a whole, so a later one may contain what the first one
brought), and goes with it. It is signed as any action is, numbered as any, and effective at once, for it leaves the law
as it is. Why it is no stronger than order: docs/adr/0017.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import NamedTuple

from keephold.base.ids import NetworkId
from keephold.protocol.governance import (
    Action,
    CancelProposal,
    Constitution,
    Enacted,
    RevokeIdentity,
    Waiting,
    amended,
    check_proposal,
    digest_of,
)


class Settled(NamedTuple):
    """The law at a moment."""

    law: Constitution
    waiting: tuple[Waiting, ...]
    """What is not in force yet, in order of ordering."""
    due: tuple[Action, ...] = ()
    """What came into force since the moment before, in order of effect."""


def ordered(law: Constitution, waiting: tuple[Waiting, ...], entry: Enacted) -> tuple[Waiting, ...]:
    """Return what waits once this entry, which was checked, is ordered under `law`."""
    proposal = entry.signed.proposal
    if isinstance(proposal.action, CancelProposal):
        digest = proposal.action.proposal
        first = min(item.proposal.sequence for item in waiting if digest_of(item.proposal) == digest)
        return tuple(item for item in waiting if item.proposal.sequence < first)
    delay = 0 if isinstance(proposal.action, RevokeIdentity) else law.governance.delay_ns
    return (*waiting, Waiting(entry.enacted_ns + delay, proposal))


def settled(law: Constitution, waiting: tuple[Waiting, ...], time_ns: int) -> Settled:
    """Return the law at `time_ns`."""
    # In order of effect, not of ordering: an action ordered under a longer delay may take effect after a later one.
    due = [item for item in sorted(waiting, key=attrgetter("effective_ns")) if item.effective_ns <= time_ns]
    for item in due:
        law = amended(law, item.proposal.action)
    left = tuple(item for item in waiting if item.effective_ns > time_ns)
    return Settled(law, left, tuple(item.proposal.action for item in due))


def replay(genesis: Constitution, entries: Iterable[Enacted], time_ns: int) -> Settled:
    """Return the law at `time_ns` and what waited then, from actions that were accepted before."""
    law = genesis
    waiting: tuple[Waiting, ...] = ()
    for entry in entries:
        law, waiting, _ = settled(law, waiting, entry.enacted_ns)
        waiting = ordered(law, waiting, entry)
    return settled(law, waiting, time_ns)


def verified(genesis: Constitution, entries: Iterable[Enacted], time_ns: int, network: NetworkId) -> Settled:
    """Return the law in force at `time_ns` and what waits then, checking every signature on the way.

    An action is judged by the law in force when it was ordered and is effective after that law's delay; revocations
    and cancellations are effective at once.

    Raises:
        LedgerRefused: reason `governance`: an entry that governance did not sign, or out of order.
    """
    law, waiting = _folded(genesis, entries, network)[:2]
    return settled(law, waiting, time_ns)


def effective_times(genesis: Constitution, entries: Iterable[Enacted], network: NetworkId) -> tuple[int | None, ...]:
    """Return for each action the block time, in nanoseconds, from which it is law, None for one that was cancelled.

    Signatures are checked on the way.

    Raises:
        LedgerRefused: as `verified`.
    """
    return tuple(_folded(genesis, entries, network)[2].values())


def _folded(
    genesis: Constitution, entries: Iterable[Enacted], network: NetworkId
) -> tuple[Constitution, tuple[Waiting, ...], dict[int, int | None]]:
    """Return the law when the last action was ordered, what waited then, and by number when each takes effect."""
    law = genesis
    waiting: tuple[Waiting, ...] = ()
    times: dict[int, int | None] = {}
    for sequence, entry in enumerate(entries, start=1):
        law, waiting, _ = settled(law, waiting, entry.enacted_ns)
        check_proposal(entry.signed, law, waiting, network, sequence)
        before, waiting = waiting, ordered(law, waiting, entry)
        times[sequence] = entry.enacted_ns
        times |= {item.proposal.sequence: item.effective_ns for item in waiting}
        times |= {item.proposal.sequence: None for item in before if item not in waiting}
    return law, waiting, times
