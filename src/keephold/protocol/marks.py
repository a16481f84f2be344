"""How far a contract had come when somebody saw its record proven: what no record may stand before again.

The rules move a record one way: its version counts accepted results and migrations, its key epoch only rises, and a
version has one state. So three fields say where it stood, and what comes later is told from what was put back. Entries
that no result consumed yet are not part of it: which calls come, and whether, is for the validators to say.
"""

from __future__ import annotations

from keephold.base.errors import RollbackDetected
from keephold.base.ids import ContractId
from keephold.protocol.codec import Record
from keephold.protocol.state import ContractRecord
from keephold.protocol.types import Bytes32, Positive, Uint63


class Mark(Record):
    """Where one contract's record stood under a verified header."""

    contract: Bytes32
    epoch: Positive
    version: Uint63
    root: Bytes32
    """Of the contract's state."""


def mark_of(contract: ContractId, record: ContractRecord) -> Mark:
    """Return where a record stands."""
    return Mark(contract, record.epoch, record.version, record.state_root)


def is_before(record: ContractRecord, mark: Mark) -> bool:
    """Say whether a record stands before a mark: under a header no older than the mark's, it was put back."""
    return record.version < mark.version or record.epoch < mark.epoch


def check_mark(mark: Mark, record: ContractRecord) -> None:
    """Check that a record goes on from a mark. The caller owes a header no older than the one that the mark is from.

    Raises:
        RollbackDetected: it stands before the mark, or at its version with another state.
    """
    name = mark.contract.hex()[:16]
    if is_before(record, mark):
        was, now = (mark.version, mark.epoch), (record.version, record.epoch)
        raise RollbackDetected(
            f"contract {name} stands at version {now[0]}, epoch {now[1]}, and stood at {was[0]}, {was[1]}"
        )
    if record.version == mark.version and record.state_root != mark.root:
        raise RollbackDetected(f"contract {name} has another state of version {mark.version} than before")
