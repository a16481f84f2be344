"""Notes for ever who may hold the keys of a key epoch, and when an epoch ended; see `protocol.holders`.

One place calls this: `assignments.settle`, through which every change of a contract's workers and epochs goes. What a
block does and undoes within itself is noted all the same: too much rather than too little.
"""

from __future__ import annotations

from msgspec.structs import replace

from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_HISTORY
from keephold.ledger.overlay import Overlay
from keephold.protocol.holders import (
    EpochHolders,
    Holder,
    HoldersPage,
    Tenure,
    Tenures,
    TenuresPage,
    full_pages,
    holders_page_path,
    holders_path,
    tenures_page_path,
    tenures_path,
)
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import ContractRecord


def note(state: Overlay, contract: ContractId, before: ContractRecord | None, after: ContractRecord) -> None:
    """Note what follows from a contract's record taking the place of the one before (None: it is deployed)."""
    height = state.base.height + 1
    now = open_epochs(after)
    # (1) An epoch that is open no more has ended, whether or not it ever was the present one.
    for epoch in () if before is None else open_epochs(before):
        if epoch not in now:
            path = holders_path(contract, epoch)
            state.put(path, replace(state.get(path, EpochHolders()), ended=height))
    # (2) Who is assigned may be told the keys of every open epoch.
    for epoch in now:
        for worker in after.workers:
            _add(state, contract, epoch, Holder(worker, height))


def _add(state: Overlay, contract: ContractId, epoch: int, holder: Holder) -> None:
    """Add a holder, and a tenure of that worker, unless it is noted already."""
    path = holders_path(contract, epoch)
    epoch_holders = state.get(path, EpochHolders())
    if _is_noted(state, contract, epoch, epoch_holders, holder.worker):
        return
    newest = epoch_holders.newest
    if len(newest) == MAX_HISTORY:
        state.put(holders_page_path(contract, epoch, full_pages(epoch_holders.count)), HoldersPage(newest))
        newest = ()
    state.put(path, replace(epoch_holders, count=epoch_holders.count + 1, newest=(*newest, holder)))
    _add_tenure(state, PublicKey(holder.worker), Tenure(contract, epoch))


def _add_tenure(state: Overlay, worker: PublicKey, tenure: Tenure) -> None:
    path = tenures_path(worker)
    tenures = state.get(path, Tenures())
    newest = tenures.newest
    if len(newest) == MAX_HISTORY:
        state.put(tenures_page_path(worker, full_pages(tenures.count)), TenuresPage(newest))
        newest = ()
    state.put(path, Tenures(tenures.count + 1, (*newest, tenure)))


def _is_noted(state: Overlay, contract: ContractId, epoch: int, head: EpochHolders, worker: bytes) -> bool:
    if any(item.worker == worker for item in head.newest):
        return True
    pages = (
        state.get(holders_page_path(contract, epoch, page), HoldersPage(())) for page in range(full_pages(head.count))
    )
    return any(item.worker == worker for page in pages for item in page.holders)
