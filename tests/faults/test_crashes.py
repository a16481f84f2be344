"""kill -9 of the application, of CometBFT and of both, at each moment of a block in which that could cost something.

Each killing leaves a line that says in which block it happened and what was durable just then: so it is known that the
moment was the one asked for. What was acknowledged is there afterwards, at the same place, on one chain.
"""

from __future__ import annotations

import asyncio
from typing import get_args

import pytest
from faults_aftermath import Acknowledged, inspect

from keephold.testing.comet.frail import Moment, Victim

pytestmark = [pytest.mark.comet, pytest.mark.slow]

MOMENTS = get_args(Moment)
POINTS = 11
"""Moments in a block that CometBFT's authors foresaw: two votes, four while it is applied, five around that."""


async def outlive(cluster, number: int, moment: Moment, victim: Victim, until) -> None:
    """Wait until the node died as ordered, and prove that it did."""
    await until(lambda: cluster.has_died(number))
    death = cluster.deaths(number)[-1]
    assert (death.moment, death.victim) == (moment, victim)
    assert death.durable == (death.height if moment == "committed" else death.height - 1)
    assert (death.comet != 0) == (victim != "application")
    cluster.resume(number)  # its supervisor need not grow patient with it


@pytest.mark.parametrize("victim", get_args(Victim))
def test_the_only_validator_dies_at_each_moment(start, new_reader, new_sender, ids, until, patiently, victim):
    cluster = start(1)

    async def run() -> None:
        reader, sender, told = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice"), Acknowledged()
        for moment in MOMENTS:
            before = sender.next(2)
            told.note(before, await reader.acknowledged(before))
            pid = cluster.pid(0)
            cluster.die_at(0, moment, victim)
            doomed = sender.next(1)
            await reader.submit(doomed)
            await outlive(cluster, 0, moment, victim, until)
            await until(lambda pid=pid: cluster.pid(0) not in {None, pid})
            told.note(doomed, await reader.acknowledged(doomed))
            told.note(before, await reader.found(ids(before)))
        await inspect(cluster.genesis, [reader], sender, told)
        await reader.remote.aclose()

    patiently(run(), cluster)


@pytest.mark.faults
def test_one_of_four_dies_at_each_moment_in_each_way(start, new_reader, new_sender, until, patiently):
    """The others go on meanwhile; it agrees with them each time it is back."""
    cluster = start(4)

    async def run() -> None:
        readers = [new_reader(cluster, number) for number in range(4)]
        sender, told = new_sender(cluster.genesis, b"alice"), Acknowledged()
        for victim in get_args(Victim):
            for moment in MOMENTS:
                cluster.die_at(2, moment, victim)
                raws = sender.next(2)
                told.note(raws, await readers[0].acknowledged(raws))
                await outlive(cluster, 2, moment, victim, until)
                told.note(raws, await readers[2].found([*told.places][-2:]))
        assert len(cluster.deaths(2)) == len(MOMENTS) * len(get_args(Victim))
        await inspect(cluster.genesis, readers, sender, told)
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    patiently(run(), cluster)


@pytest.mark.faults
def test_comet_dies_at_each_of_its_own_moments(start, new_reader, new_sender, until, patiently):
    """Between its block store, its write-ahead log, its state and our Commit: it knows eleven places to die in."""
    cluster = start(1)

    async def run() -> None:
        reader, sender, told = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice"), Acknowledged()
        for point in range(POINTS):
            cluster.kill(0, hold=True)
            cluster.comet_fails(0, point)
            cluster.resume(0)
            raws = sender.next(1)
            told.note(raws, await reader.acknowledged(raws))
            # Of the last moments some come after a reader can know of the block.
            said = f"*** fail-test {point} ***"
            await until(lambda said=said: said in cluster.log(0).read_text(errors="replace"))
        await inspect(cluster.genesis, [reader], sender, told)
        await reader.remote.aclose()

    patiently(run(), cluster)


def test_a_node_is_killed_without_a_moment_asked_for(start, new_reader, new_sender, patiently):
    """All four at once, twice: nothing that anyone was told is lost with what they had in memory."""
    cluster = start(4)

    async def run() -> None:
        readers = [new_reader(cluster, number) for number in range(4)]
        sender, told = new_sender(cluster.genesis, b"alice"), Acknowledged()
        for _ in range(2):
            raws = sender.next(10)
            told.note(raws, await readers[1].acknowledged(raws))
            for number in range(4):
                cluster.kill(number)
        await inspect(cluster.genesis, readers, sender, told)
        await asyncio.gather(*(reader.remote.aclose() for reader in readers))

    patiently(run(), cluster)
