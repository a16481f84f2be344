"""What one execution may do to the world, collected and bounded.

`Effects` does not trust the guest: the guest's own Python enforces the same rules with better messages, but contract
code shares an interpreter with it.
"""

from __future__ import annotations

import json
from typing import Final, Literal, Protocol, cast

import msgspec

from keephold.base.errors import SandboxError
from keephold.base.limits import MAX_EFFECTS, MAX_EVENTS, MAX_SLOT_KEY, MAX_SLOT_VALUE, MAX_WRITES
from keephold.contract.address import Address
from keephold.contract.keys import DIGEST
from keephold.contract.sending import MAX_METHOD
from keephold.runtime.outcome import Emitted, KeyName, Posted, Requested

GET, PUT, DELETE, EMIT, LOG, KEY, RELEASE, SEND = range(1, 9)
"""Operations of the imported function."""

_CALL_COST: Final = 60_000
"""Fuel of any host call: about 8 µs at 7 G fuel a second."""
_READ_COST: Final = 200_000
"""Fuel of a read on top: it may cross to the parent."""
_KEY_COST: Final = 2_000_000
"""Fuel of a public key on top: it crosses to the parent, which derives it in about 0.2 ms."""
_BYTE_COST: Final = 60
"""Fuel of each byte that crosses."""
_EFFECT_OVERHEAD: Final = 64
"""Bytes that each write, event or message counts for beside its own."""
MAX_LOGS: Final = 256
MAX_LOG: Final = 4096
MAX_RECIPIENTS: Final = 256
MAX_RELEASES: Final = 64
"""Signatures that one call asks for."""


class _Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A signing request in the guest's words."""

    key: str
    message: str
    to: tuple[str, ...]


_asked: Final = msgspec.json.Decoder(_Asked)
_spelled: Final = msgspec.json.Decoder(tuple[str, str, tuple[str, ...]])


class HostViolation(Exception):
    """The guest broke a rule of the host: its execution ends here, as failed."""


class Reader(Protocol):
    """Where reads go."""

    def read(self, key: str) -> str | None:
        """Return the text of a slot before this transaction."""
        ...

    def public_key(self, name: KeyName) -> bytes:
        """Return the public key of a key that the contract owns."""
        ...


