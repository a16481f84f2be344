"""A trust domain under dstack: quotes, with the log behind RTMR3, from its agent on a Unix socket.

The agent is inside the trust domain, measured with it. We speak its JSON over HTTP ourselves: the vendor's SDK obeys
an environment variable that names another agent, and whoever sets that one chooses our quotes and our keys.

Sealing is another class. dstack's keys come from its key management service, bound to the application: using them
moves trust to whoever runs that service. `DstackPlatform` therefore only quotes; a program that accepts the service
says so by its type, `DstackKmsPlatform`.
"""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from keephold.attestation.platforms.base import check_report_data
from keephold.base.errors import ConfigurationError, QuoteUnavailable
from keephold.base.limits import MAX_QUOTE, MAX_RUNTIME_EVENTS
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_PLATFORM
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import Evidence, RuntimeEvent

AGENT: Final = Path("/var/run/dstack.sock")
_SIMULATOR: Final = "DSTACK_SIMULATOR_ENDPOINT"
_MAX_ANSWER: Final = 1 << 20
_KEY: Final = 32
_KEY_PATH: Final = "keephold/sealing/1"
_TIMEOUT_S: Final = 30.0
_RUNTIME_REGISTER: Final = 3


_Answer = TypeVar("_Answer")


class _QuoteAnswer(msgspec.Struct, frozen=True):
    quote: str
    event_log: str


class _KeyAnswer(msgspec.Struct, frozen=True):
    key: str


class _LoggedEvent(msgspec.Struct, frozen=True):
    imr: int
    event: str = ""
    event_payload: str = ""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("dstack", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(os.fspath(self._path))


class DstackPlatform:
    """The dstack application that this process belongs to; quotes only."""

    @property
    def name(self) -> str:
        """A word for logs and status pages."""
        return "dstack"

    def __init__(self, *, vendor: str, environment: Mapping[str, str], agent: Path = AGENT) -> None:
        """Take the policy's name of the vendor, the process's environment, and the agent's socket.

        Raises:
            ConfigurationError: the environment asks for dstack's simulator.
        """
        if _SIMULATOR in environment:
            raise ConfigurationError(f"{_SIMULATOR} is set: not with keys that matter")
        self._vendor: Final = vendor
        self._agent: Final = agent

    def quote(self, report_data: bytes) -> Evidence:
        """Return evidence that binds `report_data`, 64 bytes.

        Raises:
            ConfigurationError: no agent at the socket.
            QuoteUnavailable: the agent gave none, or nonsense.
        """
        check_report_data(report_data)
        answer = self._ask("/GetQuote", {"report_data": report_data.hex()}, _QuoteAnswer)
        try:
            quote = bytes.fromhex(answer.quote)
            log = msgspec.json.decode(answer.event_log, type=tuple[_LoggedEvent, ...])
            events = tuple(
                RuntimeEvent(name=entry.event, payload=bytes.fromhex(entry.event_payload))
                for entry in log
                if entry.imr == _RUNTIME_REGISTER
            )
        except (ValueError, msgspec.MsgspecError) as error:
            raise QuoteUnavailable(f"{self._agent}: {error}") from error
        if not 0 < len(quote) <= MAX_QUOTE or len(events) > MAX_RUNTIME_EVENTS:
            raise QuoteUnavailable(f"{self._agent}: {len(quote)} bytes of quote, {len(events)} events")
        return Evidence(vendor=self._vendor, quote=quote, events=events)

    def _ask(self, path: str, question: Mapping[str, str], kind: type[_Answer]) -> _Answer:
        connection = _Connection(self._agent)
        try:
            connection.request("POST", path, msgspec.json.encode(question), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read(_MAX_ANSWER + 1)
            if response.status != http.client.OK or len(body) > _MAX_ANSWER:
                raise QuoteUnavailable(f"{self._agent}: status {response.status}, {len(body)} bytes")
            return msgspec.json.decode(body, type=kind)
        except (FileNotFoundError, ConnectionRefusedError, PermissionError) as error:
            raise ConfigurationError(f"{self._agent}: {error.strerror}") from error
        except (OSError, ValueError, http.client.HTTPException, msgspec.MsgspecError) as error:
            raise QuoteUnavailable(f"{self._agent}: {error}") from error
        finally:
            connection.close()


class DstackKmsPlatform(DstackPlatform):
    """The same, with sealing keys from dstack's key management service: whoever runs it can open what is sealed."""

    def sealing_key(self, context: bytes) -> SecretBytes:
        """Return the 32-byte key of this application for `context`.

        Raises:
            ConfigurationError: no agent at the socket.
            QuoteUnavailable: the agent gave none, or nonsense.
        """
        answer = self._ask("/GetKey", {"path": _KEY_PATH, "purpose": "sealing"}, _KeyAnswer)
        try:
            key = SecretBytes(bytes.fromhex(answer.key))
        except ValueError as error:
            raise QuoteUnavailable(f"{self._agent}: the key is not hexadecimal") from error
        if len(key) != _KEY:
            raise QuoteUnavailable(f"{self._agent}: a key of {len(key)} bytes, not {_KEY}")
        return derive(key, KEY_PLATFORM, b"dstack", context)
