"""Messages between an execution process and its parent: length-prefixed msgpack over one socket pair.

The child runs other people's code; were the machine ever broken, it would say anything. So the parent decodes into
closed types, bounds every frame, and checks every outcome against the limits again before it believes it.
"""

from __future__ import annotations

import socket
from typing import Final

import msgspec
from msgspec import Struct

from keephold.base.limits import (
    MAX_EFFECTS,
    MAX_EVENTS,
    MAX_MESSAGES,
    MAX_RESULT,
    MAX_SLOT_KEY,
    MAX_SLOT_VALUE,
    MAX_WRITES,
)
from keephold.runtime.effects import MAX_RELEASES
from keephold.runtime.outcome import CallRequest, KeyName, Outcome, QueryRequest

MAX_FRAME: Final = 64 << 20
"""Bytes of one frame: hundreds of the largest calls; far more than the largest outcome."""

_LENGTH: Final = 4
_CHUNK: Final = 1 << 16


class Load(Struct, frozen=True, tag="load"):
    """Parent: the contract's source, first and once."""

    source: str


class Execute(Struct, frozen=True, tag="execute"):
    """Parent: a batch begins with these transactions, in order; each sees what those before it wrote."""

    calls: tuple[CallRequest, ...]
    known: dict[str, bytes | None]
    """Slots that every call reads, to save the child from asking."""


class More(Struct, frozen=True, tag="more"):
    """Parent: further transactions of the same batch; each sees what all before it wrote."""

    calls: tuple[CallRequest, ...]


class Ask(Struct, frozen=True, tag="ask"):
    """Parent: a question."""

    query: QueryRequest
    known: dict[str, bytes | None]
    """As in Execute."""


class Value(Struct, frozen=True, tag="value"):
    """Parent: the answer to `Need`."""

    value: bytes | None


class Loaded(Struct, frozen=True, tag="loaded"):
    """Child: the source makes a contract."""

    name: str
    abi_json: str


class Refused(Struct, frozen=True, tag="refused"):
    """Child: the source makes no contract."""

    message: str
    line: int
    column: int


class Need(Struct, frozen=True, tag="need"):
    """Child: a slot is read for the first time in this batch."""

    key: str


class Done(Struct, frozen=True, tag="done"):
    """Child: one outcome, in the order of the requests."""

    outcome: Outcome


class NeedKey(Struct, frozen=True, tag="need-key"):
    """Child: a public key is asked for, for the first time in this process."""

    name: KeyName


class PublicKey(Struct, frozen=True, tag="public-key"):
    """Parent: the answer to `NeedKey`."""

    public: bytes


ToChild = Load | Execute | More | Ask | Value | PublicKey
ToParent = Loaded | Refused | Need | NeedKey | Done

encode: Final = msgspec.msgpack.Encoder().encode
decode_to_child: Final = msgspec.msgpack.Decoder(ToChild).decode
_parent_decoder: Final[msgspec.msgpack.Decoder[ToParent]] = msgspec.msgpack.Decoder(ToParent)


class Closed(Exception):
    """The other end is gone, or sent what is no message: a frame out of bounds, or other bytes."""


def decode_to_parent(frame: bytes) -> ToParent:
    """Return what a child says.

    Raises:
        Closed: no message of a child. Text that is not UTF-8 is refused by Python, not by msgspec, so it is named.
    """
    try:
        return _parent_decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Closed(f"no message of a child: {error}") from error


class Channel:
    """Frames over a stream socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket: Final = sock
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        """Send one frame.

        Raises:
            Closed: the other end is gone.
            TimeoutError: the socket's timeout passed.
        """
        try:
            self._socket.sendall(len(data).to_bytes(_LENGTH, "big") + data)
        except TimeoutError:
            raise
        except OSError as e:
            raise Closed("the peer is gone") from e

    def receive(self) -> bytes:
        """Return the next frame.

        Raises:
            Closed: the other end is gone, or the frame is larger than MAX_FRAME.
            TimeoutError: the socket's timeout passed without a byte.
        """
        self._fill(_LENGTH)
        size = int.from_bytes(self._buffer[:_LENGTH], "big")
        if size > MAX_FRAME:
            raise Closed("a frame out of bounds")
        self._fill(_LENGTH + size)
        data = bytes(self._buffer[_LENGTH : _LENGTH + size])
        del self._buffer[: _LENGTH + size]
        return data

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            try:
                chunk = self._socket.recv(max(_CHUNK, size - len(self._buffer)))
            except TimeoutError:
                raise
            except OSError as e:
                raise Closed("the peer is gone") from e
            if not chunk:
                raise Closed("the peer is gone")
            self._buffer += chunk


def is_within_limits(outcome: Outcome) -> bool:
    """Tell whether an outcome respects the limits that the child was to enforce."""
    if outcome.status != "ok" and (outcome.writes or outcome.events or outcome.messages or outcome.releases):
        return False
    topics = [requested.topic for requested in outcome.releases]
    if len(topics) > MAX_RELEASES or topics != sorted(set(topics)) or len(outcome.messages) > MAX_MESSAGES:
        return False
    if len(outcome.writes) > MAX_WRITES or len(outcome.events) > MAX_EVENTS or len(outcome.value_json) > MAX_RESULT:
        return False
    size = sum(len(key) + len(value or b"") for key, value in outcome.writes.items())
    size += sum(len(requested.message) for requested in outcome.releases)
    size += sum(len(event.body_json) for event in outcome.events)
    if size + sum(len(message.args_json) for message in outcome.messages) > MAX_EFFECTS:
        return False
    return all(
        0 < len(key.encode()) <= MAX_SLOT_KEY and (value is None or len(value) <= MAX_SLOT_VALUE)
        for key, value in outcome.writes.items()
    )
