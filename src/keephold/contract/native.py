"""A contract in one Python process, without a network or a sandbox: for unit tests and for trying things out.

    token = NativeContract(Token, creator=alice)
    token.call("setup", "GLD", 100, sender=alice)
    token.call("transfer", bob, 5, sender=alice)
    assert token.view("balance", reader=bob) == 5

Messages to other contracts are kept; a test answers them (`answer`). `net` delivers them to the contracts it deployed.

The code that runs between JSON and JSON is the sandbox's (`keephold.contract.dispatch`), and arguments and results pass
through the same text; fuel, memory and isolation are not simulated. Nothing here is confidential.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, cast

from keephold.contract.address import Address
from keephold.contract.context import Block, message_number
from keephold.contract.dispatch import Kind, execute
from keephold.contract.errors import ContractTypeError, Reject
from keephold.contract.keys import Lookup
from keephold.contract.model import Contract, Method, model_of
from keephold.contract.records import Event
from keephold.contract.sending import Reason
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import Codec, codec_of

_GENESIS_NS: Final = 1_700_000_000_000_000_000
_BLOCK_NS: Final = 1_000_000_000
ROOM: Final = 8
"""Messages that one call sends."""


class NativeFailure(Exception):
    """The contract failed: an exception of its own that is no `Reject`. `line` is 0 where unknown."""

    def __init__(self, message: str, line: int) -> None:
        self.line: Final = line
        super().__init__(f"line {line}: {message}" if line else message)


@dataclass(frozen=True, slots=True)
class Emission:
    """One event of a successful call."""

    name: str
    fields: dict[str, Json]
    audience: Literal["public"] | tuple[Address, ...]

    def read(self, cls: type[Event]) -> Event:
        """Return the event as its class.

        Raises:
            Mismatch: it is another class's.
        """
        return cast(Event, codec_of(cls).decode(cast(Json, self.fields)))


class SentMessage(NamedTuple):
    """One message of a successful call, not answered yet."""

    number: int
    """What `ctx.send` returned."""
    target: Address
    method: str
    arguments: Json
    handler: str
    """Name of the method that takes the answer; empty for none."""


@dataclass(slots=True)
class MemoryHost:
    """The host, over dictionaries. `commit` is what a ledger would do with an accepted result."""

    slots: dict[str, str] = field(default_factory=dict)
    writes: dict[str, str | None] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    releases: dict[str, str] = field(default_factory=dict)
    """Signing requests by topic."""
    messages: list[tuple[str, str, str, str]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    keys: Lookup | None = None
    """Looks public keys up; without it the contract has none."""

    def get(self, key: str) -> str | None:
        """Return a slot."""
        return self.writes[key] if key in self.writes else self.slots.get(key)

    def put(self, key: str, value: str) -> None:
        """Write a slot."""
        self.writes[key] = value

    def delete(self, key: str) -> None:
        """Delete a slot."""
        self.writes[key] = None

    def emit(self, name: str, body: str, audience: str) -> None:
        """Keep an event."""
        self.events.append((name, body, audience))

    def public_key(self, key: str) -> str:
        """Look a public key up.

        Raises:
            ContractTypeError: there is nobody to ask.
        """
        if self.keys is None:
            raise ContractTypeError("a NativeContract owns no keys: test this one with `net`")
        return self.keys(key)

    def release(self, topic: str, request: str) -> None:
        """Keep a signing request."""
        self.releases[topic] = request

    def send(self, target: str, method: str, arguments: str, handler: str) -> None:
        """Keep a message."""
        self.messages.append((target, method, arguments, handler))

    def log(self, text: str) -> None:
        """Keep a line."""
        self.logs.append(text)

    def commit(self) -> None:
        """Apply the writes."""
        for key, value in self.writes.items():
            if value is None:
                self.slots.pop(key, None)
            else:
                self.slots[key] = value
        self.writes.clear()


class NativeContract:
    """One contract and its storage.

    Args:
        cls: the contract's class.
        creator: who may call its @init.
        address: its own address; made up where not given.
    """

    def __init__(self, cls: type[Contract], *, creator: Address, address: Address | None = None) -> None:
        self.cls: Final = cls
        self.creator: Final = creator
        self.address: Final = address or Address.contract(hashlib.sha256(cls.__qualname__.encode()).digest())
        self.block = Block(1, _GENESIS_NS)
        """What the next call sees; `mine` moves it."""
        self.slots: Final[dict[str, str]] = {}
        """Storage, as text; only successful calls change it."""
        self.events: Final[list[Emission]] = []
        self.logs: Final[list[str]] = []
        self.messages: Final[list[SentMessage]] = []
        """Messages not answered yet, oldest first."""
        self._calls = 0

    def mine(self, blocks: int = 1) -> None:
        """Let `blocks` blocks of one second pass."""
        self.block = Block(self.block.height + blocks, self.block.time_ns + blocks * _BLOCK_NS)

    def call(self, method: str, /, *args: object, sender: Address, **named: object) -> Any:
        """Run an @init or @call method and keep its effects.

        Raises:
            Reject: the contract refused; nothing changed.
            NativeFailure: it failed; nothing changed.
        """
        declared = model_of(self.cls).methods.get(method)
        arguments = "[]" if declared is None else encode_arguments(declared, args, named)
        return self._effective("call", method, arguments, sender)

    def answer(self, number: int, value: object = None) -> None:
        """Answer one of `messages` as the other contract would: with what its method returned.

        Raises:
            KeyError: no such message waits.
            Reject, NativeFailure: the handler refused or failed; nothing changed.
        """
        self._answer(number, lambda handler: {"status": "ok", "value": canonical(_handled(handler).encode(value))})

    def refuse(self, number: int, code: str, detail: str = "") -> None:
        """Answer one of `messages` as a contract that rejects it; raises as `answer`."""
        self._answer(number, lambda _: {"status": "rejected", "code": code, "detail": detail})

    def fail(self, number: int, reason: Reason = "failed") -> None:
        """Answer one of `messages` with a failure; raises as `answer`."""
        self._answer(number, lambda _: {"status": "failed", "reason": reason})

    def _answer(self, number: int, told: Callable[[Method], dict[str, Json]]) -> None:
        (at,) = [at for at, sent in enumerate(self.messages) if sent.number == number] or [-1]
        if at < 0:
            raise KeyError(number)
        sent = self.messages.pop(at)
        if sent.handler:
            handler = model_of(self.cls).methods[sent.handler]
            self._effective("reply", sent.handler, canonical({"number": number, **told(handler)}), sent.target)

    def _effective(self, kind: Kind, method: str, arguments: str, sender: Address) -> Any:
        self._calls += 1
        seed = hashlib.sha256(b"native seed" + self._calls.to_bytes(8, "big")).hexdigest()
        env = self._env() | {"sender": sender.text, "creator": self.creator.text, "seed": seed}
        env |= {"entry": self._calls, "room": ROOM}
        host = MemoryHost(self.slots)
        result = self._run(kind, method, arguments, env, host)
        host.commit()
        for position, (target, name, body, reply) in enumerate(host.messages):
            number = message_number(self._calls, position)
            self.messages.append(SentMessage(number, Address.parse(target), name, parse(body), reply))
        for name, body, audience in host.events:
            listed = json.loads(audience)
            readers = "public" if listed == "public" else tuple(Address.parse(text) for text in listed)
            self.events.append(Emission(name, json.loads(body), cast(Any, readers)))
        return result

    def view(self, method: str, /, *args: object, reader: Address | None = None, **named: object) -> Any:
        """Run a @view method.

        Raises:
            Reject, NativeFailure: as for `call`.
        """
        env = self._env() | {"reader": None if reader is None else reader.text}
        declared = model_of(self.cls).methods.get(method)
        arguments = "[]" if declared is None else encode_arguments(declared, args, named)
        return self._run("view", method, arguments, env, MemoryHost(self.slots))

    def _env(self) -> dict[str, Json]:
        return {"contract": self.address.text, "height": self.block.height, "time_ns": self.block.time_ns}

    def _run(self, kind: Kind, name: str, arguments: str, env: dict[str, Json], host: MemoryHost) -> Any:
        method = model_of(self.cls).methods.get(name)
        outcome = cast("dict[str, Any]", parse(execute(self.cls, kind, name, arguments, canonical(env), host)))
        self.logs.extend(host.logs)
        if outcome["status"] == "rejected":
            raise Reject(outcome["code"], outcome["detail"])
        if outcome["status"] == "failed" or method is None:
            raise NativeFailure(outcome["message"], outcome["line"])
        return method.signature()[1].decode(outcome["value"])


def _handled(handler: Method) -> Codec:
    """Return the codec of what a reply handler is told."""
    return handler.signature()[0][0].codec


def encode_arguments(method: Method, args: tuple[object, ...], named: dict[str, object]) -> str:
    """Return Python arguments as the JSON object that `execute` takes.

    Raises:
        TypeError: too many arguments, or one that the method does not have.
        ContractTypeError: an argument is not of its declared type.
    """
    parameters, _ = method.signature()
    if len(args) > len(parameters):
        raise TypeError(f"{method.name} takes {len(parameters)} arguments, not {len(args)}")
    given = {parameter.name: value for parameter, value in zip(parameters, args, strict=False)} | named
    codecs = {parameter.name: parameter.codec for parameter in parameters}
    unknown = given.keys() - codecs.keys()
    if unknown:
        raise TypeError(f"{method.name} takes no {min(unknown)}")
    return canonical({name: codecs[name].encode(value) for name, value in given.items()})
