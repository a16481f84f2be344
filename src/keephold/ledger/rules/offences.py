"""Offences of validators: recorded, for everybody to see. Nothing follows by itself.

The engine verified the evidence, and every validator that voted for the block did. Here it becomes a record under the
root, so that it can be shown with a proof long after the evidence counts. A validator loses its power when governance
signs so, and in no other way: docs/adr/0012 says why.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from keephold.base.limits import MAX_OFFENCES
from keephold.chain.validators import Validator
from keephold.ledger.overlay import Overlay
from keephold.protocol.offences import Offence, Offences, offences_path


def record(state: Overlay, offences: Iterable[Offence]) -> None:
    """Append to what is recorded. The same offence proven again is the same offence."""
    before = state.get(offences_path(), Offences())
    known = {_name(item) for item in before.newest}
    keys: dict[bytes, bytes] = {
        Validator(entry.public_key, entry.power).address: entry.public_key for entry in state.law.validators
    }
    fresh = []
    for item in offences:
        if _name(item) not in known:
            known.add(_name(item))
            fresh.append(replace(item, public_key=keys.get(item.validator, b"")))
    if fresh:
        newest = (*before.newest, *fresh)[-MAX_OFFENCES:]
        state.put(offences_path(), Offences(before.count + len(fresh), newest))


def _name(item: Offence) -> tuple[str, bytes, int]:
    return item.kind, item.validator, item.height
