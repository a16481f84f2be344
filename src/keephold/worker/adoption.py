"""Moving along other workers' steps: from the own state, by their writes, to the proven root.

The caller owes the signatures: `steps` are those that a quorum of verified workers signed (`lineage`). What is checked
here is that they lead somewhere:

1. A step is taken from the state that it names, version and root, and no other.
2. A result consumes exactly the next entries, under the head that they have in the inbox known here.
3. Its writes lead to the root that it names: the signature covers a state, not a promise.
4. The last position is the one on record.

A root on record that is reached in no such way is not followed, whatever the ledger proves. Several steps may claim to
be the next one, for what the rules refused was ordered too: each position reached is tried once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Migration, Result
from keephold.worker.results import Position

HeadAt = Callable[[int], bytes | None]
"""The proven inbox head after an entry; None where it is not known."""


def is_at(position: Position, record: ContractRecord) -> bool:
    """Say whether the ledger stands at this position."""
    return _name(position) == (record.version, record.done, record.state_root)


def adopt(
    start: Position, record: ContractRecord, steps: Sequence[Result | Migration], head_at: HeadAt
) -> Position | None:
    """Return the position of `record`, reached from `start` along `steps`; None if they do not lead there."""
    reached = [start]
    tried = {_name(start)}
    while reached:
        at = reached.pop()
        # (4) There.
        if is_at(at, record):
            return at
        for step in steps:
            following = _after(at, step, head_at)
            if following is None or following.version > record.version or _name(following) in tried:
                continue
            tried.add(_name(following))
            reached.append(following)
    return None


def _after(at: Position, step: Result | Migration, head_at: HeadAt) -> Position | None:
    """Return the position after a step; None if it cannot be taken from here."""
    # (1) From here.
    if (step.version, step.pre_root) != (at.version, at.state.root):
        return None
    if isinstance(step, Migration):
        done = at.done
        state = at.state.migrate(step.after, step.to_epoch, step.writes)
    else:
        # (2) The next entries.
        done = at.done + step.count
        if step.first != at.done + 1 or head_at(done) not in (None, step.head):
            return None
        state = at.state.apply(step.writes)
    # (3) To where it says.
    return Position(done, at.version + 1, state) if state.root == step.root else None


def _name(position: Position) -> tuple[int, int, bytes]:
    return position.version, position.done, position.state.root
