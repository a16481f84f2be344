"""What a follower asks of a node or gateway: records in, records out. Nothing that comes back is believed here.

`Remote` and `Gateway` are the interfaces; `HttpRemote` speaks both over HTTP, `RecordRemote` is what it shares with
whoever reaches a node in another way. What a reader must check in an answer is
checked by whoever reads it (`view`, `trust`): this module only turns bytes into records, within bounds.

A refusal names an error by its code. Only the codes of `refusal` are taken at their word, and those of a gateway from a
gateway alone: a node that could make an enclave raise `superseded` or `ledger_refused` would have a switch to turn it
off. What the ledger refused, blocks prove.

Nothing is unpacked. Compression is not asked for, and an answer that is compressed all the same is refused unread: in
a few kilobytes, packed several times over, lie hours of work that yield no byte to count, and no deadline fires in it.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final, Protocol, Self, TypeVar, final

import httpx2

from keephold.base.errors import (
    DeadlineExceeded,
    EncodingError,
    InputError,
    KeepholdError,
    NodeUnreachable,
    NoLiveWorker,
    NotKept,
)
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerEnvelope,
    Attachment,
    AttachRequest,
    AttachTicket,
    BlocksRequest,
    Fault,
    FoundTransaction,
    FoundTransactions,
    Frame,
    GovernanceHistory,
    InboxPage,
    InboxRequest,
    LightBlock,
    LightBlocks,
    Priorities,
    PrioritiesRequest,
    ProveAnswer,
    ProveRequest,
    QueryDelivery,
    QueryEnvelope,
    SlotsPage,
    SlotsRequest,
    StreamRequest,
    Submission,
    TransactionsRequest,
    Verdict,
    Verdicts,
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
_HEIGHT_DIGITS: Final = 19
_PREFIX: Final = 4
"""Bytes of the big-endian length before each record of a stream."""

_OF_GATEWAYS: Final = (NoLiveWorker, DeadlineExceeded)
"""What a gateway says of a worker. A node that says so of itself does not answer."""

T = TypeVar("T", bound=Record)


class Remote(Protocol):
    """A node's machine endpoints. Every method raises NodeUnreachable when there is no proper answer."""

    async def genesis(self) -> Genesis:
        """Return the genesis that the node claims to follow."""
        ...

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """Offer signed transactions, in order; return one verdict for each.

        Raises:
            InputError: the node refuses the submission as such: too many, too large.
        """
        ...

    def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        """Yield blocks; ends only by NodeUnreachable, or when the reader closes it."""
        ...

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        """Return values with proofs under the header of `height` (0: the newest)."""
        ...

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        """Return the light blocks of these heights (0: the newest), in order."""
        ...

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        """Return the transactions that were found, in the order asked for."""
        ...

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        """Return entries of a contract's inbox from index `first` (from 1) on."""
        ...

    async def slots(self, contract: bytes, root: bytes, after: bytes) -> SlotsPage:
        """Return slots of a contract at a state root, after a tag (exclusive)."""
        ...

    async def governance(self) -> GovernanceHistory:
        """Return all governance actions in order."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class Gateway(Protocol):
    """A gateway's machine endpoints: sealed queries out to workers that dialled in, and answers back."""

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        """Deliver a sealed query and return its answer."""
        ...

    async def attach(self, identity: bytes) -> AttachTicket:
        """Return a fresh challenge for a worker that wants to attach."""
        ...

    def queries(self, attachment: Attachment) -> AsyncGenerator[QueryDelivery, None]:
        """Yield queries for an attached worker; ends only by NodeUnreachable, or when the reader closes it."""
        ...

    async def answers(self, batch: AnswerBatch) -> None:
        """Hand back answers."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class RecordRemote(ABC):
    """The questions of `Remote`, as records in bytes, over whatever takes them to a node and brings its answer."""

    async def genesis(self) -> Genesis:
        """See `Remote`."""
        return await self._ask("genesis", b"", Genesis)

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """See `Remote`."""
        try:
            answer = decoded(await self._post("submit", encode(Submission(tuple(transactions)))), Verdicts)
        except _OF_GATEWAYS as error:
            raise NodeUnreachable(f"{self}: {error}") from error
        if len(answer.verdicts) != len(transactions):
            raise NodeUnreachable("not one verdict for each transaction")
        return answer.verdicts

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        """See `Remote`."""
        return await self._ask("prove", encode(ProveRequest(height, tuple(paths))), ProveAnswer)

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        """See `Remote`."""
        answer = await self._ask("blocks", encode(BlocksRequest(tuple(heights))), LightBlocks)
        if len(answer.blocks) != len(heights):
            raise NodeUnreachable("not one block for each height")
        return answer.blocks

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        """See `Remote`."""
        answer = await self._ask("transactions", encode(TransactionsRequest(tuple(ids))), FoundTransactions)
        return answer.found

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        """See `Remote`."""
        return await self._ask("inbox", encode(InboxRequest(contract, first)), InboxPage)

    async def slots(self, contract: bytes, root: bytes, after: bytes) -> SlotsPage:
        """See `Remote`."""
        return await self._ask("slots", encode(SlotsRequest(contract, root, after)), SlotsPage)

    async def governance(self) -> GovernanceHistory:
        """See `Remote`."""
        return await self._ask("governance", b"", GovernanceHistory)

    async def _ask(self, name: str, body: bytes, kind: type[T]) -> T:
        try:
            return decoded(await self._post(name, body), kind)
        except (InputError, *_OF_GATEWAYS) as error:
            # Our questions are well-formed: what this node does not have yet, or no more, is a reason to ask another.
            raise NodeUnreachable(f"{self}: {error}") from error

    @abstractmethod
    async def _post(self, name: str, body: bytes) -> bytes:
        """Return what the endpoint `name` answers.

        Raises:
            InputError, NodeUnreachable
        """


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
        except _OF_GATEWAYS as error:
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


def refusal(body: bytes, status: int) -> KeepholdError:
    """Return the error that a refused request amounts to; see the module's note on which codes are believed."""
    try:
        fault = decode(body, Fault)
    except EncodingError:
        return NodeUnreachable(f"refused with status {status}")
    match fault.code:
        case EncodingError.code | InputError.code:
            return InputError(fault.detail)
        case NotKept.code if fault.reason.isascii() and fault.reason.isdigit() and len(fault.reason) <= _HEIGHT_DIGITS:
            return NotKept(int(fault.reason))
        case NoLiveWorker.code:
            return NoLiveWorker(fault.detail)
        case DeadlineExceeded.code:
            return DeadlineExceeded(fault.detail)
        case _:
            return NodeUnreachable(f"{fault.code}: {fault.detail}")


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


def decoded(raw: bytes, kind: type[T]) -> T:
    """Return the record that an answer is. Raises NodeUnreachable: it is none."""
    try:
        return decode(raw, kind)
    except EncodingError as error:
        raise NodeUnreachable(f"not an answer: {error}") from error


def _unreachable(base_url: str, error: Exception) -> NodeUnreachable:
    return NodeUnreachable(f"{base_url}: {type(error).__name__}: {error}")
