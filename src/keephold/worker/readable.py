"""What a contract's core knows for certain: the proven record, and all of it together that questions are answered from.

Nothing pending is in here, so whatever is answered or signed from it rests on results that the ledger accepted.
"""

from __future__ import annotations

from typing import NamedTuple

from keephold.base.ids import HeaderHash, Height
from keephold.protocol.state import ContractRecord
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.code import ContractCode
from keephold.worker.reading import Reading
from keephold.worker.state import ContractState


class Proven(NamedTuple):
    """A contract record under a verified header."""

    record: ContractRecord
    height: Height
    """Of the header; the state is the one after the block before."""
    header_hash: HeaderHash
    time_ns: int


class Readable(NamedTuple):
    """Everything that a question needs: proven, not pending."""

    proven: Proven
    state: ContractState
    keys: ContractKeys
    code: ContractCode
    owned: OwnedKeys | None
    """The keys that the contract owns; None where it declares none."""

    @property
    def reading(self) -> Reading:
        """What a view looks up."""
        return Reading(self.state, self.code, self.owned)
