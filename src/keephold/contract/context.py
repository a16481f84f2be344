"""The context: what a method may do. Its type is the capability, checked in the editor and true at run time.

`Call` may write, emit, send, draw randomness and ask for signatures; `View` reads for an authenticated reader;
`PublicView` reads for anyone. All three may name the contract's keys, because a public key is public; only `Call` has
`release`.
There is no clock (block time is the ledger's), no network and no ambient randomness.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar, final

from keephold.contract.address import Address
from keephold.contract.errors import ContractTypeError, Reject
from keephold.contract.keys import MAX_READERS, Key, Scheme, check_message, check_name
from keephold.contract.records import Event
from keephold.contract.sending import Message, Outcome, handler_name
from keephold.contract.storage import MAX_VALUE, Host
from keephold.contract.text import Json, canonical
from keephold.contract.values import codec_of

_RANDOM: Final = b"keephold/contract-random/1"
_MAX_RANDOM: Final = 1 << 16
MAX_RECIPIENTS: Final = 256
"""Of one event. The host has the same bounds on events and messages; told here, they are told with the line."""
_POSITIONS: Final = 1 << 8
"""More than the messages of one call."""

_R = TypeVar("_R")


def message_number(entry: int, position: int) -> int:
    """Return the number of message `position` (from 0) of a contract's inbox entry `entry`: it never comes twice."""
    return entry * _POSITIONS + position


@final
@dataclass(frozen=True, slots=True)
class Outgoing:
    """What a call may send."""

    entry: int
    """The call's index in the contract's inbox: it makes the numbers of its messages."""
    room: int
    """How many messages."""


_NONE: Final = Outgoing(0, 0)


@final
@dataclass(frozen=True, slots=True)
class Block:
    """The block that ordered the call, or the one a view reads."""

    height: int
    """From 1."""
    time_ns: int
    """The ledger's time, in nanoseconds since the Unix epoch; as old as the network's idle interval at worst."""


class _Context:
    __slots__ = ("_host", "block", "contract")

    def __init__(self, host: Host, block: Block, contract: Address) -> None:
        self._host = host
        self.block: Final = block
        self.contract: Final = contract
        """This contract's own address."""

    def key(self, label: str, scheme: Scheme) -> Key:
        """Return a key that the contract owns; write label and scheme as literals, which the ABI lists.

        Raises:
            ContractTypeError: no such scheme, or a label that is no name.
        """
        return Key(self._host.public_key, label, scheme)

    def log(self, *parts: object) -> None:
        """Keep a line for the developer. It is shown on development networks and discarded elsewhere."""
        self._host.log(" ".join(str(part) for part in parts))


@final
class PublicView(_Context):
    """Reads, for anyone: `@view(public=True)`."""

    __slots__ = ()


@final
class View(_Context):
    """Reads, for one authenticated reader."""

    __slots__ = ("reader",)

    def __init__(self, host: Host, block: Block, contract: Address, reader: Address) -> None:
        super().__init__(host, block, contract)
        self.reader: Final = reader
        """Who asks: the account itself, or the issuer of the permit that the question carries."""


