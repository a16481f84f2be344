"""Sessions on a real node in one process: superseded, rolled back, forked away, attested anew."""

from __future__ import annotations

import asyncio

import pytest

from keephold.base.errors import ChainRefused, LedgerRefused, RollbackDetected, Superseded
from keephold.follower.follow import Follower
from keephold.follower.remote import refusal
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import decode, encode
from keephold.protocol.governance import Proposal, RevokeIdentity, SignedProposal, sign_proposal
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Echo, Govern
from keephold.protocol.wire import Fault, Submission, Verdict, Verdicts
from keephold.testing.adversaries import withholding
from keephold.testing.clock import LeapingClock
from keephold.testing.local import PATIENCE_SECONDS, LocalNetwork, named_key
from keephold.testing.remote import LocalRemote

LEASE_SECONDS = 3600


async def nothing(_) -> None:
    return


async def registered(net, session) -> asyncio.Task:
    task = net.run(session.run(nothing))
    await net.until(lambda: session.view.height > 0)
    if not net.node.application.map.newest.attachments:
        net.bring_collateral()
    await session.registrar.wait_registered()
    return task


def in_network(scenario, tmp_path, **options) -> None:
    async def run() -> None:
        net = LocalNetwork(tmp_path, **options)
        net.start()
        try:
            await scenario(net)
        finally:
            await net.close()

    asyncio.run(run())


def test_a_clone_ends_the_older_instance(tmp_path) -> None:
    async def scenario(net) -> None:
        first = net.session("wes", "worker")
        task = await registered(net, first)
        clone = net.session("wes", "worker")
        assert clone.identity == first.identity
        net._tasks.remove(task)
        await registered(net, clone)
        with pytest.raises(Superseded):
            await task
        assert clone.instance.id == clone.registrar.record.instance

    in_network(scenario, tmp_path)


def test_fresh_only_after_an_echo_and_attested_anew_with_another_instance(tmp_path) -> None:
    async def scenario(net) -> None:
        session = net.session("wes", "worker")
        assert not session.freshness.is_fresh(session.clock.monotonic())
        await registered(net, session)
        await net.until(lambda: session.freshness.is_fresh(session.clock.monotonic()))
        first = session.instance
        await session.registrar.attest()
        assert session.instance.id != first.id
        assert session.instance.encryption.public != first.encryption.public
        assert session.registrar.is_live

    in_network(scenario, tmp_path)


def test_a_lease_is_renewed_as_half_of_it_is_gone(tmp_path) -> None:
    async def scenario(net) -> None:
        session = net.session("wes", "worker")
        await registered(net, session)
        first = session.instance.id
        clock.turn(LEASE_SECONDS // 2)
        await net.until(lambda: session.instance.id != first)
        assert session.registrar.is_live

    clock = LeapingClock()
    in_network(scenario, tmp_path, lease_s=LEASE_SECONDS, clock=clock)


def test_a_revoked_identity_gives_up(tmp_path) -> None:
    async def scenario(net) -> None:
        session = net.session("wes", "worker")
        proposal = Proposal(net.network, 1, RevokeIdentity(session.identity))
        await net.until(lambda: net.node.engine.latest() > 0)
        net.send(named_key("anyone else"), Govern(SignedProposal(proposal, (sign_proposal(proposal, net.governor),))))
        task = net.run(session.run(nothing))
        net._tasks.remove(task)
        await net.until(lambda: session.view.height > 0)
        net.bring_collateral()
        with pytest.raises(LedgerRefused, match="revoked"):
            await task

    in_network(scenario, tmp_path)


def silent(name: str, body: bytes) -> bytes | None:
    """Take what is submitted, and pass nothing on."""
    return encode(Verdicts((Verdict(),) * len(decode(body, Submission).transactions))) if name == "submit" else None


def revoking(name: str, body: bytes) -> bytes | None:
    """Say of whatever is submitted that its sender is revoked."""
    verdict = Verdict(Refusal.REVOKED)
    return encode(Verdicts((verdict,) * len(decode(body, Submission).transactions))) if name == "submit" else None


def refusing(name: str, _: bytes) -> bytes | None:
    """Say the code that would end whoever believes it."""
    if name == "submit":
        raise refusal(encode(Fault("ledger_refused", reason="revoked")), 409)
    return None


LIES = {
    "submissions are not passed on": {"intercept": silent},
    "no block": {"tamper": withholding()},
    "no block and no submission": {"intercept": silent, "tamper": withholding()},
    "revoked, it says": {"intercept": revoking},
    "refused, it says": {"intercept": refusing},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_node_that_brings_nothing_back_is_left_for_an_honest_one(tmp_path, lie) -> None:
    """It is asked first, and alive in every other way."""

    async def scenario(net) -> None:
        # A node without a block would be left for that.
        await net.until(lambda: net.node.engine.latest() > 2)
        net.bring_collateral()
        liar, honest = net.remote(), net.remote()
        for what, how in lie.items():
            setattr(liar, what, how)
        session = net.session("wes", "worker", remote=liar, others=[honest])
        net.run(session.run(nothing))
        await net.until(lambda: session.freshness.height > 0, seconds=60)

    in_network(scenario, tmp_path, freshness_s=3)


def test_many_bodies_are_all_accepted_through_a_restart_of_the_node(tmp_path) -> None:
    async def scenario(net) -> None:
        session = net.session("wes", "worker")
        await registered(net, session)
        sent = [session.sender.submit_nowait(Echo(number.to_bytes(32, "big"))) for number in range(150)]
        await asyncio.sleep(0.03)
        net.kill_node()
        net.start()
        await asyncio.wait_for(asyncio.gather(*sent), PATIENCE_SECONDS)

    in_network(scenario, tmp_path)


def test_a_rolled_back_ledger_is_noticed_after_a_restart_of_both(tmp_path) -> None:
    async def scenario(net) -> None:
        session = net.session("wes", "worker")
        task = await registered(net, session)
        await net.until(lambda: session.view.height > 5)
        session.seal_head()
        await net.cancel(task)
        net.kill_node()
        old = net.open_node("restored from an old backup")  # never started: two blocks and no more
        old.engine.step()
        old.engine.step()
        again = net.session("wes", "worker")
        assert again.view.height > 2
        with pytest.raises((RollbackDetected, ChainRefused)):
            await again.run(nothing)

    in_network(scenario, tmp_path)


def test_a_node_of_another_history_is_left_for_an_honest_one(tmp_path) -> None:
    async def scenario(net) -> None:
        honest = net.remote()
        await net.until(lambda: net.node.engine.latest() > 2)
        other = LocalNetwork(tmp_path / "other", seats=3, threshold=2)
        other.start()
        await other.until(lambda: other.node.engine.latest() > 0)
        follower = Follower([LocalRemote(other.node), honest], VerifiedView(net.genesis))
        async for block in follower.blocks():
            assert block.height > 0
            break
        assert follower.remote is honest
        await other.close()

    in_network(scenario, tmp_path)


def test_with_only_another_chain_to_ask_it_ends(tmp_path) -> None:
    async def scenario(net) -> None:
        other = LocalNetwork(tmp_path / "other", seats=3, threshold=2)
        await net.until(lambda: net.node.engine.latest() > 0)
        follower = Follower([net.remote()], VerifiedView(other.genesis), pause=lambda _: asyncio.sleep(0))
        with pytest.raises(ChainRefused):
            await anext(follower.blocks())

    in_network(scenario, tmp_path)
