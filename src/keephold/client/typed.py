"""What modules that `keephold client` writes stand on: a contract for one account, with results of its own types.

A written module holds names and types alone; everything that happens, happens here and in `contract`. It was written
from one interface, and refuses a contract with another: a type that was right yesterday is no check today.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Union, cast, get_args, get_origin

from keephold.base.errors import AbiError, InputError, Rejected
from keephold.client.account import Account, Reader
from keephold.client.contract import AsyncContract
from keephold.client.events import ContractEvent
from keephold.client.network import Contract
from keephold.contract.records import Event, Record, record_fields
from keephold.crypto.hashing import sha256

Rejections = Mapping[str, type[Rejected]]


class _Typed:
    """What the synchronous and the asynchronous client share."""

    _abi_hash: ClassVar[str]
    """SHA-256 of the interface that the module was written from, in hexadecimal."""
    _rejections: ClassVar[Rejections]
    _account: Reader | None

    def _sender(self) -> Account:
        if not isinstance(self._account, Account):
            raise InputError("calls are signed by an account: give one, not a permit")
        return self._account

    def _reader(self) -> Reader:
        return Account.generate("nobody") if self._account is None else self._account

    def _check(self, abi: bytes) -> None:
        if sha256(abi).hex() != self._abi_hash:
            raise AbiError("the contract has another interface than this client was written from: write it anew")

    def _rejected(self, error: Rejected) -> Rejected:
        kind = self._rejections.get(error.rejection)
        return error if kind is None else kind(error.rejection, error.detail)


class TypedContract(_Typed):
    """Base of a written client. `account` is whoever acts; views may be asked under a permit, public ones by nobody."""

    def __init__(self, contract: Contract, account: Reader | None = None) -> None:
        """Wrap a contract of a `Network`."""
        self._contract: Final = contract
        self._account = account

    def _call(self, method: str, hint: object, *arguments: object) -> Any:
        self._check(self._contract.verified().code.abi)
        try:
            return shaped(hint, self._contract.call(method, *arguments, account=self._sender()))
        except Rejected as error:
            raise self._rejected(error) from error

    def _view(self, method: str, hint: object, *arguments: object) -> Any:
        self._check(self._contract.verified().code.abi)
        try:
            return shaped(hint, self._contract.query(method, *arguments, account=self._reader()))
        except Rejected as error:
            raise self._rejected(error) from error

    def _read(self, kinds: Mapping[str, type[Event]], since: int) -> tuple[Any, ...]:
        self._check(self._contract.verified().code.abi)
        return _events(kinds, self._contract.events(account=self._account, since=since))


class AsyncTypedContract(_Typed):
    """The same for programs with an event loop."""

    def __init__(self, contract: AsyncContract, account: Reader | None = None) -> None:
        """Wrap a contract of an `AsyncNetwork`."""
        self._contract: Final = contract
        self._account = account

    async def _call(self, method: str, hint: object, *arguments: object) -> Any:
        self._check((await self._contract.verified()).code.abi)
        try:
            return shaped(hint, await self._contract.call(method, *arguments, account=self._sender()))
        except Rejected as error:
            raise self._rejected(error) from error

    async def _view(self, method: str, hint: object, *arguments: object) -> Any:
        self._check((await self._contract.verified()).code.abi)
        try:
            return shaped(hint, await self._contract.query(method, *arguments, account=self._reader()))
        except Rejected as error:
            raise self._rejected(error) from error

    async def _read(self, kinds: Mapping[str, type[Event]], since: int) -> tuple[Any, ...]:
        self._check((await self._contract.verified()).code.abi)
        return _events(kinds, await self._contract.events(account=self._account, since=since))


def _events(kinds: Mapping[str, type[Event]], found: tuple[ContractEvent, ...]) -> tuple[Any, ...]:
    return tuple(shaped(kinds[event.name], event.fields) for event in found)


def shaped(hint: object, value: Any) -> Any:
    """Return a client's result (integers, bytes, addresses, tuples, dictionaries) with records of their classes.

    The value fits the ABI, and the ABI is the one that the hints were written from: nothing is checked again.
    """
    origin, parameters = get_origin(hint), get_args(hint)
    if value is None or origin is Literal:
        return value
    if origin in (Union, types.UnionType):
        return shaped(parameters[0], value)
    if origin is tuple and parameters[1:] == (Ellipsis,):
        return tuple(shaped(parameters[0], item) for item in value)
    if origin is tuple:
        return tuple(shaped(part, item) for part, item in zip(parameters, value, strict=True))
    if origin is frozenset:
        return frozenset(shaped(parameters[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Record):
        given = cast("Mapping[str, Any]", value)
        return hint(**{name: shaped(kind, given[name]) for name, kind in record_fields(hint).items()})
    return value
