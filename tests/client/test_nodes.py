"""A client with several nodes: each may die, stand still, keep back or lie, and calls do not notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.errors import ChainRefused, DeadlineExceeded, NodeUnreachable, NoLiveWorker, ProofInvalid
from keephold.client import nodes as client_nodes
from keephold.client import outbox, watch
from keephold.client.nodes import Gateways
from keephold.client.watch import Pace
from keephold.protocol.wire import AnswerEnvelope, Frame, QueryEnvelope, StreamRequest


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(outbox, "DOUBT_SECONDS", 0.1)
    monkeypatch.setattr(watch, "TICK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "RECEIPT_SECONDS", 0.1)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr("keephold.client.connection.TURN_SECONDS", 0.3)
    monkeypatch.setattr(client_nodes, "QUERY_SECONDS", 0.3)


def once(choice) -> None:
    """Every call was executed once, and every one of them travelled as the same bytes all the time."""
    assert len(choice.paper.executed) == len(set(choice.paper.executed))
    assert len({raw for batch in choice.paper.submissions for raw in batch}) == len(choice.paper.executed)


def test_the_second_node_takes_over_when_the_first_dies(at_nodes, until) -> None:
    async def story(choice) -> None:
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        choice.nodes[0].die()
        assert await choice.contract.call("say", 2, account=choice.alice) == 2
        assert await choice.contract.query("ask", account=choice.alice) == 7
        await until(lambda: choice.connection.follower.streaming is choice.nodes[1])
        once(choice)

    at_nodes(story)


def test_a_call_under_way_outlives_its_node(at_nodes, until) -> None:
    async def story(choice) -> None:
        choice.paper.is_executing = False
        sent = await choice.contract.submit("say", 1, account=choice.alice)
        await until(lambda: choice.paper.known)
        choice.nodes[0].die()
        await asyncio.sleep(0.2)
        choice.paper.execute(choice.paper.submissions[0])
        assert await sent.wait() == 1
        once(choice)

    at_nodes(story)


def test_a_node_that_dies_between_submission_and_answer(at_nodes, until) -> None:
    async def story(choice) -> None:
        choice.paper.after_submit = choice.nodes[0].die
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        await until(lambda: choice.connection.follower.streaming is choice.nodes[1])
        once(choice)

    at_nodes(story)


def test_a_node_that_does_not_answer_any_more_is_left_for_the_next(at_nodes) -> None:
    async def story(choice) -> None:
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        choice.nodes[0].is_stalled = True
        assert await choice.contract.call("say", 2, account=choice.alice) == 2
        assert await choice.contract.query("ask", account=choice.alice) == 7
        once(choice)

    at_nodes(story)


def test_a_node_that_stands_still_and_accepts_everything_is_passed_by(at_nodes) -> None:
    async def story(choice) -> None:
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        choice.nodes[0].frozen = len(choice.paper.blocks)
        assert await choice.contract.call("say", 2, account=choice.alice) == 2
        assert await choice.contract.call("say", 3, account=choice.alice) == 3
        once(choice)

    at_nodes(story)


def test_a_receipt_that_a_node_keeps_back_comes_from_another(at_nodes, until) -> None:
    async def story(choice) -> None:
        choice.nodes[0].keeps_receipts_back = True
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        assert choice.connection.submissions.acknowledged > 0
        await until(lambda: choice.connection.follower.streaming is choice.nodes[1])
        assert "keeps back the receipt" in choice.connection.follower.nodes.reasons
        once(choice)

    at_nodes(story)


def test_a_receipt_that_nobody_has_yet_is_nobodys_fault(at_nodes, until) -> None:
    async def story(choice) -> None:
        choice.paper.is_executing = False
        sent = await choice.contract.submit("say", 1, account=choice.alice)
        await until(lambda: choice.paper.known)
        choice.paper.make([])
        await until(lambda: choice.nodes[1].asked.count("stream") >= 3)  # it was looked for there
        assert choice.connection.follower.streaming is choice.nodes[0]
        assert choice.connection.follower.nodes.reasons == ""
        choice.paper.execute(choice.paper.submissions[0])
        assert await sent.wait() == 1

    at_nodes(story)


def test_a_proof_that_does_not_hold_is_asked_of_the_next_node(at_nodes) -> None:
    async def story(choice) -> None:
        choice.nodes[0].lie = lambda answer: replace(answer, values=())
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        assert choice.connection.follower.remote is choice.nodes[1]
        once(choice)

    at_nodes(story)


def test_the_verified_head_never_moves_back(at_nodes) -> None:
    async def story(choice) -> None:
        height = len(choice.paper.blocks)
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        seen = choice.connection.follower.view.height
        choice.nodes[1].frozen = height
        choice.nodes[0].die()
        with pytest.raises(DeadlineExceeded):
            await choice.contract.call("say", 2, account=choice.alice, deadline=1.0)
        assert choice.connection.follower.view.height >= seen > height
        choice.nodes[0].live()
        assert await choice.contract.call("say", 3, account=choice.alice) == 3
        assert [number for _, number in choice.paper.executed] == [1, 2, 3]

    at_nodes(story)


def test_only_when_every_node_fails_a_call_does_and_each_is_named(at_nodes, monkeypatch) -> None:
    monkeypatch.setattr("keephold.client.connection.TURN_SECONDS", 0.1)
    monkeypatch.setattr(client_nodes, "QUERY_SECONDS", 0.1)

    async def story(choice) -> None:
        assert await choice.contract.call("say", 1, account=choice.alice) == 1
        choice.nodes[0].die()
        choice.nodes[1].is_stalled = True
        # Several rounds of all nodes fit into these deadlines, where the machine is busy at least one.
        with pytest.raises(DeadlineExceeded, match="node 0: it is down; node 1: no answer within"):
            await choice.contract.call("say", 2, account=choice.alice, deadline=4)
        with pytest.raises(NodeUnreachable, match="node 0: it is down; node 1: no answer within"):
            await choice.contract.query("ask", account=choice.alice, deadline=4)
        choice.nodes[1].is_stalled = False
        assert await choice.contract.call("say", 3, account=choice.alice) == 3

    at_nodes(story)


def test_a_client_opens_at_the_first_node_that_answers(at_nodes) -> None:
    async def story(choice) -> None:
        assert choice.connection.follower.streaming is choice.nodes[1]
        assert await choice.contract.call("say", 1, account=choice.alice) == 1

    at_nodes(story, 3, lambda nodes: nodes[0].die())


def test_where_no_node_answers_at_first_each_is_named(at_nodes) -> None:
    def dead(nodes) -> None:
        for node in nodes:
            node.die()

    async def story(_) -> None:
        raise AssertionError("opened")

    with pytest.raises(NodeUnreachable, match=r"^node 0: it is down; node 1: it is down$"):
        at_nodes(story, 2, dead)


async def silent(_: StreamRequest) -> AsyncGenerator[Frame, None]:
    await asyncio.Event().wait()
    for frame in ():
        yield frame


def test_a_value_that_the_stream_keeps_back_is_proven_anew(at_nodes) -> None:
    async def story(choice) -> None:
        path = bytes(range(32))
        values = choice.connection.values(path)
        assert await anext(values) is None
        choice.nodes[0].stream = silent  # its next stream says nothing: the value does not come that way
        choice.paper.frame = lambda frame: replace(frame, values=())
        choice.paper.leaves[path] = b"new"
        choice.paper.make([])
        choice.paper.make([])
        assert await anext(values) == b"new"
        await values.aclose()

    at_nodes(story)


def test_what_is_waited_for_at_a_node_that_stands_still_comes_from_the_next(at_nodes, monkeypatch) -> None:
    monkeypatch.setattr(watch, "Pace", lambda _: Pace(0.3))

    async def story(choice) -> None:
        choice.nodes[0].frozen = len(choice.paper.blocks)
        path = bytes(range(32))
        values = choice.connection.values(path)
        assert await anext(values) is None
        choice.paper.leaves[path] = b"new"
        choice.paper.make([])
        choice.paper.make([])
        assert await anext(values) == b"new"
        assert "no new header" in choice.connection.follower.nodes.reasons
        await values.aclose()

    at_nodes(story)


def test_an_older_value_does_not_take_the_place_of_a_newer_one(at_nodes) -> None:
    async def story(choice) -> None:
        path = bytes(range(32))
        values = choice.connection.values(path)
        assert await anext(values) is None
        height = choice.connection.follower.view.height
        choice.connection._watched.tell(path, b"newer", height + 9)
        choice.connection._watched.tell(path, b"older", height + 8)
        assert await anext(values) == b"newer"
        choice.connection._watched.tell(path, b"newest", height + 10)
        assert await anext(values) == b"newest"
        await values.aclose()

    at_nodes(story)


# --- parts ---


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 3)), max_size=20))
def test_a_chain_stands_still_exactly_when_its_newest_height_is_older_than_allowed(steps) -> None:
    pace, now, best, since = Pace(5.0), 0.0, -1, 0.0
    for height, passed in steps:
        now += passed
        if height > best:
            best, since = height, now
        assert pace.stands_still(height, now) == (now - since > 5.0)
    pace.forget()
    assert not pace.stands_still(0, now + 100)


class Answering:
    def __init__(self, name: str, said: AnswerEnvelope | Exception) -> None:
        self.name, self.said = name, said

    def __str__(self) -> str:
        return self.name

    async def query(self, _: QueryEnvelope) -> AnswerEnvelope:
        if isinstance(self.said, Exception):
            raise self.said
        return self.said


SEALED, NOBODY = AnswerEnvelope(b"sealed"), AnswerEnvelope(b"", "not attached")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ([NodeUnreachable("down"), SEALED], SEALED),
        ([NOBODY, SEALED], SEALED),
        ([NoLiveWorker("none"), DeadlineExceeded("late"), SEALED], SEALED),
        ([NodeUnreachable("down"), NOBODY], (NoLiveWorker, "g0: down; g1: not attached")),
        ([NodeUnreachable("down"), NodeUnreachable("g1: cut")], (NodeUnreachable, "g0: down; g1: cut")),
        ([NodeUnreachable("down"), DeadlineExceeded("late")], (DeadlineExceeded, "g0: down; g1: late")),
        ([NOBODY], NOBODY),
    ],
    ids=["dead", "not attached", "three", "nobody has it", "all dead", "late", "an only one"],
)
def test_gateways_are_asked_in_turn(said, expected) -> None:
    gateways = Gateways([Answering(f"g{place}", item) for place, item in enumerate(said)])
    asking = gateways.query(QueryEnvelope(bytes(32), bytes(32), b"q"))
    if isinstance(expected, AnswerEnvelope):
        assert asyncio.run(asking) == expected
    else:
        with pytest.raises(expected[0]) as caught:
            asyncio.run(asking)
        assert str(caught.value) == expected[1]


def test_errors_of_one_node_are_its_own_and_of_several_name_each() -> None:
    from keephold.follower.nodes import Nodes

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def __str__(self) -> str:
            return self.name

    async def lies(nodes: Nodes) -> None:
        async def answered() -> None:
            raise ProofInvalid(f"of {nodes.current}")

        await nodes.checked(answered)

    with pytest.raises(ProofInvalid, match=r"^of a$"):
        asyncio.run(lies(Nodes([Named("a")])))
    with pytest.raises(ChainRefused, match=r"^a: of a; b: of b$"):
        asyncio.run(lies(Nodes([Named("a"), Named("b")])))


def test_two_who_find_the_same_node_wanting_leave_it_once() -> None:
    from keephold.follower.nodes import Nodes

    first, second = object(), object()
    nodes = Nodes([first, second])
    nodes.leave(first, "dead")
    nodes.leave(first, "dead")
    assert nodes.current is second
