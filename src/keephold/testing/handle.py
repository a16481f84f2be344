"""A deployed contract in an author's hands, on whatever backend it lies: its methods are attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, final

from keephold.base.errors import InputError
from keephold.client.abi import Abi
from keephold.client.account import Account, Reader
from keephold.client.released import Released
from keephold.contract.address import Address
from keephold.contract.records import Event
from keephold.testing.leaks import SeenCall


class Deployed(Protocol):
    """One contract on a backend."""

    @property
    def address(self) -> Address:
        """Its address."""
        ...

    @property
    def abi(self) -> Abi:
        """Its interface."""
        ...

    def call(self, method: str, arguments: tuple[object, ...], named: dict[str, object], sender: Account) -> Any:
        """Run an @init or @call method; raises as the client does."""
        ...

    def view(self, method: str, arguments: tuple[object, ...], named: dict[str, object], reader: Reader | None) -> Any:
        """Run a @view method; raises as the client does."""
        ...

    def events(self, reader: Reader | None) -> list[Event]:
        """Return the events that `reader` can open and those that everybody can, oldest first."""
        ...

    def released(self, topic: str, reader: Reader) -> Released:
        """Return the signature under a topic; raises as the client does."""
        ...

    def seen(self) -> tuple[SeenCall, ...]:
        """Return what everybody sees of its calls, oldest first."""
        ...


class Use(Protocol):
    """Told of each use of a contract before it happens."""

    def __call__(self, deployed: Deployed, *, changes: bool) -> None:
        """Raise InputError if it must not be."""
        ...


@final
class Handle:
    """A deployed contract, as one account or as nobody in particular: its methods are attributes."""

    __slots__ = ("_deployed", "_reader", "_use")

    def __init__(self, deployed: Deployed, use: Use, reader: Reader | None = None) -> None:
        """For `Net.deploy`."""
        self._deployed: Final = deployed
        self._use: Final = use
        self._reader: Final = reader

    @property
    def address(self) -> Address:
        """The contract's address."""
        return self._deployed.address

    def as_(self, account: Reader) -> Handle:
        """Return the same contract, used by an account, or asked under a permit (`Net.permit`)."""
        return Handle(self._deployed, self._use, account)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._deployed.abi.methods.get(name)
        if method is None:
            there = ", ".join(sorted(self._deployed.abi.methods))
            raise AttributeError(f"{self._deployed.abi.name} has no method {name!r} (there: {there})")
        deployed, reader, use = self._deployed, self._reader, self._use
        if method.kind == "view" and (reader is not None or method.public):

            def view(*arguments: object, **named: object) -> Any:
                use(deployed, changes=False)
                return deployed.view(name, arguments, named, reader)

            return view
        if reader is None:
            raise InputError(f"who? {name} is not public: use .as_(account).{name}(…)")
        if not isinstance(reader, Account):
            raise InputError(f"{name} changes state: a permit lets ask, only an account itself calls")

        def call(*arguments: object, **named: object) -> Any:
            use(deployed, changes=True)
            return deployed.call(name, arguments, named, reader)

        return call

    def __repr__(self) -> str:
        who = f" as {self._reader.name}" if isinstance(self._reader, Account) else ""
        return f"<{self._deployed.abi.name} {self.address}{who}>"