@final
class Call(_Context):
    """Reads and writes, for one authenticated sender."""

    __slots__ = ("_drawn", "_outgoing", "_seed", "_sent", "sender")

    def __init__(
        self, host: Host, block: Block, contract: Address, sender: Address, seed: bytes, outgoing: Outgoing = _NONE
    ) -> None:
        super().__init__(host, block, contract)
        self.sender: Final = sender
        """Who signed the call; the contract that sent the message; in a reply handler, the contract that answered."""
        self._seed = seed
        self._drawn = 0
        self._outgoing = outgoing
        self._sent = 0

    def random(self, size: int) -> bytes:
        """Return `size` bytes (at most 65536) that nobody outside can predict and a replay draws again.

        HMAC-SHA256 in counter mode under the call's own 32-byte seed.
        """
        if not 0 <= size <= _MAX_RANDOM:
            raise ValueError(f"random takes 0 to {_MAX_RANDOM} bytes")
        out = bytearray()
        while len(out) < size:
            out += hmac.digest(self._seed, _RANDOM + self._drawn.to_bytes(8, "big"), "sha256")
            self._drawn += 1
        return bytes(out[:size])

    def send(self, message: Message[_R], reply: Callable[[Call, Outcome[_R]], None] | None = None) -> int:
        """Send `message` once this call has succeeded; return its number, which the answer carries.

        The answer comes as a later call of `reply`, a method marked `@reply`; without it nothing is told.

        Raises:
            Reject: `too_many_messages`: one call sends at most 8, and all that follow from one account's call are
                bounded together.
            ContractTypeError: not a message, one to this very contract or too large, or a `reply` that is no handler.
        """
        if not isinstance(message, Message):
            raise ContractTypeError("send takes a message: Interface.at(address).method(…)")
        if message.target == self.contract:
            raise ContractTypeError("a contract sends no message to itself")
        handler = handler_name(reply)
        if self._sent >= self._outgoing.room:
            raise Reject("too_many_messages")
        number = message_number(self._outgoing.entry, self._sent)
        if len(message.arguments) > MAX_VALUE:
            raise ContractTypeError(
                f"a message has at most {MAX_VALUE} bytes of arguments, not {len(message.arguments)}"
            )
        self._sent += 1
        self._host.send(message.target.text, message.method, message.arguments, handler)
        return number

    def emit(self, event: Event, to: Iterable[Address] | Literal["public"]) -> None:
        """Emit `event`, sealed to each address in `to`; `to="public"` is readable by everyone.

        Raises:
            ContractTypeError: not an Event, or one that is too large; a recipient that is no address, or too many.
        """
        if not isinstance(event, Event):
            raise ContractTypeError("emit takes an Event")
        body = canonical(codec_of(type(event)).encode(event))
        if len(body) > MAX_VALUE:
            raise ContractTypeError(f"an event has at most {MAX_VALUE} bytes of text, not {len(body)}")
        if isinstance(to, str):
            if to != "public":
                raise ContractTypeError('`to` is a collection of addresses, or "public"')
            audience = canonical("public")
        else:
            texts: dict[str, None] = {}
            for address in to:
                if not isinstance(address, Address):
                    raise ContractTypeError("a recipient is an Address")
                texts[address.text] = None
            if not texts:
                return
            if len(texts) > MAX_RECIPIENTS:
                raise ContractTypeError(f"an event has at most {MAX_RECIPIENTS} recipients, not {len(texts)}")
            audience = canonical(list(texts))
        self._host.emit(type(event).__name__, body, audience)

    def release(self, topic: str, key: Key, message: bytes, to: Iterable[Address] | None = None) -> None:
        """Ask for a signature by `key` over `message`, for the accounts in `to` to read; by default for the sender.

        Nothing is signed now. The request becomes part of the contract's state, beside what contract code can reach,
        and is signed when a reader asks, from state that the ledger accepted: a call that is only simulated, dropped
        or refused yields nothing. A later request under the same topic takes this one's place.

        Args:
            topic: by which readers ask for it; 1 to 96 printable ASCII characters.
            key: of this contract.
            message: a digest of 32 bytes for `secp256k1` and `bip340`, up to 4096 bytes for `ed25519`.
            to: 1 to 64 accounts.

        Raises:
            ContractTypeError: an argument is not of this kind.
        """
        check_name("a topic", topic)
        if not isinstance(key, Key):
            raise ContractTypeError("release takes a Key of this contract")
        texts: dict[str, None] = {}
        for address in (self.sender,) if to is None else to:
            if not isinstance(address, Address):
                raise ContractTypeError("a reader is an Address")
            if address.kind != "account":
                raise ContractTypeError("a signature is released to accounts")
            texts[address.text] = None
        if not 0 < len(texts) <= MAX_READERS:
            raise ContractTypeError(f"a signature is released to 1 to {MAX_READERS} accounts")
        request: dict[str, Json] = {
            "key": key.spelled,
            "message": check_message(key, message).hex(),
            "to": list[Json](texts),
        }
        self._host.release(topic, canonical(request))
