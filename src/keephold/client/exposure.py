"""What a broken worker exposes, and who may hold which key epoch: from proofs, believing nothing of the node.

The map's lists of holders and tenures only grow (`protocol.holders`), and each says how long it is. So:

1. The head of a list is proven, and with it how many pages lie before it.
2. Each page is proven; one that a node says is absent, or that is not full, is refused.
3. A worker's tenure is of an epoch that lists it.
4. An epoch that the contract's record does not name any more says when it ended.

Several headers prove the parts, each no older than the one before: worker, then contract, then epochs. Lists proven
later are no shorter, so what began between them may be missing, and nothing that had begun before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

from keephold.base.errors import ProofInvalid
from keephold.base.ids import ContractId, PublicKey
from keephold.client.abi import owned_keys
from keephold.client.trust_facts import ContractEpochs, Exposure, Held, Holding, KeyEpoch, Signing, Why
from keephold.follower.contracts import VerifiedDeployment, verify_deployment
from keephold.follower.follow import Follower
from keephold.protocol.codec import Record, decode
from keephold.protocol.holders import (
    EpochHolders,
    HoldersPage,
    Tenure,
    Tenures,
    TenuresPage,
    full_pages,
    holders_page_path,
    holders_path,
    tenures_page_path,
    tenures_path,
    whole,
)
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import ContractRecord, Publication, contract_path
from keephold.protocol.transactions import PublishKey, open_signed

_AT_ONCE: Final = 512
"""Paths of one question."""

_MOST: Final = 1 << 20
"""Entries of a list, and epochs of a contract, that anybody reads: nobody's memory is the validators' to fill."""

T = TypeVar("T", bound=Record)
Line = tuple[ContractId, int]
"""A contract and a key epoch of it."""


async def exposure_of(follower: Follower, worker: PublicKey) -> Exposure:
    """Return which contract keys a worker may hold, of ended epochs too; see `Exposure.not_proven` for what is left.

    Raises:
        ChainRefused, CryptoError, EncodingError: what the node sent does not hold, or leaves something out.
        UnavailableError
    """
    # (1), (2) Its tenures, all of them.
    tenures, height = await _tenures(follower, worker)
    lines = [(ContractId(item.contract), item.epoch) for item in tenures]
    contracts = tuple(dict.fromkeys(contract for contract, _ in lines))
    found, later = await _proven(follower, [contract_path(contract) for contract in contracts], height)
    epochs = await _epochs(follower, lines, later)
    held: list[Held] = []
    signing: list[Signing] = []
    for contract in contracts:
        raw = found[contract_path(contract)]
        if raw is None:
            raise ProofInvalid(f"contract {contract.hex()} has holders and no record")
        record = decode(raw, ContractRecord)
        mine = [epochs[line] for line in lines if line[0] == contract]
        # (3), (4) Each lists the worker, and is open or ended.
        _check_ends(record, mine)
        held += [await _held(follower, contract, record, epoch, worker) for epoch in mine]
        signing += await _signing(follower, contract, record, mine, worker)
    return Exposure(worker, tuple(held), height, tuple(signing))


async def epochs_of(follower: Follower, contract: ContractId) -> ContractEpochs:
    """Return every key epoch that a contract has had, with everybody who may hold its keys.

    Raises:
        LedgerRefused: reason `unknown_contract`.
        ChainRefused, CryptoError, EncodingError: what the node sent does not hold, or leaves something out.
        UnavailableError
    """
    return await key_epochs(follower, await verify_deployment(follower, contract))


async def key_epochs(follower: Follower, deployed: VerifiedDeployment) -> ContractEpochs:
    """Return every key epoch of a contract whose record is proven; see `epochs_of`."""
    record, contract = deployed.record, deployed.id
    if open_epochs(record)[-1] > _MOST:
        raise ProofInvalid(f"a contract of more than {_MOST} key epochs")
    numbers = range(1, open_epochs(record)[-1] + 1)
    # (1), (2) Their holders, and (4) each is open or ended.
    found = await _epochs(follower, [(contract, number) for number in numbers], deployed.height)
    epochs = tuple(found[contract, number] for number in numbers)
    _check_ends(record, epochs)
    return ContractEpochs(epochs, deployed.height, owned_keys(deployed.code.abi))


def _check_ends(record: ContractRecord, epochs: Iterable[KeyEpoch]) -> None:
    for epoch in epochs:
        if not epoch.ended and epoch.number not in open_epochs(record):
            raise ProofInvalid(f"epoch {epoch.number} is no more, and never ended")


async def _tenures(follower: Follower, worker: PublicKey) -> tuple[tuple[Tenure, ...], int]:
    path = tenures_path(worker)
    proven = await follower.prove([path])
    head = _read(proven[path], Tenures)
    paths = [tenures_page_path(worker, page) for page in _pages(head.count)]
    pages, _ = await _proven(follower, paths, proven.height)
    before = [_read(pages[path], TenuresPage, TenuresPage(())).tenures for path in paths]
    return whole(head.count, before, head.newest), proven.height


async def _epochs(follower: Follower, lines: Sequence[Line], at_least: int) -> dict[Line, KeyEpoch]:
    heads, later = await _proven(follower, [holders_path(*line) for line in lines], at_least)
    epochs = {line: _read(heads[holders_path(*line)], EpochHolders) for line in lines}
    paths = {line: [holders_page_path(*line, page) for page in _pages(head.count)] for line, head in epochs.items()}
    pages, _ = await _proven(follower, [path for of_one in paths.values() for path in of_one], later)
    found: dict[Line, KeyEpoch] = {}
    for line, head in epochs.items():
        before = [_read(pages[path], HoldersPage, HoldersPage(())).holders for path in paths[line]]
        holders = whole(head.count, before, head.newest)
        found[line] = KeyEpoch(
            line[1], head.ended, tuple(Holding(PublicKey(item.worker), item.height) for item in holders)
        )
    return found


async def _proven(follower: Follower, paths: Sequence[bytes], at_least: int) -> tuple[dict[bytes, bytes | None], int]:
    """Return the values of all paths, and the height of the newest header that proves some of them."""
    found: dict[bytes, bytes | None] = {}
    height = at_least
    for first in range(0, len(paths), _AT_ONCE):
        proven = await follower.prove(paths[first : first + _AT_ONCE], at_least)
        found |= proven.values
        height = max(height, proven.height)
    return found, height


def _pages(count: int) -> range:
    if count > _MOST:
        raise ProofInvalid(f"a list of more than {_MOST} entries")
    return range(full_pages(count))


def _read(raw: bytes | None, kind: type[T], absent: T | None = None) -> T:
    if raw is None:
        return kind() if absent is None else absent
    return decode(raw, kind)


async def _held(
    follower: Follower, contract: ContractId, record: ContractRecord, epoch: KeyEpoch, worker: PublicKey
) -> Held:
    """Return one epoch of one contract as this worker's: open or ended, and whether it published the keys."""
    since = next((item.since for item in epoch.holders if item.worker == worker), None)
    if since is None:
        raise ProofInvalid(f"worker {worker.hex()} has a tenure in epoch {epoch.number}, which does not list it")
    publications: tuple[Publication, ...] = record.publications if epoch.number == record.epoch else ()
    why: Why = "assigned" if worker in record.workers else "left"
    for rotation in record.rotation:
        if epoch.number == rotation.to_epoch:
            publications = rotation.publications
            why = "next epoch" if worker in record.workers else "left"
    mine = tuple(item.transaction for item in publications if item.worker == worker)
    is_published = await _published(follower, contract, epoch.number, worker, mine)
    return Held(contract, epoch.number, "ended" if epoch.ended else why, is_published, since, epoch.ended)


async def _signing(
    follower: Follower,
    contract: ContractId,
    record: ContractRecord,
    epochs: Sequence[KeyEpoch],
    worker: PublicKey,
) -> list[Signing]:
    """Return the keys that a contract owns: whoever was assigned in any epoch could ask for their seed."""
    deployed = await verify_deployment(follower, contract)
    keys = owned_keys(deployed.code.abi)
    if not keys:
        return []
    if worker in record.workers:
        return [Signing(contract, keys, "assigned")]
    return [Signing(contract, keys, "ended" if all(epoch.ended for epoch in epochs) else "left")]


async def _published(
    follower: Follower, contract: ContractId, epoch: int, worker: PublicKey, transactions: tuple[bytes, ...]
) -> bool:
    """Say whether the worker itself signed that it has these keys."""
    for raw in (await follower.transactions(transactions)).values():
        signed = open_signed(raw, follower.view.network)
        body = signed.body
        if isinstance(body, PublishKey) and (signed.sender, body.contract, body.epoch) == (worker, contract, epoch):
            return True
    return False
