"""Governance: actions in order, in force after the law's delay; a revocation or a cancellation at once.

What is computed here, everyone who verifies the chain computes from the same actions with
`protocol.amendments.verified`; this module takes the same steps one by one, so that a block costs nothing when nothing
is due.
"""

from __future__ import annotations

from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext
from keephold.ledger.rules.roll import delist, revoke
from keephold.protocol.amendments import ordered, settled
from keephold.protocol.governance import Enacted, GovernanceRecord, RevokeIdentity, chain_head, check_proposal
from keephold.protocol.state import governance_path
from keephold.protocol.transactions import Govern, Transaction


def govern(state: Overlay, block: BlockContext, _: Transaction, __: bytes, body: Govern) -> Applied:
    """Order an action that enough governance keys signed.

    Raises:
        LedgerRefused: `governance`.
    """
    record = state.get(governance_path(), GovernanceRecord())
    check_proposal(body.signed, state.law, state.waiting, block.network, record.count + 1)
    entry = Enacted(body.signed, block.time_ns)
    state.enact(entry)
    state.put(governance_path(), GovernanceRecord(record.count + 1, chain_head(record.head, entry)))
    state.set_law(state.law, ordered(state.law, state.waiting, entry))
    settle(state, block)
    return NOTHING


def settle(state: Overlay, block: BlockContext) -> None:
    """Put into force what is due, and end whom the law does not bear any more."""
    law, waiting, due = settled(state.law, state.waiting, block.time_ns)
    if due:
        state.set_law(law, waiting)
    for action in due:
        if isinstance(action, RevokeIdentity):
            revoke(state, block, action.identity)
    delist(state, block)
