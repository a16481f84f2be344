"""One of four validators is run by somebody else's code: it proposes what it should not, and accepts everything.

A block of four needs three votes, so what honest applications refuse is not ordered; the next proposer is honest. What
they cannot refuse (another order, nothing at all) costs time, and nothing else.
"""

from __future__ import annotations

import asyncio

import pytest
from faults_aftermath import Acknowledged, inspect

from keephold.crypto.hashing import sha256
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import transaction_id

pytestmark = [pytest.mark.comet, pytest.mark.slow]

ROGUE, HONEST = 1, (0, 2, 3)
PAUSE = 0.1


class Scene:
    """Four nodes, one of them a rogue, and somebody who submits without waiting for answers."""

    def __init__(self, cluster, readers, sender) -> None:
        self.cluster, self.readers, self.sender, self.told = cluster, readers, sender, Acknowledged()

    async def submit_until(self, condition) -> int:
        """Submit faster than blocks come, so that each proposer has something to choose from; then `acknowledge`.

        What is refused meanwhile (too many wait; or one before it was refused, and this comes before its nonce) would
        be refused for ever if more were submitted behind it: it is offered again first.
        """
        sent: list[bytes] = []
        refused = 0
        while not condition():
            raws = self.sender.next(3)
            sent += raws
            if any(await self.readers[0].submit(raws)):
                refused += await self.acknowledge(sent)
                sent = []
            await asyncio.sleep(PAUSE)
        return refused + await self.acknowledge(sent)

    async def acknowledge(self, sent: list[bytes]) -> int:
        """Submit again what was refused for its nonce alone, until all is applied; return how often that was seen."""
        reader, refused = self.readers[0], 0
        # Those refused by now are counted before they are submitted again: the next block may apply them.
        for at in range(0, len(sent), 64):
            refused += bad_nonces(await reader.knows(transactions(sent[at : at + 64])))
        while True:
            places = await reader.acknowledged(sent)
            again = [raw for raw, (_, code) in zip(sent, places, strict=True) if code == Refusal.BAD_NONCE]
            if not again:
                break
            refused += len(again)
            await asyncio.sleep(PAUSE)
        self.told.note(sent, places)
        assert {code for _, code in self.told.places.values()} == {0}
        return refused


def transactions(raws: list[bytes]) -> list[bytes]:
    return [transaction_id(raw) for raw in raws]


def bad_nonces(places: list[tuple[int, int]]) -> int:
    return sum(code == Refusal.BAD_NONCE for _, code in places)


@pytest.fixture
def among_four(start, new_reader, new_sender, patiently):
    """Run a story on four nodes; afterwards the rogue is honest again."""

    def run(tell) -> None:
        cluster = start(4)

        async def story() -> None:
            readers = [new_reader(cluster, number) for number in range(4)]
            scene = Scene(cluster, readers, new_sender(cluster.genesis, b"alice"))
            await scene.acknowledge(scene.sender.next(3))
            await tell(scene)
            cluster.propose(ROGUE, None)
            await inspect(cluster.genesis, readers, scene.sender, scene.told)
            await asyncio.gather(*(reader.remote.aclose() for reader in readers))

        patiently(story(), cluster)

    return run


@pytest.mark.parametrize(
    "mischief",
    [
        "garbage",
        pytest.param("unsigned", marks=pytest.mark.faults),
        pytest.param("twice", marks=pytest.mark.faults),
        pytest.param("oversize", marks=pytest.mark.faults),
    ],
)
def test_a_proposal_that_is_not_well_formed_is_refused_by_each_honest_node(among_four, mischief):
    async def tell(scene) -> None:
        scene.cluster.propose(ROGUE, mischief)
        await scene.submit_until(lambda: all(scene.cluster.refused(number) for number in HONEST))
        assert scene.cluster.refused(ROGUE) == []
        for reader in scene.readers:
            assert not await reader.knows([sha256(b"\x00garbage")])

    among_four(tell)


@pytest.mark.faults
def test_a_proposer_whose_blocks_its_own_comet_does_not_let_out_stops_itself_alone(among_four):
    async def tell(scene) -> None:
        scene.cluster.propose(ROGUE, "overflow")
        told = "transaction data size exceeds maximum"
        await scene.submit_until(lambda: told in scene.cluster.log(ROGUE).read_text(errors="replace"))

    among_four(tell)


@pytest.mark.faults
def test_a_proposer_that_leaves_everything_out_delays_it_until_the_next_one(among_four):
    async def tell(scene) -> None:
        scene.cluster.propose(ROGUE, "nothing")
        await scene.submit_until(lambda: sum(map(bool, scene.cluster.proposed(ROGUE))) > 1)
        assert not any(scene.cluster.refused(number) for number in HONEST)

    among_four(tell)


def test_a_proposer_that_reverses_what_waits_costs_a_block_and_no_call(among_four):
    """A transaction before its nonce is refused, proven so, and accepted when it is offered again."""

    async def tell(scene) -> None:
        scene.cluster.propose(ROGUE, "reversed")

        def tried() -> int:
            return sum(count > 1 for count in scene.cluster.proposed(ROGUE))

        costs = 0
        while not costs:  # its block may not have been the one that was decided: then it has to be given another try
            before = tried()
            costs = await scene.submit_until(lambda seen=before: tried() > seen)
        assert not any(scene.cluster.refused(number) for number in HONEST), "that would depend on the state"

    among_four(tell)
