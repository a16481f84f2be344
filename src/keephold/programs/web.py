"""HTTP around endpoints that know nothing of it: bodies in, bodies out, one mapping of errors to answers.

Machines speak CBOR under `/v1/m/`; their refusals are `Fault` records. People get JSON; theirs are problem+json
(RFC 9457). Both carry the stable code of `base.errors`. An exception that is not ours is a bug: it is logged with its
traceback and answered with `internal`, nothing else. Whoever hangs up, or takes his time, is neither: a request's head
and body have to arrive within bounds, so that idle connections do not use up the node's descriptors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Final, cast, final

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from keephold.api.metrics import MEDIA_TYPE as METRICS
from keephold.api.metrics import Metrics
from keephold.api.people import PeopleApi, PeopleEndpoint
from keephold.api.toll import PEER
from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    DeadlineExceeded,
    EnclaveError,
    InputError,
    KeepholdError,
    LedgerRefused,
    NoLiveWorker,
    NotFound,
    NotKept,
    UnavailableError,
)
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.protocol.codec import encode
from keephold.protocol.wire import Fault

Endpoint = Callable[[bytes], Awaitable[bytes]]
StreamEndpoint = Callable[[bytes], AsyncGenerator[bytes, None]]

MEDIA_TYPE: Final = "application/cbor"
_MACHINES: Final = "/v1/m/"

HEAD_SECONDS: Final = 10.0
"""How long a connection may take to send a request's head."""

BODY_SECONDS: Final = 30.0
"""How long a request's body may take to arrive."""

_LOG: Final = logging.getLogger(__name__)

_STATUS: Final[tuple[tuple[type[KeepholdError], int], ...]] = (
    (LedgerRefused, 409),
    (AttestationRefused, 422),
    (CryptoError, 403),
    (ChainRefused, 422),
    (NoLiveWorker, 503),
    (DeadlineExceeded, 504),
    (UnavailableError, 503),
    (EnclaveError, 503),
    (NotFound, 404),
    (NotKept, 410),
    (InputError, 400),
)


def status_of(error: KeepholdError) -> int:
    """Return the HTTP status that stands for an error's class."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def fault_response(error: Exception) -> Response:
    """Return the machine answer to a refused request."""
    if not isinstance(error, KeepholdError):
        _LOG.error("bug in an endpoint", exc_info=error)
        return Response(encode(Fault("internal")), 500, media_type=MEDIA_TYPE)
    reason = getattr(error, "reason", "")
    detail = str(getattr(error, "detail", "") or error)[:256]
    # What is left of a body that came too late would be taken for the next request.
    headers = {"connection": "close"} if isinstance(error, DeadlineExceeded) else None
    return Response(encode(Fault(error.code, detail, reason)), status_of(error), headers, media_type=MEDIA_TYPE)


def problem_response(error: Exception) -> Response:
    """Return the answer to a person's refused request: problem+json."""
    if not isinstance(error, KeepholdError):
        _LOG.error("bug in an endpoint", exc_info=error)
        return _problem("internal", 500, "")
    return _problem(error.code, status_of(error), str(error))


