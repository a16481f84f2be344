"""The played CometBFT's JSON-RPC: the four methods that the engine calls, in CometBFT's spelling."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Final, final

from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.cometbft.spelling import signed_header, validators
from keephold.testing.comet.disk import Disk

_WEBSOCKET: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""


@final
class FakeRpc:
    """Answers on a unix socket between `start` and `stop`."""

    def __init__(self, path: Path, disk: Disk, offer: Callable[[bytes], str | None]) -> None:
        """Answer from `disk`; `offer` takes a transaction, or says why not."""
        self._path: Final = path
        self._disk: Final = disk
        self._offer: Final = offer
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), self.answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._server = None
        self._path.unlink(missing_ok=True)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the response to one request of a batch."""
        method, parameters = request["method"], request["params"]
        result, error = getattr(self, f"_{method}")(**parameters)
        if error is not None:
            told = {"code": -32603, "message": "Internal error", "data": error}
            return {"jsonrpc": "2.0", "id": request["id"], "error": told}
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

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


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, answer: Any) -> None:
        super().__init__(path, _Handler)
        self.answer = answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[mutable-override] # socketserver hands it exactly this

    def do_GET(self) -> None:
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

    def do_POST(self) -> None:
        """Answer a batch in order; a batch of one gets an answer that is no batch."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        requests = asked if isinstance(asked, list) else [asked]
        replies = [self.server.answer(request) for request in requests]
        body = json.dumps(replies[0] if len(replies) == 1 else replies).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""