class Effects:
    """The effects of one execution: collected, bounded, refused in a view.

    Args:
        kind: a call may write, a view may not.
        reader: where reads go.
        keys: label and scheme of each key that the contract's interface declares.
        own: the contract's address, which no message goes to.
        room: how many messages it may send.
    """

    def __init__(
        self,
        kind: Literal["call", "view"],
        reader: Reader,
        keys: frozenset[tuple[str, str]] = frozenset(),
        own: str = "",
        room: int = 0,
    ) -> None:
        self._keys: Final = keys
        self._writable: Final = kind == "call"
        self._reader: Final = reader
        self.writes: Final[dict[str, str | None]] = {}
        self.events: Final[list[Emitted]] = []
        self.releases: Final[dict[str, Requested]] = {}
        self.messages: Final[list[Posted]] = []
        self.logs: Final[list[str]] = []
        self._own: Final = own
        self._room: Final = room
        self._size = 0

    def call(self, operation: int, a: str, b: str) -> tuple[str, int]:
        """Perform one operation; return the answer and the fuel it costs.

        Raises:
            HostViolation: a limit, a write in a view, or an operation that does not exist.
        """
        cost = _CALL_COST + _BYTE_COST * (len(a) + len(b))
        if operation == GET:
            value = self._get(a)
            return (
                ("", cost + _READ_COST) if value is None else (f"={value}", cost + _READ_COST + _BYTE_COST * len(value))
            )
        if operation == KEY:
            name = self._declared(a)
            return self._reader.public_key(name).hex(), cost + _KEY_COST
        if operation == LOG:
            if len(self.logs) < MAX_LOGS:
                self.logs.append(a[:MAX_LOG])
            return "", cost
        if not self._writable:
            raise HostViolation("a view reads; it cannot write, emit, send or release")
        if operation == PUT:
            if len(b.encode()) > MAX_SLOT_VALUE:
                raise HostViolation(f"a stored value has at most {MAX_SLOT_VALUE} bytes")
            self._write(a, b)
        elif operation == DELETE:
            self._write(a, None)
        elif operation == EMIT:
            self._emit(a, b)
        elif operation == RELEASE:
            self._release(a, b)
        elif operation == SEND:
            self._send(a, b)
        else:
            raise HostViolation("no such operation")
        return "", cost

    def _get(self, key: str) -> str | None:
        _check_key(key)
        return self.writes[key] if key in self.writes else self._reader.read(key)

    def _write(self, key: str, value: str | None) -> None:
        _check_key(key)
        if len(self.writes) >= MAX_WRITES and key not in self.writes:
            raise HostViolation(f"one call writes at most {MAX_WRITES} slots")
        self._grow(len(key) + len(value or ""))
        self.writes[key] = value

    def _emit(self, head: str, body: str) -> None:
        name, _, audience = head.partition("\n")
        if len(self.events) >= MAX_EVENTS:
            raise HostViolation(f"one call emits at most {MAX_EVENTS} events")
        if not name.isidentifier() or len(body.encode()) > MAX_SLOT_VALUE:
            raise HostViolation(f"an event has a name and at most {MAX_SLOT_VALUE} bytes")
        self._grow(len(head) + len(body))
        self.events.append(Emitted(name, body, _audience(audience)))

    def _release(self, topic: str, request: str) -> None:
        try:
            asked = _asked.decode(request)
            key = self._declared(asked.key)
            requested = msgspec.convert(
                {"topic": topic, "key": key, "message": bytes.fromhex(asked.message), "readers": asked.to}, Requested
            )
        except (msgspec.MsgspecError, ValueError) as e:
            raise HostViolation("a signing request has a topic, a key, a message and readers") from e
        if key.scheme != "ed25519" and len(requested.message) != DIGEST:
            raise HostViolation(f"{key.scheme} signs {DIGEST} bytes")
        if len(set(requested.readers)) != len(requested.readers):
            raise HostViolation("each reader is named once")
        if len(self.releases) >= MAX_RELEASES and topic not in self.releases:
            raise HostViolation(f"one call asks for at most {MAX_RELEASES} signatures")
        self._grow(len(topic) + len(request))
        self.releases[topic] = requested

    def _declared(self, spelled: str) -> KeyName:
        try:
            scheme, label, path = _spelled.decode(spelled)
            name = msgspec.convert({"scheme": scheme, "label": label, "path": path}, KeyName)
        except msgspec.MsgspecError as e:
            raise HostViolation("a key has a scheme, a label and a path") from e
        if (label, scheme) not in self._keys:
            raise HostViolation(f"the interface declares no key {label!r} ({scheme}): write both as literals")
        return name

    def _send(self, head: str, arguments: str) -> None:
        target, method, handler, *rest = (*head.split("\n"), "", "")
        if len(self.messages) >= self._room:
            raise HostViolation(f"this call sends at most {self._room} messages")
        if rest != ["", ""] or not method.isidentifier() or len(method) > MAX_METHOD:
            raise HostViolation("a message has a target, a method and perhaps a handler")
        if handler and (not handler.isidentifier() or len(handler) > MAX_METHOD):
            raise HostViolation("a handler is a method")
        try:
            is_contract = Address.parse(target).kind == "contract"
        except ValueError as e:
            raise HostViolation("a target is an address") from e
        if not is_contract or target == self._own or len(arguments.encode()) > MAX_SLOT_VALUE:
            raise HostViolation(f"a message goes to another contract, with at most {MAX_SLOT_VALUE} bytes")
        self._grow(len(head) + len(arguments))
        self.messages.append(Posted(target, method, arguments, handler))

    def _grow(self, size: int) -> None:
        self._size += size + _EFFECT_OVERHEAD
        if self._size > MAX_EFFECTS:
            raise HostViolation(f"one call writes, emits and sends at most {MAX_EFFECTS} bytes together")


class _Declared(msgspec.Struct, frozen=True):
    label: str
    scheme: str


class _Interface(msgspec.Struct, frozen=True):
    """What of an ABI concerns keys."""

    keys: tuple[_Declared, ...] = ()


def declared_keys(abi: bytes) -> frozenset[tuple[str, str]]:
    """Return label and scheme of each key that an ABI declares.

    Raises:
        SandboxError: its keys are not spelled as `keephold.contract.abi` spells them.
    """
    try:
        declared = msgspec.json.decode(abi, type=_Interface).keys
    except (msgspec.MsgspecError, RecursionError) as e:
        raise SandboxError("the interface's keys have a label and a scheme each") from e
    return frozenset((key.label, key.scheme) for key in declared)


def _check_key(key: str) -> None:
    if not key or len(key.encode()) > MAX_SLOT_KEY:
        raise HostViolation(f"a storage key has 1 to {MAX_SLOT_KEY} bytes")


def _audience(text: str) -> Literal["public"] | tuple[str, ...]:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise HostViolation("an audience is JSON") from e
    if value == "public":
        return "public"
    if not isinstance(value, list) or not 0 < len(value) <= MAX_RECIPIENTS or len(set(map(str, value))) != len(value):
        raise HostViolation(f"an event has 1 to {MAX_RECIPIENTS} distinct recipients")
    if not all(isinstance(item, str) for item in value):
        raise HostViolation("a recipient is an address")
    return tuple(cast("list[str]", value))
