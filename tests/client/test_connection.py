"""A call is executed once and answered by proof, whatever the node does on the way."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from keephold.base.errors import (
    CallUnreadable,
    ChainRefused,
    ContractFailed,
    DeadlineExceeded,
    HeaderInvalid,
    LedgerRefused,
    NodeUnreachable,
    ProofInvalid,
    Rejected,
    StaleAnswer,
)
from keephold.client import outbox, submissions
from keephold.client.nodes import Node
from keephold.protocol.messages import Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import RevokePermits, sign
from keephold.protocol.wire import Verdict


@pytest.fixture(autouse=True)
def _impatient(monkeypatch) -> None:
    monkeypatch.setattr(outbox, "DOUBT_SECONDS", 0.1)


def test_calls_are_answered(at_desk) -> None:
    async def story(desk) -> None:
        assert await desk.contract.call("say", 5, account=desk.alice) == 5
        assert await desk.contract.call("say", number=6, account=desk.bob) == 6
        assert desk.connection.submissions.acknowledged > 0

    at_desk(story)


def test_many_calls_at_once_travel_together_and_in_order(at_desk, monkeypatch) -> None:
    monkeypatch.setattr(outbox, "DOUBT_SECONDS", 60)  # none is offered again, which would count here

    async def story(desk) -> None:
        calls = [desk.contract.call("say", n, account=who) for n in range(40) for who in (desk.alice, desk.bob)]
        assert await asyncio.gather(*calls) == [n for n in range(40) for _ in range(2)]
        assert [n for who, n in desk.node.executed if who == desk.alice.key.public] == list(range(40))
        assert len(desk.node.submissions) < 10

    at_desk(story)


def test_a_lost_answer_is_asked_for_with_the_same_bytes_and_executed_once(at_desk) -> None:
    async def story(desk) -> None:
        lost = iter([True, True, False])

        def lose() -> None:
            if next(lost, False):
                raise NodeUnreachable("cut")

        desk.node.after_submit = lose
        assert await desk.contract.call("say", 5, account=desk.alice) == 5
        assert desk.node.executed == [(desk.alice.key.public, 5)]
        assert len({raw for batch in desk.node.submissions for raw in batch}) == 1

    at_desk(story)


def test_a_submission_that_never_arrives_is_offered_again(at_desk) -> None:
    async def story(desk) -> None:
        cuts = iter([True, True])

        def cut(_) -> None:
            if next(cuts, False):
                raise NodeUnreachable("cut")

        desk.node.before_submit = cut
        assert await desk.contract.call("say", 5, account=desk.alice) == 5
        assert len(desk.node.submissions) >= 3

    at_desk(story)


def test_a_node_that_accepts_and_forgets_is_asked_again(at_desk) -> None:
    async def story(desk) -> None:
        forgets = iter([True])
        desk.node.verdict = lambda _: Verdict() if next(forgets, False) else None
        assert await desk.contract.call("say", 5, account=desk.alice) == 5
        assert len({raw for batch in desk.node.submissions for raw in batch}) == 1

    at_desk(story)


def test_what_came_of_many_late_transactions_is_one_question(at_desk) -> None:
    async def story(desk) -> None:
        asked, answer = asyncio.Queue(), desk.node.transactions

        async def transactions(ids):
            asked.put_nowait(len(ids))
            return await answer(ids)

        desk.node.transactions = transactions
        submissions = desk.connection.submissions
        await submissions.admit(desk.alice.key.public)
        for _ in range(8):  # they have no receipt: nothing but a question tells what came of them
            submissions.send(desk.alice.key, lambda _: RevokePermits())
        assert await asked.get() == 8
        assert [len(batch) for batch in desk.node.submissions] == [8, 8]

    at_desk(story)


def test_a_receipt_that_comes_while_its_call_is_about_to_be_offered_again_ends_nothing_else(
    at_desk, monkeypatch, until
) -> None:
    """A busy machine makes many calls doubtful, and their receipts come at any moment."""
    begun, over = [], []

    async def story(desk) -> None:
        desk.node.is_executing = False

        async def pause(seconds: float) -> None:
            begun.append(seconds)
            if len(begun) == 2:  # it waits for company, to be offered for the second time
                desk.node.execute(desk.node.submissions[0])
                assert await sent.wait() == 1
            await asyncio.sleep(seconds)
            over.append(seconds)

        monkeypatch.setattr(submissions, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": pause}))
        sent = await desk.contract.submit("say", 1, account=desk.alice)
        assert await sent.wait() == 1
        await until(lambda: len(over) == 2)
        desk.node.is_executing = True
        assert await desk.contract.call("say", 2, account=desk.alice) == 2
        assert [number for _, number in desk.node.executed] == [1, 2]

    at_desk(story)


def test_passing_refusals_pass(at_desk) -> None:
    async def story(desk) -> None:
        full = iter([True, True, True])
        desk.node.verdict = lambda _: Verdict(Refusal.INBOX_FULL) if next(full, False) else None
        calls = [desk.contract.call("say", n, account=desk.alice) for n in range(3)]
        assert await asyncio.gather(*calls) == [0, 1, 2]
        assert [n for _, n in desk.node.executed] == [0, 1, 2]

    at_desk(story)


def test_a_refusal_is_raised_and_the_account_goes_on(at_desk) -> None:
    async def story(desk) -> None:
        refused = iter([True])
        desk.node.verdict = lambda _: Verdict(Refusal.TOO_LARGE, "no") if next(refused, False) else None
        with pytest.raises(LedgerRefused, match="too_large: no"):
            await desk.contract.call("say", 1, account=desk.alice)
        assert await desk.contract.call("say", 2, account=desk.alice) == 2

    at_desk(story)


def test_a_nonce_that_another_program_used_is_noticed_by_proof(at_desk) -> None:
    async def story(desk) -> None:
        assert await desk.contract.call("say", 1, account=desk.alice) == 1
        desk.node.order([sign(desk.node.network, desk.alice.key, 1, RevokePermits())])
        with pytest.raises(LedgerRefused, match="another program used this account"):
            await desk.contract.call("say", 2, account=desk.alice)
        assert await desk.contract.call("say", 3, account=desk.alice) == 3
        assert [n for _, n in desk.node.executed] == [1, 3]

    at_desk(story)


def test_a_node_that_says_bad_nonce_for_what_it_ordered_causes_no_second_execution(at_desk, until) -> None:
    async def story(desk) -> None:
        desk.node.is_executing = False
        sent = await desk.contract.submit("say", 1, account=desk.alice)
        await until(lambda: desk.node.submissions)
        ordered = desk.node.submissions[0]
        desk.node.known, known = {}, desk.node.known
        await asyncio.sleep(0.15)
        desk.node.known = known
        desk.node.execute(ordered)
        assert await sent.wait() == 1
        assert len({raw for batch in desk.node.submissions for raw in batch}) == 1

    at_desk(story)


def test_a_call_refused_when_it_was_ordered_is_refused_by_proof(at_desk) -> None:
    async def story(desk) -> None:
        from keephold.ledger.engines.base import TransactionOutcome
        from keephold.protocol.transactions import transaction_id

        def order(raws) -> None:
            for raw in raws:
                desk.node.known[transaction_id(raw)] = len(desk.node.blocks) + 1
            desk.node.make(raws, [TransactionOutcome(Refusal.INBOX_FULL) for _ in raws])
            desk.node.make([])

        desk.node.order = order
        with pytest.raises(LedgerRefused, match="inbox_full: in block"):
            await desk.contract.call("say", 1, account=desk.alice)

    at_desk(story)


def test_a_deadline_is_a_deadline_and_the_answer_can_still_be_had(at_desk) -> None:
    async def story(desk) -> None:
        desk.node.is_executing = False
        sent = await desk.contract.submit("say", 1, account=desk.alice)
        with pytest.raises(DeadlineExceeded, match="may still be executed"):
            await sent.wait(0.1)
        desk.node.execute(desk.node.submissions[0])
        assert await sent.wait() == 1
        assert await sent.wait() == 1

    at_desk(story)


@pytest.mark.parametrize(
    ("reply", "raised"),
    [
        (Reply("rejected", code="too_small", detail="1"), Rejected),
        (Reply("failed", detail="boom"), ContractFailed),
    ],
)
def test_rejections_and_failures_are_raised(at_desk, reply, raised) -> None:
    async def story(desk) -> None:
        desk.node.reply = lambda _: reply
        with pytest.raises(raised):
            await desk.contract.call("say", 1, account=desk.alice)

    at_desk(story)


def test_a_proven_receipt_that_does_not_open_means_unreadable(at_desk) -> None:
    async def story(desk) -> None:
        desk.node.is_readable = False
        with pytest.raises(CallUnreadable):
            await desk.contract.call("say", 1, account=desk.alice)

    at_desk(story)


def altered(receipt):
    return replace(receipt, receipt=receipt.receipt[:-1] + bytes([receipt.receipt[-1] ^ 1]))


def for_another_call(receipt):
    return replace(receipt, call=bytes(32))


@pytest.mark.parametrize("lie", [altered, for_another_call])
def test_a_node_that_lies_about_receipts_is_refused(at_desk, lie, monkeypatch) -> None:
    monkeypatch.setattr("keephold.follower.nodes.MAX_REFUSALS", 2)

    async def story(desk) -> None:
        desk.node.frame = lambda frame: replace(frame, receipts=tuple(map(lie, frame.receipts)))
        with pytest.raises(ChainRefused):
            await desk.contract.call("say", 1, account=desk.alice, deadline=20)
        with pytest.raises(ProofInvalid):
            await desk.contract.submit("say", 2, account=desk.alice)

    at_desk(story)


def test_duplicate_frames_of_the_past_are_refused_and_the_stream_resumes(at_desk) -> None:
    async def story(desk) -> None:
        once = iter([True])

        def repeat(frame):
            first = desk.node.blocks[0].signed
            return replace(frame, height=1, signed_header=first) if next(once, False) else frame

        desk.node.frame = repeat
        assert await desk.contract.call("say", 5, account=desk.alice) == 5

    at_desk(story)


def test_another_chain_is_refused(at_desk) -> None:
    from dataclasses import dataclass

    async def story(desk) -> None:
        other = replace(desk.node.record, name="another")

        @dataclass
        class Wrong:
            node: object

            async def blocks(self, heights):
                return await self.node.blocks_(heights)

            async def aclose(self) -> None:
                pass

        with pytest.raises(HeaderInvalid):
            await type(desk.connection).open([Node(Wrong(desk.node), Wrong(desk.node))], other)

    at_desk(story)


def test_questions_are_answered(at_desk) -> None:
    async def story(desk) -> None:
        assert await desk.contract.query("ask", account=desk.alice) == 7

    at_desk(story)


def test_a_worker_that_does_not_answer_in_time_is_not_the_last_one_asked(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        verified = await desk.contract.verified()

        async def again(*_: object, **__: object):
            return verified

        monkeypatch.setattr("keephold.client.contract.verify_contract", again)
        original = desk.node.query
        silent = iter([True])

        async def query(envelope):
            if next(silent, False):
                raise DeadlineExceeded("no answer within 10 s")
            return await original(envelope)

        monkeypatch.setattr(desk.node, "query", query)
        assert await desk.contract.query("ask", account=desk.alice) == 7

    at_desk(story)


def test_an_answer_older_than_what_was_seen_is_refused(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        await desk.contract.call("say", 1, account=desk.alice)
        verified = await desk.contract.verified()

        async def again(*_: object, **__: object):
            return verified

        monkeypatch.setattr("keephold.client.contract.verify_contract", again)
        desk.node.answer = lambda answer: replace(answer, height=1, header_hash=desk.node.blocks[1].hash)
        with pytest.raises(StaleAnswer):
            await desk.contract.query("ask", account=desk.alice, deadline=0.3)

    at_desk(story)


def test_an_answer_from_another_chain_is_refused(at_desk) -> None:
    async def story(desk) -> None:
        desk.node.answer = lambda answer: replace(answer, header_hash=bytes(32))
        with pytest.raises(HeaderInvalid, match="another chain"):
            await desk.contract.query("ask", account=desk.alice)

    at_desk(story)


def test_closing_ends_those_who_wait(at_desk) -> None:
    async def story(desk) -> None:
        desk.node.is_executing = False
        sent = await desk.contract.submit("say", 1, account=desk.alice)
        waiting = asyncio.ensure_future(sent.wait())
        await asyncio.sleep(0.05)
        await desk.connection.aclose()
        with pytest.raises(DeadlineExceeded, match="closed"):
            await waiting
        with pytest.raises(DeadlineExceeded):
            await desk.contract.submit("say", 2, account=desk.alice)

    at_desk(story)


def test_work_that_ends_unforeseen_is_told_to_those_who_wait(at_desk, monkeypatch) -> None:
    async def story(desk) -> None:
        async def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        await desk.contract.call("say", 1, account=desk.alice)
        monkeypatch.setattr(desk.connection.follower, "submit", broken)
        with pytest.raises(ZeroDivisionError):
            await desk.contract.call("say", 2, account=desk.alice)
        with pytest.raises(ZeroDivisionError):
            await desk.contract.call("say", 3, account=desk.alice)

    at_desk(story)
