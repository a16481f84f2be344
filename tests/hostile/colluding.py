"""Validators that all collude, on a network with a real worker: they own the map, and what a node hands out."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from worker_story import ALICE, BOB, Story

from keephold.base.ids import ContractId
from keephold.chain.sparse import SparseMap
from keephold.contract.address import Address
from keephold.protocol.codec import Record
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.state import ContractRecord, contract_path
from keephold.testing.adversaries import Colluders
from keephold.worker.service import Worker


class Past:
    """A contract's record and slots at some moment, as its ledger kept them."""

    def __init__(self, it: Story, contract: ContractId) -> None:
        state = it.net.node.application.map.newest
        self.contract = contract
        self.record = it.record(contract)
        self.slots = state.slots.get(contract, SparseMap.empty())


async def lie(
    it: Story,
    contract: ContractId,
    record: ContractRecord,
    slots: SparseMap,
    others: Mapping[bytes, Record] = MappingProxyType({}),
) -> None:
    """Have all validators prove a record, with slots to its root; the node makes blocks meanwhile."""
    state_map = it.net.node.application.map

    def is_there() -> bool:
        return it.record(contract).state_root == record.state_root and it.record(contract).version == record.version

    for _ in range(50):
        state_map.newest.slots[contract] = slots  # what a node hands out to who asks for the slots of the root
        Colluders(it.net.node).put({contract_path(contract): record, **others})
        height = state_map.newest.height
        await it.net.until(lambda: state_map.newest.height > height + 2)  # noqa: B023 - awaited right here
        if is_there():
            return
    raise AssertionError("a block was under way each time")


async def played(it: Story, workers: int = 1) -> tuple[ContractId, Past, Past]:
    """A contract, its state after the first transfer, and its state after two."""
    await it.start(workers=workers)
    await it.net.until(lambda: all(worker._session.registrar.is_live for worker in it.workers))
    contract = await it.deploy(policy=ContractPolicy(workers=workers))
    await it.call(contract, ALICE, "setup", "GLD", "1000")
    await transfer(it, contract)
    before = Past(it, contract)
    await transfer(it, contract)
    now = Past(it, contract)
    for worker in it.workers:
        await it.net.until(lambda worker=worker: version_of(worker, contract) == now.record.version)
    return contract, before, now


def version_of(worker: Worker, contract: ContractId) -> int:
    position = worker._hosted[contract].core.position if contract in worker.contracts else None
    return -1 if position is None else position.version


async def transfer(it: Story, contract: ContractId) -> None:
    await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
    await it.consumed(contract)
