"""The played CometBFT's JSON-RPC: the four methods that the engine calls, in CometBFT's spelling."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, final

from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.cometbft.jsonserver import JsonHandler, JsonServer
from keephold.ledger.engines.cometbft.rpc import MAX_BODY
from keephold.ledger.engines.cometbft.spelling import signed_header, validators
from keephold.testing.comet.disk import Disk

_WEBSOCKET: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


@final
class FakeRpc:
    """Answers on a unix socket between `start` and `stop`."""

    def __init__(self, path: Path, disk: Disk, offer: Callable[[bytes], str | None]) -> None:
        """Answer from `disk`; `offer` takes a transaction, or says why not."""
        self._disk: Final = disk
        self._offer: Final = offer
        self._server: Final = JsonServer(path, self._replies, MAX_BODY, _Handler)

    def start(self) -> None:
        """Listen."""
        self._server.start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.stop()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the response to one request of a batch."""
        method, parameters = request["method"], request["params"]
        result, error = getattr(self, f"_{method}")(**parameters)
        if error is not None:
            told = {"code": -32603, "message": "Internal error", "data": error}
            return {"jsonrpc": "2.0", "id": request["id"], "error": told}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def _replies(self, asked: Any) -> object:
        """Answer a batch in order; a batch of one gets an answer that is no batch."""
        replies = [self.answer(request) for request in (asked if isinstance(asked, list) else [asked])]
        return replies[0] if len(replies) == 1 else replies

    def _broadcast_tx_async(self, tx: str) -> tuple[Any, str | None]:
        return {"code": 0, "data": "", "log": "", "codespace": "", "hash": ""}, self._offer(base64.b64decode(tx))

    def _commit(self, height: str) -> tuple[Any, str | None]:
        block, error = self._stored(int(height))
        return (None, error) if block is None else ({"signed_header": signed_header(block.signed)}, None)

    def _block(self, height: str) -> tuple[Any, str | None]:
        block, error = self._stored(int(height))
        if block is None:
            return None, error
        raws = self._disk.transactions[int(height) - 1]
        return {"block": {"data": {"txs": [base64.b64encode(raw).decode() for raw in raws]}}}, None

    def _validators(self, height: str, page: str, per_page: str) -> tuple[Any, str | None]:
        block, error = self._stored(int(height))
        before, _ = self._stored(int(height) - 1)
        if block is not None:
            everyone = block.validators
        elif before is not None:
            everyone = before.next_validators
        else:
            return None, error
        return validators(int(height), everyone, [0] * len(everyone.validators), int(page), int(per_page)), None

    def _stored(self, height: int) -> tuple[StoredBlock | None, str | None]:
        blocks = self._disk.blocks
        if not 0 < height <= len(blocks):
            return None, f"height {height} must be less than or equal to the current blockchain height {len(blocks)}"
        return blocks[height - 1], None


@final
class _Handler(JsonHandler):
    def do_GET(self) -> None:  # noqa: N802 - the name by which http.server looks for it
        """Shake hands for a websocket, on which nothing is ever said: CometBFT's light client does not do without."""
        key = self.headers["Sec-WebSocket-Key"] + _WEBSOCKET
        digest = hashlib.sha1(key.encode()).digest()  # noqa: S324 - so says RFC 6455; nothing rests on it
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.wfile.flush()
        while self.rfile.read(1):
            pass
        self.close_connection = True
