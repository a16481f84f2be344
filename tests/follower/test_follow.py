"""The follower against nodes that die, omit, lie and lag, with production bytes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from keephold.base.errors import ChainRefused, LedgerRefused, NotKept, ProofInvalid, StaleAnswer
from keephold.follower import follow, headers
from keephold.follower.follow import Follower
from keephold.follower.law import check_complete, verify_history
from keephold.follower.nodes import MAX_REFUSALS
from keephold.follower.view import VerifiedView, validator_set
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import network_id
from keephold.protocol.governance import (
    CancelProposal,
    Enacted,
    GovernanceRecord,
    Proposal,
    RevokeIdentity,
    SetValidators,
    SignedProposal,
    ValidatorEntry,
    chain_head,
    digest_of,
    sign_proposal,
)
from keephold.protocol.state import registration_path
from keephold.protocol.wire import FoundTransactions, Frame, GovernanceHistory, Interest, LightBlocks, ProveAnswer
from keephold.testing.local import named_key
from keephold.testing.remote import LocalRemote


async def no_pause(_: float) -> None:
    await asyncio.sleep(0)


def follower(scene, *remotes, interest: Interest | None = None) -> Follower:
    chosen = remotes or (LocalRemote(scene.net.node),)
    return Follower(chosen, VerifiedView(scene.net.genesis), interest, pause=no_pause)


def on(name: str, kind, alter):
    """Return a tamper that alters the records of one endpoint."""
    return lambda asked, raw: encode(alter(decode(raw, kind))) if asked == name else raw


async def take(made: Follower, count: int):
    blocks = []
    stream = made.blocks()
    try:
        while len(blocks) < count:
            blocks.append(await anext(stream))
    finally:
        await stream.aclose()
    return blocks


def test_it_skips_to_the_newest_and_proves_from_there(scene) -> None:
    async def run() -> None:
        made = follower(scene)
        await made.sync()
        assert made.view.height == scene.top
        path = registration_path(scene.worker.public)
        assert (await made.prove([path]))[path] is not None
        assert (await made.transactions(scene.calls)).keys() == set(scene.calls)
        located = await made.locate(scene.calls)
        assert located[scene.calls[0]].result.code == 0

    asyncio.run(run())


def test_from_a_given_height_every_block_comes_in_order(scene) -> None:
    async def run() -> None:
        made = follower(scene, interest=scene.interest())
        await made.sync(to=2)
        blocks = await take(made, scene.top - 2)
        assert [block.height for block in blocks] == list(range(3, scene.top + 1))
        assert all(block.after == block.height - 1 for block in blocks)

    asyncio.run(run())


@pytest.mark.parametrize(
    "alter",
    [
        lambda frame: replace(frame, signed_header=frame.signed_header[:-2] + b"xx"),
        lambda frame: replace(frame, values=tuple(replace(item, value=b"\x00") for item in frame.values)),
    ],
)
def test_a_liar_is_left_for_another_node(scene, alter) -> None:
    async def run() -> None:
        liar = LocalRemote(scene.net.node, on("stream", Frame, alter))
        made = follower(scene, liar, LocalRemote(scene.net.node), interest=scene.interest())
        await made.sync(to=2)
        (block,) = await take(made, 1)
        assert block.height == 3
        assert made.remote is not liar

    asyncio.run(run())


def test_a_lone_liar_ends_it(scene) -> None:
    async def run() -> None:
        liar = LocalRemote(scene.net.node, on("stream", Frame, lambda f: replace(f, height=f.height + 1)))
        made = follower(scene, liar)
        await made.sync(to=2)
        with pytest.raises(ChainRefused):
            await take(made, 1)
        assert made.view.height == 2

    asyncio.run(run())


class Counted(LocalRemote):
    """Counts the streams that were asked for."""

    opened = 0

    async def stream(self, request):
        self.opened += 1
        async with aclosing(super().stream(request)) as frames:
            async for frame in frames:
                yield frame


def test_a_network_that_stands_still_ends_nobody_though_a_node_lags_behind(scene) -> None:
    """Whoever waits leaves each node in turn; what the one behind refuses is not added up over the rounds."""

    async def run() -> None:
        old = await LocalRemote(scene.net.node).blocks([2])
        behind = LocalRemote(scene.net.node, on("blocks", LightBlocks, lambda _: LightBlocks(old)))
        still = Counted(scene.net.node)
        made = follower(scene, still, behind)
        await made.sync()
        waiting = asyncio.ensure_future(take(made, 1))
        for turn in range(1, 2 * MAX_REFUSALS + 4):
            while still.opened < turn:
                await asyncio.sleep(0)
                if waiting.done():
                    waiting.result()
            made.leave("nothing comes")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(asyncio.wait_for(run(), 120))


def test_a_dead_node_is_asked_until_it_lives(scene) -> None:
    async def run() -> None:
        remote = LocalRemote(None)
        made = follower(scene, remote)
        taking = asyncio.ensure_future(take(made, 1))
        for _ in range(50):
            await asyncio.sleep(0)
        assert not taking.done()
        remote.node = scene.net.node
        await asyncio.sleep(0)
        scene.step()
        scene.top += 1
        assert (await asyncio.wait_for(taking, 120))[0].height >= scene.top - 1

    asyncio.run(run())


def test_a_prover_that_lags_is_stale(scene) -> None:
    async def run() -> None:
        made = follower(scene)
        await made.sync()
        with pytest.raises(StaleAnswer):
            await made.prove([bytes(32)], at_least=scene.top + 100)

    asyncio.run(run())


def test_a_prover_that_lies_is_refused(scene) -> None:
    async def run(alter) -> None:
        made = follower(scene, LocalRemote(scene.net.node, on("prove", ProveAnswer, alter)))
        await made.sync()
        await made.prove([registration_path(scene.worker.public)])

    for alter in (
        lambda answer: replace(answer, values=()),
        lambda answer: replace(answer, values=tuple(replace(item, value=b"") for item in answer.values)),
    ):
        with pytest.raises(ProofInvalid):
            asyncio.run(run(alter))


def test_headers_far_below_are_followed_from_the_genesis(scene, monkeypatch) -> None:
    monkeypatch.setattr(headers, "MAX_DESCENT", 2)

    async def run() -> None:
        made = follower(scene)
        await made.sync()
        assert await made.header_hash(3) == scene.net.node.engine.block(3).signed.header.hash()
        assert made.view.header(3) is None

    asyncio.run(run())


def test_a_header_that_the_stream_passes_while_it_is_asked_for_is_still_reached(scene) -> None:
    async def run() -> None:
        class Slow:
            """A node whose headers arrive after the stream went on."""

            def __init__(self) -> None:
                self._node = LocalRemote(scene.net.node)
                self.passed = False

            def __getattr__(self, name: str):
                return getattr(self._node, name)

            async def blocks(self, heights):
                answer = await self._node.blocks(heights)
                if list(heights) == [scene.top - 1] and not self.passed:
                    self.passed = True
                    made.view.advance((await self._node.blocks([scene.top]))[0])
                return answer

        slow = Slow()
        made = follower(scene, slow)
        await made.sync(to=2)
        header = await made.header(scene.top - 1)
        assert slow.passed
        assert header.height == scene.top - 1
        assert made.view.height == scene.top

    asyncio.run(run())


def test_a_node_may_answer_for_many_transactions_in_parts(scene) -> None:
    async def run() -> None:
        one = on("transactions", FoundTransactions, lambda answer: FoundTransactions(answer.found[:1]))
        made = follower(scene, LocalRemote(scene.net.node, one))
        assert (await made.transactions([*scene.calls, bytes(32)])).keys() == set(scene.calls)

    asyncio.run(run())


# --- law ---


def enacted(net, sequence: int, action, key=None) -> Enacted:
    proposal = Proposal(net.network, sequence, action)
    signed = SignedProposal(proposal, (sign_proposal(proposal, key or net.governor),))
    return Enacted(signed, net.genesis.time_ns + sequence)


def test_law_is_folded_and_complete(scene) -> None:
    net = scene.net
    entry = enacted(net, 1, RevokeIdentity(bytes(32)))
    law = verify_history(net.genesis, [entry])
    assert law.at(net.genesis.time_ns + 10).revoked == (bytes(32),)
    head = chain_head(bytes(32), entry)
    check_complete(law, GovernanceRecord(1, head))
    for proven in (GovernanceRecord(), GovernanceRecord(2, head), GovernanceRecord(1, bytes(32))):
        with pytest.raises(ProofInvalid):
            check_complete(law, proven)


def test_law_that_governance_did_not_sign_or_in_another_order_is_refused(scene) -> None:
    net = scene.net
    for entries in (
        [enacted(net, 1, RevokeIdentity(bytes(32)), named_key("eve"))],
        [enacted(net, 2, RevokeIdentity(bytes(32)))],
    ):
        with pytest.raises(LedgerRefused, match="governance"):
            verify_history(net.genesis, entries)


def recorded(entries) -> GovernanceRecord:
    record = GovernanceRecord()
    for entry in entries:
        record = GovernanceRecord(record.count + 1, chain_head(record.head, entry))
    return record


def test_what_governance_did_is_never_undone_for_who_saw_it(scene) -> None:
    """Validators who all collude prove whatever record they like, and serve the history that belongs to it."""
    net = scene.net
    revoked = enacted(net, 1, RevokeIdentity(bytes(32)))
    other = enacted(net, 1, RevokeIdentity(b"x" * 32))
    later = enacted(net, 2, RevokeIdentity(b"y" * 32))
    served: list[Enacted] = [revoked]

    async def run() -> None:
        liar = LocalRemote(net.node, on("governance", GovernanceHistory, lambda _: GovernanceHistory(tuple(served))))
        made = follower(scene, liar)
        await made.sync()
        assert bytes(32) in (await made.law_of(encode(recorded(served)))).at(made.view.time_ns).revoked
        for lie in ([], [other], [other, later]):
            served[:] = lie
            with pytest.raises(ProofInvalid, match="does not go on from the 1 actions known"):
                await made.law_of(encode(recorded(served)))
        # Nor in another life, which starts with what was sealed.
        again = Follower([liar], VerifiedView(net.genesis, made.view.trusted, made.view.governance), pause=no_pause)
        with pytest.raises(ProofInvalid, match="does not go on from the 1 actions known"):
            await again.law_of(encode(recorded(served)))
        served[:] = [revoked, later]
        assert (await again.law_of(encode(recorded(served)))).record.count == again.view.governance.count == 2

    asyncio.run(run())


def test_a_validator_set_that_was_cancelled_signs_nothing(scene) -> None:
    """Neither for who learns of it with its cancellation, nor for who had admitted it while it waited."""
    net = scene.net
    rules = replace(net.genesis.law.governance, delay_ns=10**12)
    genesis = replace(net.genesis, law=replace(net.genesis.law, governance=rules))
    coming = (ValidatorEntry(named_key("coming").public, 1),)

    def entry(sequence: int, action) -> Enacted:
        proposal = Proposal(network_id(genesis), sequence, action)
        return Enacted(SignedProposal(proposal, (sign_proposal(proposal, net.governor),)), genesis.time_ns + sequence)

    waits = entry(1, SetValidators(coming))
    cancelled = entry(2, CancelProposal(digest_of(waits.signed.proposal)))
    before, after = (verify_history(genesis, entries) for entries in ([waits], [waits, cancelled]))
    assert list(before.validator_sets()) == [genesis.law.validators, coming]
    assert list(after.validator_sets()) == [genesis.law.validators]
    view = VerifiedView(genesis)
    view.admit(before.validator_sets())
    assert validator_set(coming).hash() in view._sets
    view.admit(after.validator_sets())
    assert validator_set(coming).hash() not in view._sets


def test_every_signed_validator_set_is_named(scene) -> None:
    net = scene.net
    law = verify_history(net.genesis, [enacted(net, 1, SetValidators(net.genesis.law.validators))])
    assert list(law.validator_sets()) == [net.genesis.law.validators] * 2


class Forgetful(LocalRemote):
    """A node that keeps nothing below a height but headers."""

    def __init__(self, node, first: int) -> None:
        super().__init__(node)
        self.first = first
        self.asked: list[int] = []

    async def stream(self, request):
        self.asked.append(request.from_height)
        if request.from_height < self.first:
            raise NotKept(self.first)
        async with aclosing(super().stream(request)) as frames:
            async for frame in frames:
                yield frame


def test_what_one_node_forgot_another_one_has(scene) -> None:
    async def run() -> None:
        forgetful = Forgetful(scene.net.node, 5)
        made = follower(scene, forgetful, LocalRemote(scene.net.node))
        await made.sync(to=1)
        blocks = await take(made, 3)
        assert [block.height for block in blocks] == [2, 3, 4], "nothing is skipped that somebody has"
        assert forgetful.asked == [2]

    asyncio.run(run())


def test_what_every_node_forgot_is_skipped_like_what_is_far_behind(scene) -> None:
    async def run() -> None:
        nodes = [Forgetful(scene.net.node, scene.net.node.engine.latest()) for _ in range(2)]
        made = follower(scene, *nodes)
        await made.sync(to=2)
        task = asyncio.ensure_future(take(made, 1))
        async with asyncio.timeout(120):
            while not (nodes[0].asked and nodes[0].asked[-1] > scene.net.node.engine.latest()):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert [node.asked[0] for node in nodes] == [3, 3]
        height = scene.step()
        (block,) = await task
        assert (block.height, block.after) == (height, height - 1)

    asyncio.run(run())


@pytest.mark.parametrize("form", ["sparse", "whole"])
def test_who_may_not_skip_is_told_that_nobody_has_it(scene, form) -> None:
    async def run() -> None:
        nodes = [Forgetful(scene.net.node, 5) for _ in range(2)]
        view = VerifiedView(scene.net.genesis)
        interest = Interest(custody=True, sparse=form == "sparse")
        skip_above = follow.SKIP_ABOVE if form == "sparse" else 1 << 62
        made = Follower(nodes, view, interest, skip_above=skip_above, pause=no_pause)
        await made.sync(to=1)
        with pytest.raises(NotKept) as refusal:
            await take(made, 1)
        assert refusal.value.first == 5
        assert len(nodes[0].asked) + len(nodes[1].asked) == MAX_REFUSALS * 2

    asyncio.run(run())
