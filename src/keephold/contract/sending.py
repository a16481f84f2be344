"""Messages between contracts, as an author writes them.

    class Token(Interface):                        # what the other contract offers, as far as it is used here
        def transfer(self, to: Address, amount: Amount) -> Message[None]:
            raise NotImplementedError

    ctx.send(Token.at(address).transfer(bob, 5), reply=self.on_moved)

    @reply
    def on_moved(self, ctx: Call, outcome: Outcome[None]) -> None:
        match outcome:
            case Done(number): ...                 # the other contract did it; `value` is what it returned
            case Refused(number, code): ...        # it refused, and nothing changed there
            case Failed(number, reason): ...       # it failed or could not be reached, and nothing changed there

A message is a call in the other contract's inbox, later; its answer is a call in this one's, later still. Nothing is
read synchronously, and no contract is entered while it runs: between a `send` and its answer both may have served
others, so what an answer relies on is checked in the handler.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, get_args, get_origin

from keephold.contract.address import Address
from keephold.contract.errors import ContractTypeError
from keephold.contract.marks import MARK, Mark
from keephold.contract.records import Record, own_hints
from keephold.contract.text import Json, canonical, parse
from keephold.contract.values import Codec, codec_of

_R = TypeVar("_R")

MAX_METHOD: Final = 64
"""Characters of a method's name."""

Reason: TypeAlias = Literal["failed", "unreadable", "busy", "unknown_contract", "mismatch"]
"""Why a message came to nothing: the other contract failed; could not read it; had too much waiting; was never active;
or returned what the handler's type does not hold."""


@dataclass(frozen=True, slots=True)
class Message(Generic[_R]):
    """A call to another contract, not sent yet; `_R` is what its method returns."""

    target: Address
    method: str
    arguments: str
    """Canonical JSON: an object by name, or a list in order."""


@dataclass(frozen=True, slots=True)
class Done(Generic[_R]):
    """The other contract did what the message asked for."""

    number: int
    """Of the message: what `ctx.send` returned."""
    value: _R
    """What the method returned."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The other contract rejected the message; nothing changed there."""

    number: int
    """Of the message: what `ctx.send` returned."""
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The message came to nothing, in the other contract or on its way; nothing changed there."""

    number: int
    """Of the message: what `ctx.send` returned."""
    reason: Reason


Outcome: TypeAlias = Done[_R] | Refused | Failed
"""What became of a message."""


class Interface:
    """What another contract offers: methods that take its arguments, without a context, and return `Message[…]`.

    The bodies are never run (`raise NotImplementedError` says so to a type checker): `Token.at(address)` has methods of
    the same names that check the arguments against the hints and build the message.
    """

    __slots__ = ("address",)

    address: Address

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if isinstance(value, types.FunctionType) and not name.startswith("_"):
                setattr(cls, name, _builder(name, value))

    @classmethod
    def at(cls, address: Address) -> Self:
        """Return this interface of the contract at `address`.

        Raises:
            ContractTypeError: not a contract's address.
        """
        found = object.__new__(cls)
        found.address = check_target(address)
        return found


def message(target: Address, method: str, *arguments: object) -> Message[Any]:
    """Return a message to a contract whose interface is not written down: nothing is checked before it arrives.

    Raises:
        ContractTypeError: not a contract's address, no method's name, or an argument without a spelling.
    """
    return Message(check_target(target), check_method(method), canonical([_plain(item) for item in arguments]))


def check_target(target: object) -> Address:
    """Return the address if it is a contract's.

    Raises:
        ContractTypeError: it is not.
    """
    if not isinstance(target, Address) or target.kind != "contract":
        raise ContractTypeError("a message goes to a contract's address")
    return target


def check_method(name: object) -> str:
    """Return a method's name.

    Raises:
        ContractTypeError: it cannot be one.
    """
    if type(name) is not str or not name.isidentifier() or len(name) > MAX_METHOD:
        raise ContractTypeError(f"a method's name is an identifier of at most {MAX_METHOD} characters")
    return name


def handler_name(reply: Callable[..., object] | None) -> str:
    """Return the name of a reply handler; empty for none.

    Raises:
        ContractTypeError: it is no method marked `@reply`.
    """
    if reply is None:
        return ""
    mark = getattr(reply, MARK, None)
    if not isinstance(mark, Mark) or mark.kind != "reply":
        raise ContractTypeError("`reply` is a method of this contract marked @reply")
    return str(reply.__name__)


def value_hint(outcome: object) -> object:
    """Return `R` of the hint `Outcome[R]`.

    Raises:
        ContractTypeError: the hint is another.
    """
    choices = get_args(outcome)
    if len(choices) != 3 or get_origin(choices[0]) is not Done or choices[1:] != (Refused, Failed):
        raise ContractTypeError("a reply handler takes self, its context, and an Outcome[what the method returns]")
    return get_args(choices[0])[0]


def read_outcome(told: dict[str, Any], value: Codec) -> Done[Any] | Refused | Failed:
    """Return the outcome that the host tells of: `number`, `status`, and what belongs to that (`value` is JSON text).

    Raises:
        Mismatch: a value that is not of the handler's type: the caller makes it `Failed` for that reason.
    """
    number = told["number"]
    if told["status"] == "ok":
        return Done(number, value.decode(parse(told["value"])))
    if told["status"] == "rejected":
        return Refused(number, told["code"], told["detail"])
    return Failed(number, told["reason"])


def _builder(name: str, fn: types.FunctionType) -> Callable[..., Message[Any]]:
    resolved: list[dict[str, Codec]] = []

    def build(self: Interface, *args: object, **named: object) -> Message[Any]:
        if not resolved:
            resolved.append(_codecs(name, fn))
        codecs = resolved[0]
        if len(args) > len(codecs):
            raise ContractTypeError(f"{name} takes {len(codecs)} arguments, not {len(args)}")
        given = dict(zip(codecs, args, strict=False))
        for key, value in named.items():
            if key not in codecs or key in given:
                raise ContractTypeError(f"{name} takes no {key}, or it was given twice")
            given[key] = value
        if len(given) < len(codecs) - len(fn.__defaults__ or ()):
            raise ContractTypeError(f"{name} lacks an argument")
        encoded: dict[str, Json] = {key: codecs[key].encode(value) for key, value in given.items()}
        return Message(self.address, check_method(name), canonical(encoded))

    return build


def _codecs(name: str, fn: types.FunctionType) -> dict[str, Codec]:
    hints = own_hints(fn)
    names = fn.__code__.co_varnames[1 : fn.__code__.co_argcount]
    if get_origin(hints.get("return")) is not Message:
        raise ContractTypeError(f"{name}: an interface's method returns Message[…]")
    missing = [each for each in names if each not in hints]
    if missing:
        raise ContractTypeError(f"{name}: annotate its argument {missing[0]}")
    return {each: codec_of(hints[each]) for each in names}


def _plain(value: object) -> Json:
    """Return the JSON of a value by its own type, where no hint says more."""
    if type(value) is tuple:
        return [_plain(item) for item in value]
    if type(value) is frozenset:
        return sorted((_plain(item) for item in value), key=canonical)
    if isinstance(value, Record) or type(value) in (bool, int, str, bytes, Address, type(None)):
        return codec_of(type(value)).encode(value)
    raise ContractTypeError(f"{type(value).__name__} has no place in a message")
