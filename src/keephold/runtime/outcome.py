"""What goes into an execution and what comes out: frozen records, shared by the process and its parent."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol

from msgspec import Meta, Struct

from keephold.contract.keys import MAX_MESSAGE, MAX_NAME, MAX_PATH, MAX_READERS, Scheme


class CallRequest(Struct, frozen=True, kw_only=True):
    """One transaction: opened, its sender's signature checked."""

    method: str
    """As the caller wrote it: anything."""
    args_json: str
    """As the caller wrote it: an object of arguments by name, or a list in order, or anything."""
    sender: str
    """Address text; the host vouches for it."""
    creator: str
    """Address text of the contract's creator, who alone may call its @init."""
    contract: str
    """Address text (`khc1…`) of the contract."""
    height: int
    """Of the block that ordered the call."""
    time_ns: int
    """Of that block."""
    seed: bytes
    """32 bytes: the call's randomness, from the entropy key and the call."""
    kind: Literal["call", "reply"] = "call"
    """A reply runs a handler, which nobody can call; its arguments are then the host's own."""
    entry: int = 0
    """Index in the contract's inbox."""
    room: int = 0
    """How many messages it may send."""


class QueryRequest(Struct, frozen=True, kw_only=True):
    """One question, its permit checked."""

    method: str
    args_json: str
    reader: str | None
    """Address text; None for nobody, who may ask public views only."""
    contract: str
    height: int
    """Of the state that the store reads."""
    time_ns: int
    """Of the block at that height."""


class Emitted(Struct, frozen=True):
    """An event of a successful call."""

    name: str
    body_json: str
    audience: Literal["public"] | tuple[str, ...]
    """Address texts, each once, in the contract's order."""


class KeyName(Struct, frozen=True):
    """Which of the keys that the contract owns."""

    scheme: Scheme
    label: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    path: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)], ...], Meta(max_length=MAX_PATH)] = ()


class Requested(Struct, frozen=True):
    """A signature that a successful call asked for."""

    topic: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    key: KeyName
    message: Annotated[bytes, Meta(max_length=MAX_MESSAGE)]
    readers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_READERS)]
    """Address texts of accounts, each once."""


class Posted(Struct, frozen=True):
    """A message of a successful call."""

    target: str
    """Address text of another contract."""
    method: str
    args_json: str
    handler: str
    """Name of the method that takes the answer; empty where none is wanted."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What one execution came to. Only `ok` carries writes, events, messages and signing requests."""

    status: Literal["ok", "rejected", "failed"]
    value_json: str = "null"
    """The result, when ok."""
    code: str = ""
    """The rejection's code, when rejected."""
    detail: str = ""
    """The rejection's detail, or what failed (for developers; users see one code)."""
    line: int = 0
    """The line of the source that failed, or that of the method's `def`; 0 where neither is known."""
    writes: dict[str, bytes | None] = {}
    """Storage key to value, None for a deletion; in the order of the keys."""
    events: tuple[Emitted, ...] = ()
    releases: tuple[Requested, ...] = ()
    """In the order of their topics, each once."""
    messages: tuple[Posted, ...] = ()
    logs: tuple[str, ...] = ()
    fuel_used: int = 0
    """The whole limit after a trap."""


class StateReader(Protocol):
    """The contract's committed state, as its worker holds it."""

    def get(self, key: str) -> bytes | None:
        """Return the plaintext value of a slot, None where there is none."""
        ...

    def public_key(self, name: KeyName) -> bytes:
        """Return the public key of a key that the contract owns.

        Raises:
            BadKey: its interface declares no such key.
        """
        ...


class ContractInfo(Struct, frozen=True):
    """A contract whose source compiled, loaded and declared an interface in the sandbox."""

    name: str
    abi_json: str
    """See `keephold.contract.abi`."""
