"""How much history a node keeps, and the snapshots it has for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from keephold.base.errors import ConfigurationError
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import Engine
from keephold.ledger.engines.statesync import Origin
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.service import SnapshotService
from keephold.ledger.snapshots.shelf import Shelf

_DIRECTORY: Final = "snapshots"
_HOUR_NS: Final = 3600 * 10**9
_EVIDENCE_HOURS: Final = 48
"""As long as evidence against a validator counts (`engines.cometbft.home`)."""


class HistoryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[history]` in `node.toml`."""

    keep_hours: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Transactions of older blocks are forgotten; 0: none are."""
    snapshot_interval: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Blocks between two snapshots, the same at every node of a network; 0: none are taken."""
    snapshots: Annotated[int, msgspec.Meta(ge=1)] = 2
    """How many are kept."""


def housekeeper(config: HistoryConfig, ledger: LedgerApplication, engine: Engine, shelf: Shelf) -> Housekeeper:
    """Return who keeps house for a ledger.

    Raises:
        ConfigurationError: `keep_hours` is shorter than somebody may need what would be forgotten.
    """
    timing = ledger.genesis.law.timing
    longest = max(timing.trusting_period_ns, timing.lease_ns, _EVIDENCE_HOURS * _HOUR_NS)
    if 0 < config.keep_hours * _HOUR_NS < longest:
        raise ConfigurationError(
            f"history.keep_hours: at least {-(-longest // _HOUR_NS)}: for so long a client may come back, "
            "a lease last, and evidence count"
        )
    habits = Habits(config.snapshot_interval, config.snapshots, config.keep_hours * _HOUR_NS)
    return Housekeeper(Archive(ledger, engine), shelf, habits)


def shelf_of(home: Path) -> Shelf:
    """Return the snapshots in a node's directory."""
    return Shelf(home / _DIRECTORY)


def snapshots_of(ledger: LedgerApplication, home: Path, shelf: Shelf, origin: Origin) -> SnapshotService:
    """Return what state sync asks of a ledger."""
    return SnapshotService(ledger, shelf, home / _DIRECTORY, origin)
