"""HTTP under the records: bounds, refusals that are believed, and streams cut anywhere."""

from __future__ import annotations

import asyncio
import gzip

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import DeadlineExceeded, InputError, NodeUnreachable, NoLiveWorker, NotKept
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.follower import http_remote as remote_module
from keephold.follower.http_remote import HttpRemote, split
from keephold.follower.remote import refusal
from keephold.protocol.codec import encode
from keephold.protocol.wire import Fault, Frame, Interest, StreamRequest, Verdict, Verdicts


def ask(answer, work):
    async def run():
        async with HttpRemote("http://node/", transport=httpx2.MockTransport(answer)) as remote:
            return await work(remote)

    return asyncio.run(run())


def test_a_submission_goes_to_its_endpoint_and_brings_verdicts() -> None:
    def answer(request: httpx2.Request) -> httpx2.Response:
        assert (request.method, request.url.path) == ("POST", "/v1/m/submit")
        assert request.headers["content-type"] == "application/cbor"
        return httpx2.Response(200, content=encode(Verdicts((Verdict(4, "no"),))))

    assert ask(answer, lambda remote: remote.submit([b"x"])) == (Verdict(4, "no"),)
    with pytest.raises(NodeUnreachable, match="verdict"):
        ask(answer, lambda remote: remote.submit([b"x", b"y"]))


@pytest.mark.parametrize("content", [b"", b"\xff", b"\xa1ax\x00", b"x" * (MAX_STREAM_FRAME + 1)])
def test_what_is_not_an_answer_is_no_answer(content: bytes) -> None:
    with pytest.raises(NodeUnreachable):
        ask(lambda _: httpx2.Response(200, content=content), lambda remote: remote.prove(0, []))


def test_a_node_that_is_down_is_unreachable() -> None:
    def answer(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused")

    with pytest.raises(NodeUnreachable):
        ask(answer, lambda remote: remote.genesis())


@pytest.mark.parametrize("gone", [AttributeError, RuntimeError])
@pytest.mark.parametrize(
    "work",
    [
        lambda remote: remote.submit([b"x"]),
        lambda remote: anext(remote.stream(StreamRequest(1, Interest()))),
    ],
    ids=["question", "stream"],
)
def test_a_connection_that_dies_as_it_is_made_is_a_node_that_is_down(gone, work) -> None:
    """As a node that is killed at that moment leaves it: the layers below look at a socket that is none any more."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        raise gone("'NoneType' object has no attribute 'getpeername'")

    with pytest.raises(NodeUnreachable, match="the connection died"):
        ask(answer, work)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("ledger_refused", "why", "bad_nonce"), NodeUnreachable),
        (Fault("no_live_worker"), NoLiveWorker),
        (Fault("deadline_exceeded"), DeadlineExceeded),
        (Fault("input"), InputError),
        (Fault("not_kept", "history", "7"), NotKept),
        (Fault("not_kept", "history", "many"), NodeUnreachable),
        (Fault("not_kept", "history", "9" * 5000), NodeUnreachable),
        (Fault("superseded"), NodeUnreachable),
        (Fault("rollback_detected"), NodeUnreachable),
        (Fault("anything"), NodeUnreachable),
    ],
)
def test_only_some_codes_are_believed(fault: Fault, kind: type) -> None:
    assert type(refusal(encode(fault), 400)) is kind


QUESTIONS = {
    "question": lambda remote: remote.prove(0, []),
    "submission": lambda remote: remote.submit([b"x"]),
    "stream": lambda remote: anext(remote.stream(StreamRequest(1, Interest()))),
}


@pytest.mark.parametrize("work", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("code", ["no_live_worker", "deadline_exceeded", "ledger_refused", "superseded"])
def test_what_a_gateway_says_of_a_worker_a_node_cannot_say_of_itself(work, code: str) -> None:
    """Else it would end whoever asks: a follower goes to its next node at `NodeUnreachable` alone."""
    with pytest.raises(NodeUnreachable):
        ask(lambda _: httpx2.Response(503, content=encode(Fault(code))), work)


@pytest.mark.parametrize("work", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("status", [200, 503])
def test_what_is_packed_is_refused_unread(work, status: int) -> None:
    """Packed several times over, a few kilobytes are hours of work in which no deadline fires."""
    unread = True

    async def packed():
        nonlocal unread
        unread = False
        yield gzip.compress(encode(Verdicts((Verdict(),))))

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(status, headers={"content-encoding": "gzip"}, content=packed())

    with pytest.raises(NodeUnreachable, match="not asked for"):
        ask(answer, work)
    assert unread


@pytest.mark.parametrize("work", [QUESTIONS["question"], QUESTIONS["submission"]], ids=["question", "submission"])
def test_an_answer_that_drips_is_not_waited_for(work, monkeypatch) -> None:
    monkeypatch.setattr(remote_module, "WHOLE_ANSWER_SECONDS", 0.05)

    async def drops():
        while True:
            yield b"\x00"
            await asyncio.sleep(0.001)

    with pytest.raises(NodeUnreachable, match="TimeoutError"):
        ask(lambda _: httpx2.Response(200, content=drops()), work)


def test_a_refusal_that_is_no_record_is_one_all_the_same() -> None:
    assert type(refusal(b"<html>", 502)) is NodeUnreachable


def framed(*records: bytes) -> bytes:
    return b"".join(len(record).to_bytes(4, "big") + record for record in records)


@given(st.lists(st.binary(max_size=50), max_size=8), st.lists(st.integers(1, 60)))
def test_records_are_found_wherever_the_stream_is_cut(records: list[bytes], cuts: list[int]) -> None:
    whole = framed(*records)

    async def chunks():
        rest = whole
        for cut in cuts:
            yield rest[:cut]
            rest = rest[cut:]
        yield rest

    async def collect():
        return [record async for record in split(chunks())]

    assert asyncio.run(collect()) == [record for record in records if record]


def test_a_record_that_is_too_long_is_refused_before_it_is_read() -> None:
    async def chunks():
        yield (MAX_STREAM_FRAME + 1).to_bytes(4, "big")

    async def collect():
        return [record async for record in split(chunks())]

    with pytest.raises(NodeUnreachable):
        asyncio.run(collect())


def test_a_stream_skips_signs_of_life_and_ends_in_an_error() -> None:
    frame = Frame(1, b"header")
    content = framed(b"", encode(frame), b"")
    seen = []

    async def read(remote) -> None:
        async for item in remote.stream(StreamRequest(1, Interest())):
            seen.append(item)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(NodeUnreachable, match="ended"):
        ask(lambda _: httpx2.Response(200, content=content), read)
    assert seen == [frame]
