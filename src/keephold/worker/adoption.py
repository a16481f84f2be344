"""Following results and migrations of other workers: from the own proven state, by their writes, to the proven root.

The root decides. Writes are sealed under the contract's key, so a result that leads to the root on record carries what
an enclave with that key wrote; any other combination of what was seen leads to another root.
"""

from __future__ import annotations

from collections.abc import Sequence

from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Migration, Result
from keephold.worker.results import Position


def is_at(position: Position, record: ContractRecord) -> bool:
    """Say whether the ledger stands at this position."""
    return _name(position) == (record.version, record.done, record.state_root)


def adopt(start: Position, record: ContractRecord, seen: Sequence[Result | Migration]) -> Position | None:
    """Return the position of `record`, reached from `start` by what was seen ordered; None if nothing leads there.

    What was refused was ordered too, so several may claim to be the next: each position reached is tried once.
    """
    reached = [start]
    tried = {_name(start)}
    while reached:
        at = reached.pop()
        if is_at(at, record):
            return at
        for step in seen:
            if (step.version, step.pre_root) != (at.version, at.state.root):
                continue
            if isinstance(step, Migration):
                following = Position(at.done, at.version + 1, at.state.migrate(step.after, step.to_epoch, step.writes))
            elif step.first == at.done + 1:
                following = Position(at.done + step.count, at.version + 1, at.state.apply(step.writes))
            else:
                continue
            if following.version <= record.version and _name(following) not in tried:
                tried.add(_name(following))
                reached.append(following)
    return None


def _name(position: Position) -> tuple[int, int, bytes]:
    return position.version, position.done, position.state.root
