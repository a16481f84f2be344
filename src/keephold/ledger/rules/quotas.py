"""What one sender and one contract may take of one block.

Apart from the other rules, because these bounds are about blocks: whoever builds one puts off what exceeds them, and
only a block that contains it nevertheless refuses it.
"""

from __future__ import annotations

from keephold.base.limits import ACCOUNT_QUOTA_PER_BLOCK, MAX_BATCH
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import refused
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Call, Transaction


def charge(state: Overlay, transaction: Transaction) -> None:
    """Count the transaction against its sender's quota and, if it is a call, against its contract's batch.

    Raises:
        LedgerRefused: `quota`.
    """
    # (1) One sender cannot fill a block.
    if state.counted("sender", transaction.sender) >= ACCOUNT_QUOTA_PER_BLOCK:
        raise refused(Refusal.QUOTA, f"{ACCOUNT_QUOTA_PER_BLOCK} transactions of one sender in a block")
    state.count("sender", transaction.sender)
    # (2) A block appends one batch of bounded size to an inbox: the unit that a worker executes.
    if isinstance(transaction.body, Call):
        if state.counted("batch", transaction.body.contract) >= MAX_BATCH:
            raise refused(Refusal.QUOTA, f"{MAX_BATCH} calls to one contract in a block")
        state.count("batch", transaction.body.contract)
