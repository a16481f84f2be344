"""Real enclaves over a node that restored a snapshot, or forgot its history: they find all that they need."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from worker_story import ALICE, BOB, Story, story

from keephold.base.errors import Superseded
from keephold.contract.address import Address
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.store import BlockStore
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.content import chunked
from keephold.ledger.snapshots.restore import verified
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.snapshots.take import pages
from keephold.testing.local import PATIENCE_SECONDS


def restored(it: Story, name: str) -> int:
    """End the node that runs, and restore the state after its newest block in another directory."""
    genesis, directory = it.net.genesis, it.net.directory / name
    directory.mkdir()
    it.net.kill_node()
    node = it.net.open_node()
    state, blocks = node.application.map.newest, [node.engine.block(at) for at in range(1, node.engine.latest() + 1)]
    shelf = Shelf(directory / "shelf")
    taken = chunked(pages(Archive(node.application, node.engine), state))
    shelf.put(it.net.network, state.height, state.values.root, taken)
    it.net.kill_node()
    other = LedgerApplication(genesis, directory)
    with (directory / "shelf" / f"{state.height}.snapshot").open("rb") as file:
        header = blocks[-1].signed.header.hash()
        found = verified(file, genesis, it.net.network, state.values.root, header)
    other.adopt(found.state, found.write)
    other.close()
    store = BlockStore(directory / "blocks.db")
    store.adopt(blocks[-1])
    store.backfill(blocks[:-1])
    store.close()
    return state.height


async def lived(it: Story):
    """A contract with some calls behind it; return it and its worker."""
    worker = await it.start()
    contract = await it.deploy()
    await it.call(contract, ALICE, "setup", "GLD", "1000")
    for _ in range(3):
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "10")
    await it.consumed(contract)
    return contract, worker


async def goes_on(it: Story, contract, worker, balance: bytes) -> None:
    await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
    await it.consumed(contract)
    session = worker._session
    await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
    head = it.net.node.application.map.newest.height
    assert balance in (await it.ask(contract, worker, min_height=head)).reply.value


async def succeeded(it: Story, contract):
    """Start the worker's successor, with nothing in memory: code, keys, slots and all proofs come from the node."""
    it.net._tasks.remove(it.tasks[0])
    successor = it.worker("w0")
    it.net.run(successor.run())
    with pytest.raises(Superseded):
        await asyncio.wait_for(it.tasks[0], PATIENCE_SECONDS)
    await it.net.until(lambda: contract in successor.contracts)
    return successor


def test_a_node_that_restored_a_snapshot_serves_workers_that_run_and_that_begin(guest, tmp_path: Path) -> None:
    async def tell(it: Story) -> None:
        contract, worker = await lived(it)
        height = restored(it, "restored")
        node = it.net.start("restored")
        assert (node.engine.first(), node.application.map.first) == (height + 1, height + 1)
        assert node.engine.transactions(height) == ()
        await goes_on(it, contract, worker, b"31")
        await goes_on(it, contract, await succeeded(it, contract), b"32")

    story(guest, tmp_path, tell)


def test_a_node_that_forgot_its_history_serves_workers_that_run_and_that_begin(guest, tmp_path: Path) -> None:
    async def tell(it: Story) -> None:
        contract, worker = await lived(it)
        node = it.net.node
        keeper = Housekeeper(Archive(node.application, node.engine), Shelf(tmp_path / "none"), Habits())
        keeper.prune(node.engine.latest())
        assert node.engine.first() > 10
        await goes_on(it, contract, worker, b"31")
        keeper.prune(node.engine.latest())
        await goes_on(it, contract, await succeeded(it, contract), b"32")

    story(guest, tmp_path, tell)
