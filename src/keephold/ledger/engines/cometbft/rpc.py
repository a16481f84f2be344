"""The little of CometBFT's JSON-RPC that the engine needs, over a unix socket, in batches.

* Transactions are offered by `broadcast_tx_async`. A batch is worked off in order, so what one sender offers arrives in
  order; the verdicts come from our own `CheckTx`, which is asked about each of them. (`broadcast_tx_sync` would wait up
  to 20 ms for each one, and offered in parallel they would overtake one another.)
* Headers and commits are fetched a batch at a time. `commit` of the newest height is what this node saw, and may differ
  from what the next block records; each is proof of its own.
"""

from __future__ import annotations

import base64
import http.client
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import msgspec

from keephold.base.errors import EncodingError, UnavailableError
from keephold.chain.header import SignedHeader
from keephold.chain.validators import ValidatorSet
from keephold.ledger.engines.cometbft.records import (
    read_priorities,
    read_signed_header,
    read_transactions,
    read_validators,
)

MAX_BODY: Final = 16 << 20
"""Bytes of a request, for `rpc.max_body_bytes`: a block's worth of transactions in base64, and room."""

MAX_BATCH: Final = 1000
"""Requests in one batch, for `rpc.max_request_batch_size`."""

_OFFER_BYTES: Final = 8 << 20
_PAGE: Final = 100
_SECONDS: Final = 30.0
_IDLE: Final = 8
"""Connections kept for the next request."""


@dataclass(frozen=True, slots=True)
class RpcError:
    """CometBFT's refusal of one request of a batch."""

    text: str

    @property
    def is_known(self) -> bool:
        """Whether it refuses a transaction because it has it: no offence."""
        return "tx already exists in cache" in self.text

    @property
    def is_full(self) -> bool:
        """Whether the mempool takes nothing more for the moment."""
        return "mempool is full" in self.text or "considered as full" in self.text


class _Error(msgspec.Struct):
    code: int
    message: str
    data: str = ""


class _Reply(msgspec.Struct):
    id: int | str
    result: Any = None
    error: _Error | None = None


_REPLIES: Final = msgspec.json.Decoder(list[_Reply] | _Reply)


@final
class RpcClient:
    """Calls of one CometBFT. Every method may be called from any thread, and raises UnavailableError."""

    def __init__(self, path: Path) -> None:
        """Call over the unix socket at `path`; CometBFT need not listen there yet."""
        self._path: Final = path
        self._lock: Final = threading.Lock()
        self._idle: Final[list[_UnixConnection]] = []

    def offer(self, raws: Sequence[bytes]) -> list[RpcError | None]:
        """Offer transactions to the mempool, in order; return for each what kept it from being checked."""
        outcomes: list[RpcError | None] = []
        while len(outcomes) < len(raws):
            part: list[tuple[str, dict[str, str]]] = []
            size = 0
            for raw in raws[len(outcomes) : len(outcomes) + MAX_BATCH]:
                size += len(raw)
                if part and size > _OFFER_BYTES:
                    break
                part.append(("broadcast_tx_async", {"tx": base64.b64encode(raw).decode()}))
            outcomes += [reply if isinstance(reply, RpcError) else None for reply in self._call(part)]
        return outcomes

    def signed_headers(self, heights: Sequence[int]) -> list[SignedHeader]:
        """Return headers with commits, up to the first height that CometBFT does not have.

        Raises:
            EncodingError: what it answered is not well-formed.
        """
        found = []
        for reply in self._call([("commit", {"height": str(height)}) for height in heights]):
            if isinstance(reply, RpcError) or reply is None:
                break
            found.append(read_signed_header(reply))
        return found

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return a block's transactions.

        Raises:
            EncodingError: what it answered is not well-formed.
        """
        return read_transactions(self._one("block", {"height": str(height)}))

    def validators(self, height: int) -> ValidatorSet:
        """Return the validators of a height, at most one above the newest block.

        Raises:
            EncodingError: what it answered is not well-formed.
        """
        return ValidatorSet.of(item for page in self._validator_pages(height) for item in read_validators(page)[0])

    def priorities(self, height: int) -> dict[bytes, int]:
        """Return the proposer priority of each validator of a height, by public key.

        Raises:
            EncodingError: what it answered is not well-formed.
        """
        return dict(item for page in self._validator_pages(height) for item in read_priorities(page))

    def _validator_pages(self, height: int) -> Iterator[Any]:
        found, total = 0, 1
        while found < total:
            page = {"height": str(height), "page": str(found // _PAGE + 1), "per_page": str(_PAGE)}
            result = self._one("validators", page)
            some, total = read_validators(result)
            if not some:
                raise EncodingError("cometbft: an empty page of validators")
            found += len(some)
            yield result

    def load(self) -> tuple[int, int]:
        """Return how many transactions wait, and how many peers there are.

        Raises:
            EncodingError: what it answered is not well-formed.
        """
        try:
            waiting = int(self._one("num_unconfirmed_txs", {})["total"])
            return waiting, int(self._one("net_info", {})["n_peers"])
        except (KeyError, TypeError, ValueError) as error:
            raise EncodingError(f"cometbft: {error}") from error

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _one(self, method: str, parameters: dict[str, str]) -> Any:
        (reply,) = self._call([(method, parameters)])
        if isinstance(reply, RpcError):
            raise UnavailableError(f"cometbft: {method}: {reply.text}")
        return reply

    def _call(self, calls: Sequence[tuple[str, dict[str, str]]]) -> list[Any]:
        """Return the results, in order, an RpcError for each that was refused."""
        if not calls:
            return []
        body = msgspec.json.encode(
            [
                {"jsonrpc": "2.0", "id": at, "method": method, "params": parameters}
                for at, (method, parameters) in enumerate(calls)
            ]
        )
        try:
            replies = _REPLIES.decode(self._exchange(body))
        except msgspec.MsgspecError as error:
            raise UnavailableError(f"cometbft: no JSON-RPC: {error}") from error
        replies = replies if isinstance(replies, list) else [replies]
        if [reply.id for reply in replies] != list(range(len(calls))):
            what = next((reply.error for reply in replies if reply.error is not None), None)
            raise UnavailableError(f"cometbft: replies to other requests{f': {what.data}' if what else ''}")
        return [reply.result if reply.error is None else _refusal(reply.error) for reply in replies]

    def _exchange(self, body: bytes) -> bytes:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        connection = kept or _UnixConnection(self._path)
        try:
            try:
                answered = _post(connection, body)
            except (OSError, http.client.HTTPException):
                if kept is None:
                    raise
                # An idle connection may have been closed meanwhile. Offering or reading twice does no harm.
                connection.close()
                answered = _post(connection, body)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise UnavailableError(f"cometbft does not answer: {error}") from error
        with self._lock:
            if len(self._idle) < _IDLE:
                self._idle.append(connection)
                return answered
        connection.close()
        return answered


def _refusal(error: _Error) -> RpcError:
    return RpcError(error.data or error.message)


def _post(connection: _UnixConnection, body: bytes) -> bytes:
    connection.request("POST", "/", body, {"Content-Type": "application/json"})
    return connection.getresponse().read()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("cometbft", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(_SECONDS)
            self.sock.connect(str(self._path))
        except BaseException:
            self.close()
            raise
