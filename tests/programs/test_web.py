"""The HTTP around endpoints, spoken to over a socket as strangers do: late, half, or not at all."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn

from keephold.base.errors import DeadlineExceeded
from keephold.programs import web
from keephold.protocol.codec import decode
from keephold.protocol.wire import Fault


async def echo(body: bytes) -> bytes:
    return body


def serve(talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]) -> bytes:
    """Return what came of one connection to a server with one endpoint, `echo`."""

    async def main() -> bytes:
        app = web.application(web.machine_routes({"echo": echo}, {}))
        config = uvicorn.Config(app, http=web.PromptProtocol, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            try:
                return await talk(reader, writer)
            finally:
                writer.close()
                server.should_exit = True
                await serving

    return asyncio.run(main())


def request(body: bytes, claimed: int | None = None) -> bytes:
    size = len(body) if claimed is None else claimed
    return b"POST /v1/m/echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (size, body)


def test_a_request_is_answered() -> None:
    async def talk(reader, writer) -> bytes:
        writer.write(request(b"hello"))
        await reader.readuntil(b"\r\n\r\n")
        return await reader.readexactly(5)

    assert serve(talk) == b"hello"


@pytest.mark.parametrize("sent", [b"", b"POST /v1/m/ec", b"POST /v1/m/echo HTTP/1.1\r\nHost: x\r\n"])
def test_who_does_not_finish_a_head_is_cut_off(monkeypatch, sent: bytes) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 0.05)

    async def talk(reader, writer) -> bytes:
        writer.write(sent)
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert serve(talk) == b""


def test_a_connection_in_use_outlives_the_bound_on_heads(monkeypatch) -> None:
    monkeypatch.setattr(web, "HEAD_SECONDS", 2)  # time for the first head to come, however busy the machine

    async def talk(reader, writer) -> bytes:
        answers = b""
        for pause in (2.5, 0):
            writer.write(request(b"hello"))
            await reader.readuntil(b"\r\n\r\n")
            answers += await reader.readexactly(5)
            await asyncio.sleep(pause)
        return answers

    assert serve(talk) == b"hellohello"


def test_a_body_that_does_not_arrive_is_a_declared_fault(monkeypatch) -> None:
    monkeypatch.setattr(web, "BODY_SECONDS", 0.05)

    async def talk(reader, writer) -> bytes:
        writer.write(request(b"hel", claimed=100))
        return await reader.read()

    head, _, body = serve(talk).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 504")
    assert decode(body, Fault).code == DeadlineExceeded.code


def test_who_hangs_up_in_a_body_is_no_bug_of_ours(caplog) -> None:
    async def talk(reader, writer) -> bytes:
        writer.write(request(b"hel", claimed=100))
        await writer.drain()
        return b""

    with caplog.at_level(logging.WARNING):
        assert serve(talk) == b""
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("line", "status", "kind", "code"),
    [
        (b"GET /nowhere", b"404", b"application/problem+json", "not_found"),
        (b"POST /v1/status", b"404", b"application/problem+json", "not_found"),
        (b"GET /v1/m/nowhere", b"404", b"application/cbor", "not_found"),
        (b"GET /v1/m/echo", b"405", b"application/cbor", "input"),
    ],
)
def test_what_leads_nowhere_is_refused_in_the_words_of_its_half(line, status, kind, code) -> None:
    async def talk(reader, writer) -> bytes:
        writer.write(line + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return await reader.read()

    head, _, body = serve(talk).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert b"content-type: " + kind in head
    said = decode(body, Fault).code if kind.endswith(b"cbor") else json.loads(body)["title"]
    assert said == code
    assert status != b"405" or b"allow: POST" in head
