"""The application dies at each moment of a block in which that could cost something, under real CometBFT.

What was acknowledged is there afterwards, at the same place, under a chain that a light client follows from the
genesis.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import get_args

import pytest

from keephold.testing.comet.frail import Moment

pytestmark = [pytest.mark.comet, pytest.mark.slow]


def test_the_only_validator_dies_at_each_moment(start, new_reader, new_sender, ids, until, patiently):
    cluster = start(1)

    async def run() -> None:
        reader, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        everything: list[bytes] = []
        for moment in get_args(Moment):
            before = sender.next(2)
            await reader.submit(before)
            places = await reader.found(ids(before))
            pid = cluster.pid(0)
            cluster.die_at(0, moment)
            doomed = sender.next(1)
            await reader.submit(doomed)
            await until(lambda: cluster.has_died(0))
            await until(lambda pid=pid: cluster.pid(0) not in {None, pid})
            # What waited may be lost with the mempool, unless its block was decided: it is submitted again.
            await reader.submit(doomed)
            assert [code for _, code in await reader.found(ids(doomed))] == [0]
            assert await reader.found(ids(before)) == places
            everything += before + doomed
        found = await reader.found(ids(everything))
        await reader.follow(max(height for height, _ in found) + 1)
        assert {code for _, code in found} == {0}
        await reader.remote.aclose()

    patiently(run(), cluster)


@pytest.mark.parametrize("moment", ["finalized", "committing"])
def test_one_of_four_dies_and_agrees_afterwards(start, new_reader, new_sender, ids, until, patiently, moment):
    cluster = start(4)

    async def run() -> None:
        readers = [new_reader(cluster, number) for number in range(4)]
        sender = new_sender(cluster.genesis, b"alice")
        first = sender.next(3)
        await readers[0].submit(first)
        await readers[2].found(ids(first))
        cluster.die_at(2, moment)
        second = sender.next(3)
        await readers[0].submit(second)
        found = await readers[0].found(ids(second))
        await until(lambda: cluster.has_died(2))
        last = max(height for height, _ in found) + 1
        await asyncio.gather(*(reader.follow(last) for reader in readers))
        assert readers[2].hashes == {at: readers[0].hashes[at] for at in readers[2].hashes}
        assert await readers[2].found(ids(first + second)) == await readers[0].found(ids(first + second))
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    patiently(run(), cluster)


def test_comet_dies_and_both_come_back(start, new_reader, new_sender, ids, until, patiently):
    cluster = start(1)

    async def run() -> None:
        reader, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        first = sender.next(2)
        await reader.submit(first)
        places = await reader.found(ids(first))
        node = cluster.pid(0)
        (comet,) = children(node)
        os.kill(comet, signal.SIGKILL)
        await until(lambda: cluster.pid(0) not in {None, node})
        assert "the engine stopped: CometBFT ended" in cluster.log(0).read_text()
        second = sender.next(2)
        await reader.submit(second)
        assert (await reader.found(ids(first + second)))[:2] == places
        await reader.remote.aclose()

    patiently(run(), cluster)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
