"""What tests of key epochs share: a contract with slots, one that rotates, and what honest workers say."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from keephold.chain.sparse import SparseMap
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.messages import SealedSlot
from keephold.protocol.rotation import migration_page
from keephold.protocol.transactions import (
    Migration,
    PublishKey,
    Rotate,
    SlotWrite,
    SubmitMigration,
)


def slot(name: str, epoch: int) -> SlotWrite:
    """A slot as the ledger sees it: it cannot tell whether it opens, but it reads the epoch."""
    tag = (f"{name}{epoch}".encode() * 32)[:32]
    return SlotWrite(tag, encode(SealedSlot(epoch, bytes(32), name.encode())))


def publish(desk, worker, contract, name="next") -> PublishKey:
    """What a worker says about the keys of the epoch on its way in."""
    epoch = desk.contract(contract).rotation[0].to_epoch
    return replace(desk.publication(worker, contract, name), epoch=epoch)


def page(desk, worker, contract, /, **changes) -> SubmitMigration:
    """The page that an honest worker would submit now."""
    record = desk.contract(contract)
    to_epoch = record.rotation[0].to_epoch if record.rotation else record.epoch + 1
    cursor = record.rotation[0].cursor if record.rotation else bytes(32)
    slots = desk.application.map.newest.slots.get(contract, SparseMap.empty())
    taken = migration_page(slots, cursor, to_epoch)
    writes = [replace(slot("x", to_epoch), tag=bytes([255 - n]) * 32) for n in range(len(taken.slots))]
    fields = {
        "contract": contract,
        "from_epoch": record.epoch,
        "to_epoch": to_epoch,
        "after": cursor,
        "until": taken.until,
        "version": record.version,
        "pre_root": record.state_root,
        "writes": tuple(sorted(writes, key=lambda write: write.tag)),
        "is_last": taken.is_last,
    }
    instance = changes.pop("instance", worker.instance)
    fields |= changes
    changed = [(tag, None) for tag, _ in taken.slots] + [(write.tag, write.value) for write in fields["writes"]]
    return SubmitMigration(instance, Migration(**{"root": slots.update(changed).root, **fields}))


@pytest.fixture
def stateful(token, new_key):
    """A contract with two slots of epoch 1."""
    desk, worker, contract = token
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(worker, desk.result(worker, contract, writes=(slot("a", 1), slot("b", 1))))
    return desk, worker, contract


@pytest.fixture
def rotating(stateful, new_key):
    desk, worker, contract = stateful
    desk.send(new_key("alice"), Rotate(contract))
    return desk, worker, contract


@pytest.fixture
def two_workers(desk, new_key):
    """A contract of two workers, rotating."""
    workers = desk.enrol("1", "2")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    desk.activate(contract, *workers)
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(workers[0], desk.result(workers[0], contract, writes=(slot("a", 1), slot("b", 1))))
    desk.send(new_key("alice"), Rotate(contract))
    return desk, workers, contract
