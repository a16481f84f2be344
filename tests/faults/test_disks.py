"""Disks that are older than what the node said, or were cut off in the midst of writing.

A node whose disk is behind catches up from what CometBFT or its peers have, or says why it does not start. A validator
that forgot what it signed is the one danger: with its own old disk it is behind the others and follows before it votes;
beside a copy of itself it signs twice, and the others hold the evidence.
"""

from __future__ import annotations

import asyncio
import shutil

import pytest
from faults_aftermath import Acknowledged, answered, inspect
from faults_disks import APPLICATION, COMET, SIGNED, copy, copy_of_the_running, cut_tail, frozen, put_back

from keephold.base.errors import ChainRefused, RollbackDetected
from keephold.chain import merkle
from keephold.follower.follow import Follower
from keephold.follower.http_remote import HttpRemote
from keephold.follower.view import VerifiedView

pytestmark = [pytest.mark.comet, pytest.mark.slow]

OLD = 2


class Scene:
    """Four nodes, one of whose disks will be made older."""

    def __init__(self, cluster, new_reader, new_sender) -> None:
        self.cluster, self.told = cluster, Acknowledged()
        self.readers = [new_reader(cluster, number) for number in range(len(cluster))]
        self.sender = new_sender(cluster.genesis, b"alice")

    async def order(self, count: int, known_to: int | None = None) -> list[bytes]:
        """Have transactions ordered, known to the first node and another."""
        raws = self.sender.next(count)
        self.told.note(raws, await self.readers[0].acknowledged(raws))
        if known_to is not None:
            self.told.note(raws, await self.readers[known_to].found_all(raws))
        return raws

    async def agreed_or_refused(self, number: int) -> str:
        """Start a node again; wait until it knows of what is ordered now, or says why not; return the reason."""
        raws = await self.order(1)
        before = self.cluster.log(number).stat().st_size
        self.cluster.resume(number)
        found = asyncio.ensure_future(self.readers[number].found_all(raws))
        while not found.done():
            told = self.cluster.log(number).read_bytes()[before:].decode(errors="replace")
            stops = [line for line in told.splitlines() if '"event": "stopped"' in line]
            if len(stops) > 1:  # not a matter of bad luck
                found.cancel()
                self.cluster.kill(number, hold=True)
                return told
            await asyncio.sleep(0.1)
        self.told.note(raws, found.result())
        return ""

    async def agreed_or_set_up_anew(self, number: int) -> None:
        """As above; a node that says why it cannot is set up anew, and then it can."""
        reason = await self.agreed_or_refused(number)
        if not reason:
            return
        assert '"detail": "' in reason
        home = self.cluster.home(number)
        for part in APPLICATION:
            (home / part).unlink(missing_ok=True)
        shutil.rmtree(home / "cometbft" / "data")
        assert await self.agreed_or_refused(number) == ""


@pytest.fixture
def lived(start, new_reader, new_sender, patiently):
    def run(tell, validators: int = 4, followers: int = 0) -> None:
        cluster = start(validators, followers)

        async def story() -> None:
            scene = Scene(cluster, new_reader, new_sender)
            await scene.order(5)
            await tell(scene)
            await inspect(cluster.genesis, scene.readers[:validators], scene.sender, scene.told)
            await asyncio.gather(*(reader.remote.aclose() for reader in scene.readers))

        patiently(story(), cluster)

    return run


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(APPLICATION, id="application", marks=pytest.mark.faults),
        pytest.param((*APPLICATION, *COMET), id="both"),
        pytest.param(APPLICATION[:3], id="ledger", marks=pytest.mark.faults),
        pytest.param(APPLICATION[3:], id="blocks", marks=pytest.mark.faults),
    ],
)
def test_a_validator_with_an_old_disk_follows_before_it_votes(lived, tmp_path, parts):
    async def tell(scene) -> None:
        cluster = scene.cluster
        await scene.order(3, known_to=OLD)
        cluster.kill(OLD, hold=True)
        image = copy(cluster.home(OLD), tmp_path / "image")
        cluster.resume(OLD)
        for _ in range(3):
            await scene.order(3, known_to=OLD)
        cluster.kill(OLD, hold=True)
        put_back(image, cluster.home(OLD), parts)
        assert await scene.agreed_or_refused(OLD) == ""

    lived(tell)


@pytest.mark.faults
def test_comet_with_an_old_disk_beside_a_newer_ledger_is_refused_and_a_ledger_made_anew_follows(lived, tmp_path):
    async def tell(scene) -> None:
        cluster = scene.cluster
        await scene.order(3, known_to=OLD)
        cluster.kill(OLD, hold=True)
        image = copy(cluster.home(OLD), tmp_path / "image")
        cluster.resume(OLD)
        await scene.order(3, known_to=OLD)
        cluster.kill(OLD, hold=True)
        put_back(image, cluster.home(OLD), COMET)
        assert "is higher than core" in await scene.agreed_or_refused(OLD)
        # What docs/operate/network.md says of these files: the ledger is played again from blocks.
        for name in APPLICATION:
            (cluster.home(OLD) / name).unlink(missing_ok=True)
        assert await scene.agreed_or_refused(OLD) == ""

    lived(tell)