def _problem(title: str, status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    body = msgspec.json.encode({"title": title, "status": status, "detail": detail})
    return Response(body, status, headers, media_type="application/problem+json")


def machine_routes(endpoints: Mapping[str, Endpoint], streams: Mapping[str, StreamEndpoint]) -> list[BaseRoute]:
    """Return one POST route under `/v1/m/` for each endpoint and stream."""
    routes: list[BaseRoute] = [
        Route(f"/v1/m/{name}", _answering(endpoint), methods=["POST"]) for name, endpoint in endpoints.items()
    ]
    routes += [Route(f"/v1/m/{name}", _streaming(stream), methods=["POST"]) for name, stream in streams.items()]
    return routes


def people_routes(people: PeopleApi) -> list[BaseRoute]:
    """Return the REST routes, the stream of blocks as server-sent events, and the OpenAPI document."""
    document = msgspec.json.encode(people.openapi())

    async def openapi(_: Request) -> Response:
        return Response(document, media_type="application/json")

    routes: list[BaseRoute] = [Route(endpoint.path, _viewing(endpoint)) for endpoint in people.endpoints]
    return [*routes, Route("/v1/events", _events(people)), Route("/openapi.json", openapi)]


def metrics_route(metrics: Metrics) -> BaseRoute:
    """Return the route of the node's metrics."""

    async def tell(_: Request) -> Response:
        return Response(await asyncio.to_thread(metrics.text), media_type=METRICS)

    return Route("/metrics", tell)


def application(routes: list[BaseRoute]) -> Starlette:
    """Return the ASGI application of these routes; what leads nowhere is refused in the words of its half."""
    return Starlette(routes=routes, exception_handlers={404: _astray, 405: _astray})


async def _astray(request: Request, error: Exception) -> Response:
    """Answer a path that does not exist, or a method that it does not take."""
    status = getattr(error, "status_code", 404)
    is_lost = status == 404
    code = NotFound.code if is_lost else InputError.code
    detail = f"there is no {request.url.path}" if is_lost else f"{request.url.path} does not take {request.method}"
    headers = getattr(error, "headers", None)
    if request.url.path.startswith(_MACHINES):
        return Response(encode(Fault(code, detail[:256])), status, headers, media_type=MEDIA_TYPE)
    return _problem(code, status, detail[:256], headers)


async def body_of(request: Request) -> bytes:
    """Return a request's body.

    Raises:
        InputError: larger than MAX_STREAM_FRAME, of which nothing beyond it is kept; or its sender hung up.
        DeadlineExceeded: it took longer than BODY_SECONDS.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_STREAM_FRAME:
                    raise InputError(f"a request body is limited to {MAX_STREAM_FRAME} bytes")
    except ClientDisconnect:
        raise InputError("the sender hung up") from None
    except TimeoutError:
        raise DeadlineExceeded(f"a request body has {BODY_SECONDS:g} s to arrive") from None
    return bytes(body)


def _answering(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        PEER.set(request.client.host if request.client is not None else "")
        try:
            return Response(await endpoint(await body_of(request)), media_type=MEDIA_TYPE)
        except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one declared answer
            return fault_response(error)

    return answer


def _streaming(stream: StreamEndpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            records = stream(await body_of(request))
            # The first record is awaited here, so that a refusal still has a status line to speak in.
            first = await anext(records)
        except StopAsyncIteration:
            return Response(b"", media_type=MEDIA_TYPE)
        except Exception as error:  # noqa: BLE001 - as above
            return fault_response(error)
        return StreamingResponse(_prefixed(first, records), media_type=MEDIA_TYPE)

    return answer


def _viewing(endpoint: PeopleEndpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            found = await asyncio.to_thread(endpoint.answer, {**request.query_params, **request.path_params})
            return Response(msgspec.json.encode(found), media_type="application/json")
        except Exception as error:  # noqa: BLE001 - the boundary: every failure becomes one declared answer
            return problem_response(error)

    return answer


def _events(people: PeopleApi) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) <= 18 else None
        return StreamingResponse(_server_sent(people, after), media_type="text/event-stream")

    return answer


async def _server_sent(people: PeopleApi, after: int | None) -> AsyncGenerator[bytes, None]:
    yield b": keephold blocks\n\n"
    async for height, block in people.events(after):
        yield b"id: %d\nevent: block\ndata: %s\n\n" % (height, block)


async def _prefixed(first: bytes, records: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        yield len(first).to_bytes(4, "big") + first
        async for record in records:
            yield len(record).to_bytes(4, "big") + record
    finally:
        await records.aclose()


@final
class PromptProtocol(H11Protocol):
    """HTTP/1.1 whose peers send a request's head within HEAD_SECONDS, or are cut off.

    uvicorn by itself bounds only the pause between two requests.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Give the first head its time."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Give an unfinished head its time; it does not start anew with each byte."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # None before the first request, whatever its type says
        if cycle is not None and not cycle.response_complete:
            self._forget()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
