"""The law as governance signed it: folded over the pinned genesis, every signature checked here.

The map's `GovernanceRecord` says how many actions were ordered and the head of their hash chain, so a history that
leaves one out is refused. Validators that all collude can delay an action; they can neither invent nor, towards a
reader whose view is fresh, hide one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

from keephold.base.errors import LedgerRefused, ProofInvalid
from keephold.base.minting import NoPublicConstructor
from keephold.protocol.amendments import Settled, effective_times, verified
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    Constitution,
    Enacted,
    GovernanceRecord,
    SetValidators,
    ValidatorEntry,
    chain_head,
)


@final
@dataclass(frozen=True, slots=True)
class Law(metaclass=NoPublicConstructor):
    """A genesis and its governance actions, all signed; made by `verify_history` only."""

    genesis: Genesis
    entries: tuple[Enacted, ...]
    record: GovernanceRecord
    """Count and hash-chain head of the entries."""

    def at(self, time_ns: int) -> Constitution:
        """Return the constitution in force at a block time; actions ordered later do not bear on it.

        Raises:
            LedgerRefused: reason `governance`.
        """
        return self.standing(time_ns).law

    def standing(self, time_ns: int) -> Settled:
        """Return the constitution in force at a block time, and what waited for its delay then.

        Raises:
            LedgerRefused: reason `governance`.
        """
        known = [entry for entry in self.entries if entry.enacted_ns <= time_ns]
        return verified(self.genesis.law, known, time_ns, network_id(self.genesis))

    def before(self, time_ns: int) -> Constitution:
        """Return the constitution in force when the block of this time began: without the actions that it orders.

        Raises:
            LedgerRefused: reason `governance`.
        """
        known = [entry for entry in self.entries if entry.enacted_ns < time_ns]
        return verified(self.genesis.law, known, time_ns, network_id(self.genesis)).law

    def effective_times(self) -> tuple[int | None, ...]:
        """Return for each entry the block time, in nanoseconds, from which it is law; None if it was cancelled."""
        return effective_times(self.genesis.law, self.entries, network_id(self.genesis))

    def validator_sets(self) -> Iterator[tuple[ValidatorEntry, ...]]:
        """Yield every validator set that governance ever signed and did not cancel, the genesis' first."""
        yield self.genesis.law.validators
        for entry, effective_ns in zip(self.entries, self.effective_times(), strict=True):
            action = entry.signed.proposal.action
            if isinstance(action, SetValidators) and effective_ns is not None:
                yield action.validators


def verify_history(genesis: Genesis, entries: Sequence[Enacted]) -> Law:
    """Return the law that these entries make of the genesis.

    The caller owes `check_complete`: a shorter history verifies too.

    Raises:
        LedgerRefused: reason `governance`: an entry that governance did not sign, or out of order.
    """
    record = GovernanceRecord()
    for entry in entries:
        record = GovernanceRecord(record.count + 1, chain_head(record.head, entry))
    law = Law._mint(genesis=genesis, entries=tuple(entries), record=record)  # noqa: SLF001 - the one place
    # Folding checks each signature under the law of its time.
    law.at(entries[-1].enacted_ns if entries else genesis.time_ns)
    return law


def check_complete(law: Law, proven: GovernanceRecord) -> None:
    """Check that the law is the whole history that the map commits to.

    Raises:
        ProofInvalid: actions are missing, or others were ordered.
    """
    if law.record != proven:
        raise ProofInvalid(f"{law.record.count} governance actions where the ledger has {proven.count}")


def check_extends(law: Law, known: GovernanceRecord) -> None:
    """Check that the law begins with the history that was verified before: what governance did is never undone.

    Nobody but validators who all collude can prove a record that forgets an action, or one beside it. To a reader who
    saw the action they cannot: a revocation that he knows stays, whatever they order from then on.

    Raises:
        ProofInvalid: an action that was verified before is missing, or another stands in its place.
    """
    record = GovernanceRecord()
    for entry in law.entries[: known.count]:
        record = GovernanceRecord(record.count + 1, chain_head(record.head, entry))
    if record != known:
        raise ProofInvalid(f"a governance history that does not go on from the {known.count} actions known")


def as_proof(error: LedgerRefused) -> ProofInvalid:
    """Return a refused history as what it is to a follower: a node's answer that does not hold."""
    return ProofInvalid(f"governance history: {error.detail}")
