"""What gatekeepers saw of a contract, held against what the ledger proves to this worker.

Each answer to a key request says, inside its seal, where the contract's record stood when the gatekeeper looked. A
worker that boots knows nothing of the past; this it knows, before it has a key. So it makes a key only from answers
whose marks the record has reached (`keys`), t of them: of those at least one is an honest gatekeeper's.

Not from the furthest mark of all: one broken gatekeeper could name a version that never was, and no worker would start
any more. Whoever holds the answers back to choose which t arrive gets what this rule gives and no more: the highest of
the t lowest marks stands. And a record that an answer contradicts is told to the operator, whatever the others say.

Once there is a key, the record is not followed back below where it stood then (`contract`).
"""

from __future__ import annotations

from keephold.protocol.marks import Mark, check_mark, is_before
from keephold.worker.readable import Proven


def reaches(proven: Proven | None, mark: Mark, head: int) -> bool:
    """Say whether a contract has come as far as a mark; it may be under way while it has not.

    Args:
        proven: the newest record that this worker knows.
        mark: where a gatekeeper saw it,
        head: under the header of this height, which lies on our chain.

    Raises:
        RollbackDetected: it was put back since, or is another state of the mark's version.
    """
    if proven is None or (proven.height < head and is_before(proven.record, mark)):
        return False
    check_mark(mark, proven.record)
    return True