@pytest.mark.faults
def test_the_record_of_what_was_signed_is_kept_when_the_rest_is_older(lived, tmp_path):
    """The way to restore a backup: everything old but this one file."""

    async def tell(scene) -> None:
        cluster = scene.cluster
        cluster.kill(OLD, hold=True)
        image = copy(cluster.home(OLD), tmp_path / "image")
        cluster.resume(OLD)
        await scene.order(5, known_to=OLD)
        cluster.kill(OLD, hold=True)
        shutil.copy(cluster.home(OLD) / SIGNED, image / SIGNED)
        put_back(image, cluster.home(OLD))
        assert await scene.agreed_or_refused(OLD) == ""
        # It votes again: without it and another one there is no quorum.
        cluster.kill(0, hold=True)
        raws = scene.sender.next(2)
        scene.told.note(raws, await scene.readers[1].acknowledged(raws))
        cluster.resume(0)

    lived(tell)


def test_the_only_validator_with_an_old_disk_forks_and_whoever_saw_more_refuses(
    start, new_reader, new_sender, ids, patiently, tmp_path
):
    cluster = start(1)

    async def run() -> None:
        reader, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        await reader.acknowledged(sender.next(3))
        cluster.kill(0, hold=True)
        image = copy(cluster.home(0), tmp_path / "image")
        cluster.resume(0)
        seen = Follower([HttpRemote(cluster.url(0))], VerifiedView(cluster.genesis))
        await reader.acknowledged(sender.next(3))
        await answered(seen.sync)
        cluster.kill(0, hold=True)
        put_back(image, cluster.home(0))
        cluster.resume(0)
        # It is behind, and then elsewhere: it signs heights again that it had signed.
        mallory, blocks = new_sender(cluster.genesis, b"mallory"), seen.blocks()

        async def followed() -> None:
            while True:
                await reader.acknowledged(mallory.next(1))
                await anext(blocks)

        with pytest.raises((RollbackDetected, ChainRefused)):
            await followed()
        await seen.aclose()
        await reader.remote.aclose()

    patiently(run(), cluster)


@pytest.mark.faults
def test_a_validator_that_runs_twice_signs_twice_and_the_blocks_hold_the_evidence(lived):
    """One seed on two machines: each proposes and votes for itself, and the others notice."""

    async def tell(scene) -> None:
        cluster = scene.cluster
        cluster.kill(4, hold=True)
        shutil.copy(cluster.home(3).parent / "validator.seed", cluster.home(4).parent / "validator.seed")
        cluster.resume(4)
        follower = Follower([HttpRemote(cluster.url(0))], VerifiedView(cluster.genesis))
        evidence = 0
        at = 0
        looked = 1
        while not evidence:
            raws = scene.sender.next(2)
            scene.told.note(raws, await scene.readers[at % 3].acknowledged(raws))
            at += 1
            await answered(follower.sync)
            evidence, looked = await evidence_between(looked, follower), follower.view.height
        await follower.aclose()
        cluster.kill(4, hold=True)

    lived(tell, followers=1)


async def evidence_between(first: int, follower: Follower) -> int:
    """Return the height of a header that commits to evidence, from a height up to the view's; 0 if there is none."""
    for height in range(first, follower.view.height):
        header = await answered(lambda height=height: follower.header(height))
        if header.evidence_hash != merkle.EMPTY:
            return height
    return 0


MOMENTS = 5
TAILS = (
    ("ledger.db-wal", 1),
    ("ledger.db-wal", 3000),
    ("blocks.db-wal", 2000),
    ("cometbft/data/cs.wal/wal", 1),
    ("cometbft/data/cs.wal/wal", 700),
)


@pytest.mark.faults
def test_what_a_power_cut_leaves_starts_and_agrees(lived, tmp_path):
    """Images taken under load, with node and CometBFT stopped wherever they were."""

    async def tell(scene) -> None:
        cluster = scene.cluster
        images = []
        for number in range(MOMENTS):
            loading = asyncio.ensure_future(scene.order(20))
            await asyncio.sleep(0.1 + 0.07 * number)
            with frozen(cluster.pid(OLD)):
                images.append(copy(cluster.home(OLD), tmp_path / f"image{number}"))
            await loading
        for image in images:
            cluster.kill(OLD, hold=True)
            put_back(image, cluster.home(OLD))
            assert await scene.agreed_or_refused(OLD) == ""

    lived(tell)


@pytest.mark.faults
@pytest.mark.parametrize(("name", "count"), TAILS)
def test_a_tail_that_is_cut_off_is_made_good_or_refused_with_the_reason(lived, tmp_path, name, count):
    async def tell(scene) -> None:
        cluster = scene.cluster
        loading = asyncio.ensure_future(scene.order(20))
        await asyncio.sleep(0.3)
        with frozen(cluster.pid(OLD)):
            image = copy(cluster.home(OLD), tmp_path / "image")
        await loading
        cluster.kill(OLD, hold=True)
        put_back(image, cluster.home(OLD))
        cut_tail(cluster.home(OLD) / name, count)
        await scene.agreed_or_set_up_anew(OLD)

    lived(tell)


@pytest.mark.faults
def test_a_copy_of_a_node_that_went_on_writing_starts_or_is_refused_with_the_reason(lived, tmp_path):
    """Parts of many moments: whatever fits together is not a fork, and what does not is said."""

    async def tell(scene) -> None:
        cluster = scene.cluster
        for number in range(3):
            loading = asyncio.ensure_future(scene.order(60))
            await asyncio.sleep(0.2)
            image = await asyncio.to_thread(copy_of_the_running, cluster.home(OLD), tmp_path / f"image{number}")
            await loading
            cluster.kill(OLD, hold=True)
            put_back(image, cluster.home(OLD))
            await scene.agreed_or_set_up_anew(OLD)

    lived(tell)
