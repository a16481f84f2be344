"""Lines between machines are cut, in both directions or one, or become slow and lossy; and are good again.

Each node is a machine of its own (a network namespace), and so is the client. What holds afterwards is `inspect`'s.
"""

from __future__ import annotations

import asyncio

import pytest
from faults_aftermath import Acknowledged, inspect

from keephold.testing.switch import CUT, Link

pytestmark = [pytest.mark.comet, pytest.mark.slow]

CLIENT = 4
EVERYONE = range(CLIENT)
HEARTBEAT = 2.0


class Town:
    """Four nodes on machines of their own, and what clients were told."""

    def __init__(self, cluster, new_reader, new_sender) -> None:
        self.cluster = cluster
        self.readers = [new_reader(cluster, number) for number in EVERYONE]
        self.sender, self.told = new_sender(cluster.genesis, b"alice"), Acknowledged()

    async def order(self, count: int, at: int = 0, known_to=EVERYONE) -> None:
        """Have transactions ordered through one node, until these know of them."""
        raws = self.sender.next(count)
        self.told.note(raws, await self.readers[at].acknowledged(raws))
        for number in known_to:
            self.told.note(raws, await self.readers[number].acknowledged(raws))

    async def heights(self, nodes=EVERYONE) -> list[int]:
        return [await self.readers[number].height() for number in nodes]

    async def halted(self, nodes=EVERYONE) -> list[int]:
        """Prove that these make no block: what was under way ends, sooner or later, then no heartbeat comes."""
        before, now = [], await self.heights(nodes)
        while now != before:
            before = now
            await asyncio.sleep(3 * HEARTBEAT)
            now = await self.heights(nodes)
        return now

    async def end(self) -> None:
        await inspect(self.cluster.genesis, self.readers, self.sender, self.told)
        await asyncio.gather(*(reader.remote.aclose() for reader in self.readers))


@pytest.fixture
def lived(start, switch, new_reader, new_sender, patiently):
    """Run a story in a town."""

    def run(tell) -> None:
        cluster = start(4, switch=switch)

        async def story() -> None:
            town = Town(cluster, new_reader, new_sender)
            await town.order(5)
            await tell(town, switch)
            await town.end()

        patiently(story(), cluster)

    return run


def test_two_against_two_halt_both_and_lose_nothing(lived, ids):
    async def tell(town, switch) -> None:
        switch.part({0, 1}, {2, 3})
        left = town.sender.next(3)
        assert await town.readers[0].submit(left) == [0] * 3, "it waits"
        before = await town.halted()
        for reader in town.readers:
            assert await reader.knows([*town.told.places][:1])
            assert not await reader.knows(ids(left)), "nobody says that it was ordered"
        switch.heal()
        town.told.note(left, await town.readers[3].acknowledged(left))
        while min(await town.heights()) <= max(before):  # noqa: ASYNC110 - the others hear of it in other processes
            await asyncio.sleep(0.1)

    lived(tell)


@pytest.mark.faults
def test_three_go_on_without_the_fourth_which_tells_nobody_anything_and_catches_up(lived, ids, new_sender):
    async def tell(town, switch) -> None:
        switch.part({0, 1, 2}, {3})
        await town.order(5, at=1, known_to=(0, 1, 2))
        (stuck,) = await town.halted([3])
        assert not await town.readers[3].knows([*town.told.places][-1:])
        # What its clients offer it waits, and nobody is told that it was ordered.
        orphan = new_sender(town.cluster.genesis, b"bob").next(1)
        assert await town.readers[3].submit(orphan) == [0]
        await town.order(5, at=2, known_to=(0, 1, 2))
        assert not await town.readers[3].knows(ids(orphan))
        switch.heal()
        town.told.note(orphan, await town.readers[3].acknowledged(orphan))
        assert (await town.heights([3]))[0] > stuck

    lived(tell)


@pytest.mark.faults
@pytest.mark.parametrize("direction", ["speaks to nobody", "hears nobody"])
def test_a_line_that_is_cut_one_way_only_costs_nobody_else_anything(lived, direction):
    async def tell(town, switch) -> None:
        for other in (0, 1, 2):
            switch.set(*((3, other) if direction == "speaks to nobody" else (other, 3)), CUT)
        await town.order(10, known_to=(0, 1, 2))
        await town.halted([3])
        assert sum(switch.lost.values()) > 0
        assert all((source == 3) == (direction == "speaks to nobody") for source, _ in switch.lost)
        switch.heal()
        await town.order(5, at=3)

    lived(tell)


def test_two_that_cannot_speak_hear_of_each_other_through_the_others(lived):
    async def tell(town, switch) -> None:
        switch.part({0}, {1})
        for at in EVERYONE:
            await town.order(3, at=at)
        assert switch.lost[0, 1] > 0

    lived(tell)


@pytest.mark.faults
def test_slow_and_lossy_lines_make_a_slow_network(lived):
    async def tell(town, switch) -> None:
        switch.set_all(Link(loss=0.05, delay=0.08), [*EVERYONE, CLIENT])
        for at in EVERYONE:
            await town.order(5, at=at)
        assert sum(switch.lost.values()) > 20

    lived(tell)


@pytest.mark.faults
def test_partitions_come_and_go_while_clients_submit(lived):
    """Every way to part four in two, one after the other, each for a few blocks' time, under load."""
    ways = [{0}, {1}, {2}, {3}, {0, 1}, {0, 2}, {0, 3}]

    async def tell(town, switch) -> None:
        over = asyncio.Event()

        async def trade(at: int, sender) -> None:
            while not over.is_set():
                raws = sender.next(3)
                town.told.note(raws, await town.readers[at].acknowledged(raws))

        senders = [type(town.sender)(town.cluster.genesis, b"trader %d" % at) for at in EVERYONE]
        async with asyncio.TaskGroup() as trading:  # which ends the story when one of them fails
            for at, sender in zip(EVERYONE, senders, strict=True):
                trading.create_task(trade(at, sender))
            for group in ways:
                switch.part(group, set(EVERYONE) - group)
                await asyncio.sleep(1.5)
                switch.heal()
                reached = max(await town.heights()) + 2
                while min(await town.heights()) < reached:  # noqa: ASYNC110 - it happens in other processes
                    await asyncio.sleep(0.1)
            while len(town.told.places) <= 50:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
            over.set()

    lived(tell)
