"""A fifth node joins a network that runs, by a snapshot, and becomes a validator."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest
from faults_aftermath import answered

from keephold.base.errors import NotKept
from keephold.follower.follow import Follower
from keephold.follower.view import VerifiedView
from keephold.programs.history import HistoryConfig
from keephold.protocol.governance import SetValidators, ValidatorEntry
from keephold.protocol.wire import Interest, StreamRequest
from keephold.testing.comet.cluster import Cluster

pytestmark = [pytest.mark.comet, pytest.mark.slow]

INTERVAL = 10


def rows(path: Path, question: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(60_000)
    try:
        return list(connection.execute(question))
    finally:
        connection.close()


async def grow(reader, sender, height: int) -> None:
    """Have blocks made until there is one of that height."""
    while await reader.height() < height:
        await reader.acknowledged(sender.next(1))


def test_a_fifth_node_joins_without_replaying_and_is_made_a_validator(
    start, new_reader, new_sender, ids, govern, patiently
):
    cluster: Cluster = start(4, history=HistoryConfig(snapshot_interval=INTERVAL))

    async def run() -> None:
        first, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        # (1) Some history, and a snapshot above it.
        early = sender.next(3)
        assert await first.submit(early) == [0] * 3
        await first.found(ids(early))
        await grow(first, sender, INTERVAL + 3)
        # (2) A node with nothing but the genesis joins by two of them.
        home = cluster.home(0).parent.with_name("n4")
        number = await asyncio.to_thread(cluster.join, home, (0, 1))
        late = new_reader(cluster, number)
        newest = await late.height()
        assert newest >= INTERVAL
        # (3) It did not replay: no block below the snapshot has its transactions, and CometBFT has none of them.
        ledger = cluster.home(number) / "ledger.db"
        ((begun,),) = rows(ledger, "SELECT height FROM history")
        assert begun > INTERVAL
        assert rows(cluster.home(number) / "blocks.db", f"SELECT * FROM body WHERE height < {begun}") == []
        assert rows(ledger, f"SELECT * FROM result WHERE height < {begun}") == []
        # (4) What the map refers to is there, with proofs; history that is not is refused by name.
        assert [code for _, code in await late.found(ids(early))] == [0] * 3
        with pytest.raises(NotKept) as refusal:
            await anext(late.remote.stream(StreamRequest(2, Interest(custody=True))))
        assert refusal.value.first == begun
        # (5) It takes transactions, and all agree on what became of them.
        more = new_sender(cluster.genesis, b"bob").next(5)
        assert await late.submit(more) == [0] * 5
        assert await late.found(ids(more)) == await first.found(ids(more))
        # (6) A client follows it from the genesis, once the headers below were fetched, and sees one chain.
        target = await late.height()
        await asyncio.gather(first.follow(target), late.follow(target))
        assert late.hashes == {height: first.hashes[height] for height in late.hashes}
        assert late.app_hashes == {height: first.app_hashes[height] for height in late.app_hashes}
        # (7) Governance makes it a validator: with one of the five down, each vote of the others is needed.
        everyone = (*cluster.genesis.law.validators, ValidatorEntry(cluster.validator(number), 10))
        act = govern(cluster.genesis, SetValidators(tuple(sorted(everyone, key=lambda item: item.public_key))), 1)
        assert await late.submit([act]) == [0]
        ((enacted, code),) = await first.found(ids([act]))
        assert code == 0
        client = Follower([late.remote], VerifiedView(cluster.genesis))
        while client.view.height < enacted + 4:
            await answered(client.sync)
            await asyncio.sleep(0.2)
        cluster.kill(3, hold=True)
        last = sender.next(3)
        assert await late.submit(last) == [0] * 3
        assert await late.found(ids(last)) == await first.found(ids(last))
        # (8) Killed, it goes on where it was.
        cluster.kill(number)
        assert await late.height() > begun
        await first.remote.aclose()
        await late.remote.aclose()

    patiently(run(), cluster)


def test_killed_again_and_again_while_it_joins_it_joins_all_the_same(start, new_reader, new_sender, ids, patiently):
    """Whatever the moment: before the snapshot, in it, after it and before the first block, or later."""
    cluster: Cluster = start(4, history=HistoryConfig(snapshot_interval=INTERVAL))

    async def run() -> None:
        first, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        await grow(first, sender, INTERVAL + 3)
        number = await asyncio.to_thread(cluster.join, cluster.home(0).parent.with_name("n4"), (0, 1))
        late = new_reader(cluster, number)
        for seconds in (1.0, 2.5, 5.0, 6.5, 8.0):
            await asyncio.sleep(seconds)
            cluster.kill(number)
        raws = sender.next(3)
        assert await first.submit(raws) == [0] * 3
        assert await late.found(ids(raws)) == await first.found(ids(raws))
        ((begun,),) = rows(cluster.home(number) / "ledger.db", "SELECT height FROM history")
        assert begun > INTERVAL
        target = await late.height()
        await asyncio.gather(first.follow(target), late.follow(target))
        assert late.app_hashes[target] == first.app_hashes[target]
        await first.remote.aclose()
        await late.remote.aclose()

    patiently(run(), cluster)
