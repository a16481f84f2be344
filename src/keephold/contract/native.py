"""A contract in one Python process, without a network or a sandbox: for unit tests and for trying things out.

    token = NativeContract(Token, creator=alice)
    token.call("setup", "GLD", 100, sender=alice)
    token.call("transfer", bob, 5, sender=alice)
    assert token.view("balance", reader=bob) == 5

The code that runs between JSON and JSON is the sandbox's (`keephold.contract.dispatch`), and arguments and results pass
through the same text; fuel, memory and isolation are not simulated. Nothing here is confidential.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.dispatch import execute
from keephold.contract.errors import ContractTypeError, Reject
from keephold.contract.keys import Lookup
from keephold.contract.model import Contract, Method, model_of
from keephold.contract.records import Event
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import codec_of

_GENESIS_NS: Final = 1_700_000_000_000_000_000
_BLOCK_NS: Final = 1_000_000_000


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


@dataclass(slots=True)
class MemoryHost:
    """The host, over dictionaries. `commit` is what a ledger would do with an accepted result."""

    slots: dict[str, str] = field(default_factory=dict)
    writes: dict[str, str | None] = field(default_factory=dict)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    releases: dict[str, str] = field(default_factory=dict)
    """Signing requests by topic."""
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
        self._calls += 1
        seed = hashlib.sha256(b"native seed" + self._calls.to_bytes(8, "big")).hexdigest()
        env = self._env() | {"sender": sender.text, "creator": self.creator.text, "seed": seed}
        host = MemoryHost(self.slots)
        result = self._run("call", method, args, named, env, host)
        host.commit()
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
        return self._run("view", method, args, named, env, MemoryHost(self.slots))

    def _env(self) -> dict[str, Json]:
        return {"contract": self.address.text, "height": self.block.height, "time_ns": self.block.time_ns}

    def _run(
        self,
        kind: Literal["call", "view"],
        name: str,
        args: tuple[object, ...],
        named: dict[str, object],
        env: dict[str, Json],
        host: MemoryHost,
    ) -> Any:
        method = model_of(self.cls).methods.get(name)
        arguments = "[]" if method is None else encode_arguments(method, args, named)
        outcome = cast("dict[str, Any]", parse(execute(self.cls, kind, name, arguments, canonical(env), host)))
        self.logs.extend(host.logs)
        if outcome["status"] == "rejected":
            raise Reject(outcome["code"], outcome["detail"])
        if outcome["status"] == "failed" or method is None:
            raise NativeFailure(outcome["message"], outcome["line"])
        return method.signature()[1].decode(outcome["value"])


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
