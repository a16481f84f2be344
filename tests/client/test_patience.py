"""A node that restarts is silent for a while; whoever gave a deadline does not notice."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from keephold.base.errors import NodeUnreachable
from keephold.client import patience
from keephold.client.patience import asked, within
from keephold.follower.nodes import Nodes


def silent(monkeypatch, node, method: str, times: int) -> list[None]:
    """Let a method of the node find nobody for some calls; return one item for each."""
    original, silences = getattr(node, method), []

    async def answer(*arguments):
        if len(silences) < times:
            silences.append(None)
            raise NodeUnreachable("it restarts")
        return await original(*arguments)

    monkeypatch.setattr(node, method, answer)
    return silences


@pytest.mark.parametrize("method", ["prove", "query"])
def test_a_call_and_a_query_outlast_a_silence_within_their_deadline(at_desk, monkeypatch, method):
    async def story(desk) -> None:
        silences = silent(monkeypatch, desk.node, method, 3)
        assert await desk.contract.call("say", 5, account=desk.alice) == 5
        assert await desk.contract.query("ask", account=desk.alice) == 7
        assert len(silences) == 3

    at_desk(story)


@pytest.mark.parametrize(("method", "asks"), [("prove", "call"), ("query", "query")])
def test_a_silence_beyond_the_deadline_is_told_as_such(at_desk, monkeypatch, method, asks):
    async def story(desk) -> None:
        monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.01)
        silences = silent(monkeypatch, desk.node, method, 1 << 30)
        contract = desk.contract
        ask = contract.call("say", 5, account=desk.alice, deadline=2) if asks == "call" else contract.query(
            "ask", account=desk.alice, deadline=2
        )  # fmt: skip
        with pytest.raises(NodeUnreachable):
            await ask
        assert len(silences) > 1

    at_desk(story)


def test_without_a_deadline_nothing_is_asked_twice(at_desk, monkeypatch):
    async def story(desk) -> None:
        silences = silent(monkeypatch, desk.node, "prove", 1 << 30)
        with pytest.raises(NodeUnreachable):
            await desk.connection.submissions.admit(desk.alice.key.public)
        assert len(silences) == 1

    at_desk(story)


def test_patience_ends_with_its_call_and_is_of_one_task_alone(monkeypatch):
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.01)
    tries: list[None] = []

    async def nobody() -> None:
        tries.append(None)
        raise NodeUnreachable("nobody")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        beside = asyncio.create_task(asked(nobody))
        async with within(loop.time() + 60):
            with pytest.raises(NodeUnreachable):
                await beside
            assert len(tries) == 1
            with pytest.raises(NodeUnreachable):
                async with within(loop.time() + 2):
                    await asked(nobody)
            assert len(tries) > 2
        tries.clear()
        with pytest.raises(NodeUnreachable):
            await asked(nobody)
        assert len(tries) == 1

    asyncio.run(main())


def test_a_pause_that_outlasts_the_deadline_ends_in_what_the_question_came_to(monkeypatch):
    """As on a machine too busy to wake it in time."""
    oversleeping = asyncio.Event()

    async def pause(_: float) -> None:
        await oversleeping.wait()

    async def nobody() -> None:
        raise NodeUnreachable("nobody")

    async def main() -> None:
        of_this_module = SimpleNamespace(**{**vars(asyncio), "sleep": pause})
        monkeypatch.setattr(patience, "asyncio", of_this_module)
        ends = asyncio.get_running_loop().time() + 0.5
        with pytest.raises(NodeUnreachable, match="nobody"):
            async with within(ends):
                await asked(nobody)
        # What ends for another reason after an answer came is not put down to the node.
        with pytest.raises(TimeoutError):
            async with within(0):
                await asyncio.Event().wait()

    asyncio.run(main())


def test_all_nodes_are_asked_again_within_a_deadline_and_once_without():
    class Restarting:
        """Refuses each method once."""

        def __init__(self) -> None:
            self.refused: set[str] = set()

        def __getattr__(self, name: str):
            async def answer(*_: object) -> str:
                if name not in self.refused:
                    self.refused.add(name)
                    raise NodeUnreachable(name)
                return name

            return answer

    async def main() -> None:
        nodes = Nodes([Restarting(), Restarting()], asked)
        async with within(asyncio.get_running_loop().time() + 30):
            assert await nodes.ask(lambda remote: remote.prove(0, [])) == "prove"
        with pytest.raises(NodeUnreachable):
            await nodes.ask(lambda remote: remote.blocks([]))

    asyncio.run(main())
