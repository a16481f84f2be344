"""What a played CometBFT has on its disk; it outlives the one that plays."""

from __future__ import annotations

from dataclasses import dataclass, field

from keephold.ledger.engines.base import Offence, StoredBlock, TransactionOutcome


@dataclass(frozen=True, slots=True)
class Applied:
    """What the application answered to FinalizeBlock."""

    app_hash: bytes
    outcomes: tuple[TransactionOutcome, ...] = ()
    updates: tuple[tuple[bytes, int], ...] = ()


@dataclass(slots=True)
class Disk:
    """What a CometBFT has on its disk."""

    blocks: list[StoredBlock] = field(default_factory=list)
    transactions: list[tuple[bytes, ...]] = field(default_factory=list)
    applied: dict[int, Applied] = field(default_factory=dict)
    """Under the block's height, from FinalizeBlock on."""
    offences: dict[int, tuple[Offence, ...]] = field(default_factory=dict)
    """Evidence in a block, under its height."""
