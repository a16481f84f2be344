"""Following results that this worker did not compute: from its own proven state, by their writes, to the proven root.

The root decides. Writes are sealed under the contract's key, so a result that leads to the root on record carries what
an enclave with that key wrote; any other combination of what was seen leads to another root.
"""

from __future__ import annotations

from collections.abc import Sequence

from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Result
from keephold.worker.results import Position


def is_at(position: Position, record: ContractRecord) -> bool:
    """Say whether the ledger stands at this position."""
    return _name(position) == (record.version, record.done, record.state_root)


def adopt(start: Position, record: ContractRecord, seen: Sequence[Result]) -> Position | None:
    """Return the position of `record`, reached from `start` by results that were seen ordered; None if none lead there.

    Refused results were ordered too, so several may claim to be the next: each position reached is tried once.
    """
    reached = [start]
    tried = {_name(start)}
    while reached:
        at = reached.pop()
        if is_at(at, record):
            return at
        for result in seen:
            if (result.first, result.version, result.pre_root) != (at.done + 1, at.version, at.state.root):
                continue
            following = Position(at.done + result.count, at.version + 1, at.state.apply(result.writes))
            if following.version <= record.version and _name(following) not in tried:
                tried.add(_name(following))
                reached.append(following)
    return None


def _name(position: Position) -> tuple[int, int, bytes]:
    return position.version, position.done, position.state.root
