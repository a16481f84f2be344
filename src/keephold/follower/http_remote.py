"""`Remote` and `Gateway` over HTTP, within bounds of time and size.

Nothing is unpacked. Compression is not asked for, and an answer that is compressed all the same is refused unread: in
a few kilobytes, packed several times over, lie hours of work that yield no byte to count, and no deadline fires in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, Self, TypeVar, final

import httpx2

from keephold.base.errors import InputError, NodeUnreachable, NotKept
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.follower.remote import OF_GATEWAYS, RecordRemote, decoded, refusal
from keephold.protocol.codec import Record, encode
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerEnvelope,
    Attachment,
    AttachRequest,
    AttachTicket,
    Frame,
    Priorities,
    PrioritiesRequest,
    QueryDelivery,
    QueryEnvelope,
    StreamRequest,
)

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 20.0
"""Without a byte of an answer."""
WHOLE_ANSWER_SECONDS: Final = 30.0
"""From question to the last byte: whoever sends a byte now and then is not waited for as long as he likes."""
SILENCE_SECONDS: Final = 30.0
"""A stream that says nothing for so long is dead: engines send heartbeats."""
_LIMITS: Final = httpx2.Limits(max_connections=64, max_keepalive_connections=32, keepalive_expiry=60.0)

MEDIA_TYPE: Final = "application/cbor"
_PLAIN: Final = "identity"
_PREFIX: Final = 4
"""Bytes of the big-endian length before each record of a stream."""

T = TypeVar("T", bound=Record)


@final
class _Careful(httpx2.AsyncBaseTransport):
    """A transport whose connections may die at any moment.

    One that dies just as it is made is already gone when the layers below look at it, and they fail on that
    (`AttributeError`, `RuntimeError`); here it becomes the error of a connection that could not be made.
    """

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner: Final = inner

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return await self._inner.handle_async_request(request)
        except (AttributeError, RuntimeError) as error:
            raise httpx2.ConnectError(f"the connection died: {error}", request=request) from error

    async def aclose(self) -> None:
        await self._inner.aclose()


@final
class HttpRemote(RecordRemote):
    """`Remote` and `Gateway` over one HTTP base URL, with connections kept alive.

    It obeys no proxy, certificate or credential settings of its environment: the host writes that environment.
    """

    def __init__(self, base_url: str, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """Connect lazily to `base_url`; `transport` replaces the network, in tests."""
        self.base_url: Final = base_url.rstrip("/")
        self._http: Final = httpx2.AsyncClient(
            base_url=self.base_url,
            transport=_Careful(transport or httpx2.AsyncHTTPTransport(trust_env=False, limits=_LIMITS)),
            trust_env=False,
            follow_redirects=False,
            headers={"content-type": MEDIA_TYPE, "accept": MEDIA_TYPE, "accept-encoding": _PLAIN},
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
        )

    def __str__(self) -> str:
        return self.base_url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; streams under way end with NodeUnreachable."""
        await self._http.aclose()

    async def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        """See `Remote`."""
        try:
            async with aclosing(self._records("stream", encode(request), Frame)) as frames:
                async for frame in frames:
                    yield frame
        except OF_GATEWAYS as error:
            raise NodeUnreachable(f"{self}: {error}") from error

    async def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a height's validators: unproven, for a node that joins."""
        return (await self._ask("priorities", encode(PrioritiesRequest(height)), Priorities)).priorities

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        """See `Gateway`."""
        return await self._relayed("query", encode(envelope), AnswerEnvelope)

    async def attach(self, identity: bytes) -> AttachTicket:
        """See `Gateway`."""
        return await self._relayed("attach", encode(AttachRequest(identity)), AttachTicket)

    async def queries(self, attachment: Attachment) -> AsyncGenerator[QueryDelivery, None]:
        """See `Gateway`."""
        async with aclosing(self._records("queries", encode(attachment), QueryDelivery)) as deliveries:
            async for delivery in deliveries:
                yield delivery

    async def answers(self, batch: AnswerBatch) -> None:
        """See `Gateway`."""
        await self._post("answers", encode(batch))

    async def _relayed(self, name: str, body: bytes, kind: type[T]) -> T:
        try:
            return decoded(await self._post(name, body), kind)
        except InputError as error:
            raise NodeUnreachable(f"{self}: {error}") from error

    async def _post(self, name: str, body: bytes) -> bytes:
        try:
            async with (
                asyncio.timeout(WHOLE_ANSWER_SECONDS),
                self._http.stream("POST", _path(name), content=body) as response,
            ):
                content = await _bounded(response)
        except (httpx2.HTTPError, httpx2.StreamError, OSError, RuntimeError) as error:
            raise _unreachable(self.base_url, error) from error
        if response.status_code >= 300:
            raise refusal(content, response.status_code)
        return content

    async def _records(self, name: str, body: bytes, kind: type[T]) -> AsyncGenerator[T, None]:
        timeout = httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        question = self._http.build_request("POST", _path(name), content=body, timeout=timeout)
        try:
            async with asyncio.timeout(WHOLE_ANSWER_SECONDS):
                response = await self._http.send(question, stream=True)
            async with aclosing(response):
                if response.status_code >= 300:
                    async with asyncio.timeout(WHOLE_ANSWER_SECONDS):
                        raise refusal(await _bounded(response), response.status_code)
                async with aclosing(_plain(response)) as chunks, aclosing(split(chunks)) as records:
                    async for raw in records:
                        yield decoded(raw, kind)
        except NotKept:
            raise
        except (httpx2.HTTPError, httpx2.StreamError, OSError, InputError) as error:
            raise _unreachable(self.base_url, error) from error
        raise NodeUnreachable(f"{self.base_url}: the stream ended")


async def split(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the length-prefixed records of a byte stream; empty ones are signs of life and left out.

    Raises:
        NodeUnreachable: a record larger than MAX_STREAM_FRAME.
    """
    buffer = bytearray()
    async for chunk in chunks:
        buffer += chunk
        at = 0
        while len(buffer) - at >= _PREFIX:
            size = int.from_bytes(buffer[at : at + _PREFIX], "big")
            if size > MAX_STREAM_FRAME:
                raise NodeUnreachable(f"a record of {size} bytes in the stream")
            if len(buffer) - at - _PREFIX < size:
                break
            at += _PREFIX + size
            if size:
                yield bytes(buffer[at - size : at])
        del buffer[:at]


def _path(name: str) -> str:
    return f"/v1/m/{name}"


async def _plain(response: httpx2.Response) -> AsyncGenerator[bytes, None]:
    """Yield the bytes of an answer as they came; see the module's note."""
    if response.headers.get("content-encoding", _PLAIN) != _PLAIN:
        raise NodeUnreachable("an answer in an encoding that was not asked for")
    async for chunk in response.aiter_bytes():
        yield chunk


async def _bounded(response: httpx2.Response) -> bytes:
    content = bytearray()
    async with aclosing(_plain(response)) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > MAX_STREAM_FRAME:
                raise NodeUnreachable(f"an answer of more than {MAX_STREAM_FRAME} bytes")
    return bytes(content)


def _unreachable(base_url: str, error: Exception) -> NodeUnreachable:
    return NodeUnreachable(f"{base_url}: {type(error).__name__}: {error}")
