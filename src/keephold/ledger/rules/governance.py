"""Governance: actions in order, in force after the law's delay; a revocation at once.

What is computed here, everyone who verifies the chain computes from the same actions with
`protocol.governance.constitution_at`; this module does it step by step, so that a block costs nothing when nothing is
due.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter

from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext
from keephold.ledger.rules.roll import delist, revoke
from keephold.protocol.governance import (
    Action,
    Constitution,
    Enacted,
    GovernanceRecord,
    RevokeIdentity,
    amended,
    chain_head,
    check_proposal,
)
from keephold.protocol.state import governance_path
from keephold.protocol.transactions import Govern, Transaction

Pending = tuple[tuple[int, Action], ...]
"""Actions ordered but not yet in force: from when on (block time, nanoseconds), and what."""


def govern(state: Overlay, block: BlockContext, _: Transaction, __: bytes, body: Govern) -> Applied:
    """Order an action that enough governance keys signed.

    Raises:
        LedgerRefused: `governance`.
    """
    record = state.get(governance_path(), GovernanceRecord())
    check_proposal(body.signed, state.law, block.network, record.count + 1)
    entry = Enacted(body.signed, block.time_ns)
    state.enact(entry)
    state.put(governance_path(), GovernanceRecord(record.count + 1, chain_head(record.head, entry)))
    state.set_law(state.law, _ordered(state.law, state.pending, entry))
    settle(state, block)
    return NOTHING


def settle(state: Overlay, block: BlockContext) -> None:
    """Put into force what is due, and end whom the law does not bear any more."""
    law, pending, due = _settled(state.law, state.pending, block.time_ns)
    if due:
        state.set_law(law, pending)
    for action in due:
        if isinstance(action, RevokeIdentity):
            revoke(state, block, action.identity)
    delist(state, block)


def replay(genesis: Constitution, enacted: Iterable[Enacted], time_ns: int) -> tuple[Constitution, Pending]:
    """Return the law at `time_ns` and what was pending then, from actions that were accepted before."""
    law = genesis
    pending: Pending = ()
    for entry in enacted:
        law, pending, _ = _settled(law, pending, entry.enacted_ns)
        pending = _ordered(law, pending, entry)
    return _settled(law, pending, time_ns)[:2]


def _ordered(law: Constitution, pending: Pending, entry: Enacted) -> Pending:
    action = entry.signed.proposal.action
    delay = 0 if isinstance(action, RevokeIdentity) else law.governance.delay_ns
    return (*pending, (entry.enacted_ns + delay, action))


def _settled(law: Constitution, pending: Pending, time_ns: int) -> tuple[Constitution, Pending, list[Action]]:
    """Return the law with what is due in force, what remains, and what was due, in order of effect."""
    due = [action for effective, action in sorted(pending, key=itemgetter(0)) if effective <= time_ns]
    for action in due:
        law = amended(law, action)
    return law, tuple(item for item in pending if item[0] > time_ns), due
