"""Who may hold the keys of which key epoch, for ever: what an auditor of a broken worker asks, answered by proofs.

A worker that had the key of an epoch keeps it if it is broken, and opens with it what was sealed under that epoch and
recorded. So this part of the map only grows, and what is in it outlives epoch, assignment and registration.

**Who is a holder.** Gatekeepers release the key of an epoch to a worker under a header whose state has the worker
assigned and the epoch open (`rotation.open_epochs`). So a holder of epoch e is who was assigned while e was open: not
only when e began, and not only once it was the present one. This is an upper bound that needs nobody's word but the
order of the ledger. It may be too large: a worker that never asked, or whose partials did not suffice, is in it. It is
not narrowed by key requests: it should hold whichever rule gatekeepers come to answer by. Epochs that were given up
before anything was sealed under them are listed like all others.

**Both ways.** By contract and epoch (`EpochHolders`) and by worker (`Tenures`): each list says how many entries it has,
older ones lie in pages of `MAX_HISTORY` that never change, so one proven head commits a reader to how many he has to be
shown, and each page is proven as any value is. Epochs are numbered without a gap from 1: the contract's record says up
to which. An epoch that is absent has had no worker.

**Not in these lists**: the key of a channel to another contract, which outlives an epoch while a message sealed under
it waits (`lines`), and is then released to the workers assigned at that time. And the seed of the keys that a contract
owns, which is on a line without epochs: every holder of any epoch may have it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from keephold.base.errors import ProofInvalid
from keephold.base.ids import ContractId, PublicKey
from keephold.base.limits import MAX_HISTORY
from keephold.crypto.hashing import number
from keephold.protocol.codec import Record
from keephold.protocol.state import path_of
from keephold.protocol.types import Bytes32, Positive, PublicKeyBytes, Uint63

T = TypeVar("T", bound=Record)


class Holder(Record):
    """A worker that was assigned to a contract while a key epoch of it was open."""

    worker: PublicKeyBytes
    height: Positive
    """Of the block since which both are so: under its state gatekeepers release it the key."""


class EpochHolders(Record):
    """Everybody who may hold the keys of one key epoch of a contract. It stays when the epoch ended."""

    count: Uint63 = 0
    """All that were ever recorded."""
    ended: Uint63 = 0
    """Height of the block that ended the epoch: what is sealed under it was sealed before. 0 while it is open."""
    newest: tuple[Holder, ...] = ()
    """The last of them, in order; at most `MAX_HISTORY`, those before lie in full pages."""


class HoldersPage(Record):
    """`MAX_HISTORY` holders of a key epoch, in order. Never changes."""

    holders: tuple[Holder, ...]


class Tenure(Record):
    """A key epoch of a contract whose keys a worker may hold."""

    contract: Bytes32
    epoch: Positive


class Tenures(Record):
    """Every key epoch of every contract whose keys a worker may hold, ended ones included."""

    count: Uint63 = 0
    """All that were ever recorded."""
    newest: tuple[Tenure, ...] = ()
    """The last of them, in order; at most `MAX_HISTORY`, those before lie in full pages."""


class TenuresPage(Record):
    """`MAX_HISTORY` tenures of a worker, in order. Never changes."""

    tenures: tuple[Tenure, ...]


def holders_path(contract: ContractId, epoch: int) -> bytes:
    """Path of the `EpochHolders` of a key epoch; absent while nobody ever was assigned in it and it has not ended."""
    return path_of("holders", contract, number(epoch))


def holders_page_path(contract: ContractId, epoch: int, page: int) -> bytes:
    """Path of a `HoldersPage`; pages are numbered from 0."""
    return path_of("holders-page", contract, number(epoch), number(page))


def tenures_path(worker: PublicKey) -> bytes:
    """Path of a worker's `Tenures`; absent if it never was assigned to anything."""
    return path_of("tenures", worker)


def tenures_page_path(worker: PublicKey, page: int) -> bytes:
    """Path of a `TenuresPage`; pages are numbered from 0."""
    return path_of("tenures-page", worker, number(page))


def full_pages(count: int) -> int:
    """Return how many pages lie before the newest entries of a list of `count`: the newest are never none of some."""
    return max(0, count - 1) // MAX_HISTORY


def whole(count: int, pages: Sequence[Sequence[T]], newest: Sequence[T]) -> tuple[T, ...]:
    """Return the entries of a list whose head and pages were proven, in order.

    Raises:
        ProofInvalid: not as many as the head says, or not where they belong.
    """
    if [len(page) for page in pages] != [MAX_HISTORY] * full_pages(count):
        raise ProofInvalid(f"a list of {count} entries lies in {full_pages(count)} full pages and its head")
    if len(newest) != count - len(pages) * MAX_HISTORY:
        raise ProofInvalid(f"a list of {count} entries, and {len(newest)} behind its full pages")
    return tuple(entry for part in (*pages, newest) for entry in part)
