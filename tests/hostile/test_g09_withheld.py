"""G9. Headers that a node withholds: the enclave behind it falls silent, and never tells what is past as present."""

from __future__ import annotations

import json

import pytest
import worker_story
from worker_story import ALICE, BOB, Story, story

from keephold.base.errors import NotFresh
from keephold.contract.address import Address
from keephold.follower import nodes
from keephold.testing.adversaries import repeating, withholding
from keephold.testing.clock import LeapingClock

guest = worker_story.guest
WINDOW_SECONDS = 12
BLOCKS = 10
"""How far the chain goes on while a worker hears nothing of it."""
HOW = {"no block any more": withholding, "the same block again and again": lambda: repeating({"stream"})}


def balance(answer) -> int:
    return int(json.loads(answer.reply.value))


@pytest.mark.parametrize("how", HOW)
def test_a_worker_whose_headers_are_withheld_falls_silent_and_executes_nothing(
    guest, tmp_path, monkeypatch, how: str
) -> None:
    """The node goes on answering everything else, and its chain goes on: only the stream of blocks stands still."""

    async def tell(it: Story) -> None:
        worker = await it.start()
        contract = await it.deploy()
        session = worker._session
        await it.call(contract, ALICE, "setup", "GLD", "1000")
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        await it.consumed(contract)
        await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
        height = it.net.node.application.map.newest.height
        assert balance(await it.ask(contract, worker, min_height=height)) == 1
        done = it.record(contract).done
        # (1) From here on it hears of no block; the ledger orders another call.
        honest, session.follower.remote.tamper = session.follower.remote.tamper, HOW[how]()
        await it.call(contract, ALICE, "transfer", Address.account(BOB.public).text, "1")
        envelope = it.question(contract, worker)
        blind = it.net.node.engine.latest()
        await it.net.until(lambda: it.net.node.engine.latest() >= blind + BLOCKS)
        clock.turn(WINDOW_SECONDS)
        # (2) It answers nobody, not even who asks for no height, and has executed nothing.
        with pytest.raises(NotFresh):
            await worker.answer(envelope, session.instance.id)
        assert it.record(contract).done == done
        # (3) All that was gained is time.
        session.follower.remote.tamper = honest
        await it.consumed(contract)
        await it.net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
        height = it.net.node.application.map.newest.height
        assert balance(await it.ask(contract, worker, min_height=height)) == 2

    # A node that is refused often enough, in a row, ends the enclave behind it; until then it has to be silent.
    monkeypatch.setattr(nodes, "MAX_REFUSALS", 1_000_000)
    clock = LeapingClock()
    story(guest, tmp_path, tell, freshness_s=WINDOW_SECONDS, clock=clock)
