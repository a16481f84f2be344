"""JSON over HTTP on a unix socket: the server under both spellings of CometBFT's RPC that are answered by ourselves.

One is shown to CometBFT (`lightrpc`), one is shown to us by the CometBFT that tests play (`testing.comet.rpc`). Only
the user who runs the process may dial. Every connection has a thread, and callers keep idle connections open for their
next question. So `stop` must not wait for those threads: one of them ends only when its caller hangs up, which may be
after `stop`, or never. They are daemons, which `server_close` does not join.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Final, final

from keephold.ledger.engines.cometbft.server import check_path

_POLL: Final = 0.02
"""Seconds after which `stop` is noticed, at the latest."""


class JsonHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection, in order."""

    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[mutable-override] # socketserver hands it exactly this

    def do_POST(self) -> None:
        """Answer one request; 400 for what is too large, empty or no JSON."""
        size = int(self.headers.get("Content-Length") or 0)
        if not 0 < size <= self.server.max_body:
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


@final
class JsonServer:
    """Answers on a unix socket between `start` and `stop`."""

    def __init__(
        self, path: Path, answer: Callable[[Any], object], max_body: int, handler: type[JsonHandler] = JsonHandler
    ) -> None:
        """Answer what is read from `path` with `answer`, called from any thread.

        Args:
            path: Of the socket.
            answer: Takes a request's JSON, returns the reply's.
            max_body: Bytes of a request.
            handler: Of one connection.

        Raises:
            ConfigurationError: the path is too long.
        """
        check_path(path)
        self._path: Final = path
        self._answer: Final = answer
        self._max_body: Final = max_body
        self._handler: Final = handler
        self._running: tuple[_Server, threading.Thread] | None = None

    def start(self) -> None:
        """Listen."""
        self._path.unlink(missing_ok=True)
        server = _Server(str(self._path), self._handler, self._answer, self._max_body)
        self._path.chmod(0o600)
        thread = threading.Thread(target=server.serve_forever, args=(_POLL,), name="keephold-rpc", daemon=True)
        self._running = server, thread
        thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._running is not None:
            server, thread = self._running
            server.shutdown()
            thread.join()
            server.server_close()
            self._running = None
        self._path.unlink(missing_ok=True)


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: str, handler: type[JsonHandler], answer: Callable[[Any], object], max_body: int) -> None:
        super().__init__(path, handler)
        self.answer = answer
        self.max_body = max_body
