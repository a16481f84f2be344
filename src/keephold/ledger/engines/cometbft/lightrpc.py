"""The little of CometBFT's JSON-RPC that its state sync asks of other nodes, answered by ourselves, on a unix socket.

CometBFT's state sync has a light client of its own, which wants the RPC of two nodes. Nobody's need be open for it:
what it would ask there, we ask the named nodes' API, verify it from the genesis on, and tell it in CometBFT's spelling.
So CometBFT checks again what was checked, and a node that joins needs nothing of others but what any client needs.

One thing cannot be verified: whose turn it is to propose (`proposer_priority`), which no header commits to. All nodes
that are named have to agree on it. A lie would have this node wait for the wrong proposer; it breaks no rule.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Final, Protocol, final

from keephold.base.errors import KeepholdError, UnavailableError
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.home import genesis
from keephold.ledger.engines.cometbft.server import check_path
from keephold.ledger.engines.cometbft.spelling import signed_header, validators
from keephold.ledger.engines.statesync import Origin

_INTERNAL: Final = -32603
_MAX_BODY: Final = 1 << 20


class LightSource(Origin, Protocol):
    """Verified blocks, and what goes with them."""

    def newest(self) -> StoredBlock:
        """Return the newest block; raises as `block`."""
        ...

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a block's validators, in their order; raises as `block`."""
        ...


@final
class LightRpc:
    """Answers on a unix socket between `start` and `stop`."""

    def __init__(self, path: Path, founding: Founding, source: LightSource) -> None:
        """Answer about one network.

        Raises:
            ConfigurationError: the path is too long.
        """
        check_path(path)
        self._path: Final = path
        self._parameters: Final = genesis(founding)["consensus_params"]
        self._source: Final = source
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), self.answer)
        self._path.chmod(0o600)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="keephold-light", daemon=True
        )
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
        """Return the response to one request."""
        response = {"jsonrpc": "2.0", "id": request.get("id")}
        try:
            return {**response, "result": self._result(str(request.get("method")), request.get("params") or {})}
        except UnavailableError as error:
            # As CometBFT says it of a block that is not there yet: its light client asks again.
            said = f"height {request.get('params')} must be less than or equal to the current one: {error}"
        except (KeepholdError, ValueError, TypeError) as error:
            said = str(error)
        return {**response, "error": {"code": _INTERNAL, "message": "Internal error", "data": said}}

    def _result(self, method: str, parameters: dict[str, Any]) -> object:
        height = int(parameters.get("height") or 0)
        block = self._source.block(height) if height else self._source.newest()
        height = block.signed.header.height
        match method:
            case "commit":
                return {"signed_header": signed_header(block.signed), "canonical": True}
            case "validators":
                page, size = int(parameters.get("page") or 1), int(parameters.get("per_page") or 30)
                return validators(height, block.validators, self._source.priorities(height), page, size)
            case "consensus_params":
                return {"block_height": str(height), "consensus_params": self._parameters}
            case _:
                raise ValueError(f"{method} is not answered here")


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, answer: Any) -> None:
        super().__init__(path, _Handler)
        self.answer = answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[mutable-override] # socketserver hands it exactly this

    def do_POST(self) -> None:
        """Answer one request."""
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 < size <= _MAX_BODY:
            self.send_error(400)
            return
        try:
            request = json.loads(self.rfile.read(size))
        except ValueError:
            self.send_error(400)
            return
        body = json.dumps(self.server.answer(request)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay silent."""
