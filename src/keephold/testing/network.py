"""What a contract author's tests talk to: `net`, and handles on the contracts deployed in it.

    def test_transfer(net, alice, bob):
        token = net.deploy(Token, "GLD", 100, sender=alice)
        token.as_(alice).transfer(bob, 5)
        assert token.as_(bob).balance() == 5
        with net.rejects("insufficient_balance"):
            token.as_(bob).transfer(alice, 6)

The same test runs over two backends. `native` (the default) executes the class in this process: real dispatch, the real
encoding of arguments, results and storage, the real order of refusals; no seals, no sandbox, no limits, no ledger.
`devnet` runs it on a network of separate programs, through the client library. Both raise the client's errors.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol, final

from keephold.base.errors import InputError, Rejected
from keephold.client.abi import Abi
from keephold.client.account import Account
from keephold.client.released import Released
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.model import Contract
from keephold.contract.records import Event
from keephold.protocol.contracts import Code
from keephold.testing.leaks import SeenCall, SeenContract, differences, table


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

    def view(self, method: str, arguments: tuple[object, ...], named: dict[str, object], reader: Account | None) -> Any:
        """Run a @view method; raises as the client does."""
        ...

    def events(self, reader: Account | None) -> list[Event]:
        """Return the events that `reader` can open and those that everybody can, oldest first."""
        ...

    def released(self, topic: str, reader: Account) -> Released:
        """Return the signature under a topic; raises as the client does."""
        ...

    def seen(self) -> tuple[SeenCall, ...]:
        """Return what everybody sees of its calls, oldest first."""
        ...


class Backend(Protocol):
    """Where tests run."""

    @property
    def accounts(self) -> Mapping[str, Account]:
        """Return alice to judy, by name."""
        ...

    @property
    def block(self) -> Block:
        """The newest block."""
        ...

    def deploy(
        self, cls: type[Contract], arguments: tuple[object, ...], named: dict[str, object], sender: Account
    ) -> Deployed:
        """Deploy the contract of a class and set it up."""
        ...

    def mine(self, blocks: int) -> None:
        """Let blocks pass."""
        ...

    def warp(self, seconds: float) -> None:
        """Let block time pass."""
        ...

    def settle(self) -> None:
        """Return once no message between contracts is under way."""
        ...

    def snapshot(self) -> object | None:
        """Return everything as it is now; None where there is no going back."""
        ...

    def restore(self, snapshot: object) -> None:
        """Make everything as it was."""
        ...

    def close(self) -> None:
        """Release what the backend holds."""
        ...


@final
class Handle:
    """A deployed contract, as one account or as nobody in particular: its methods are attributes."""

    __slots__ = ("_account", "_deployed")

    def __init__(self, deployed: Deployed, account: Account | None = None) -> None:
        """For `Net.deploy`."""
        self._deployed: Final = deployed
        self._account: Final = account

    @property
    def address(self) -> Address:
        """The contract's address."""
        return self._deployed.address

    def as_(self, account: Account) -> Handle:
        """Return the same contract, used by `account`."""
        return Handle(self._deployed, account)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = self._deployed.abi.methods.get(name)
        if method is None:
            there = ", ".join(sorted(self._deployed.abi.methods))
            raise AttributeError(f"{self._deployed.abi.name} has no method {name!r} (there: {there})")
        deployed, account = self._deployed, self._account
        if method.kind == "view" and (account is not None or method.public):
            return lambda *arguments, **named: deployed.view(name, arguments, named, account)
        if account is None:
            raise InputError(f"who? {name} is not public: use .as_(account).{name}(…)")
        return lambda *arguments, **named: deployed.call(name, arguments, named, account)

    def __repr__(self) -> str:
        who = f" as {self._account.name}" if self._account else ""
        return f"<{self._deployed.abi.name} {self.address}{who}>"


class Rejection:
    """What `Net.rejects` caught."""

    detail: str = ""
    """For people; empty until the block ended."""


@final
class Net:
    """A network for tests."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend; the `net` fixture does."""
        self._backend: Final = backend
        self._deployed: list[Deployed] = []

    @property
    def block(self) -> Block:
        """The newest block: its height, and its time in nanoseconds."""
        return self._backend.block

    def account(self, name: str) -> Account:
        """Return one of alice to judy.

        Raises:
            InputError: nobody of that name.
        """
        known = self._backend.accounts
        if name not in known:
            raise InputError(f"no account {name!r} (there: {', '.join(known)})")
        return known[name]

    def deploy(self, contract: type[Contract], *arguments: object, sender: Account, **named: object) -> Handle:
        """Deploy the contract in the file of this class, set it up with the arguments, and return a handle.

        Raises:
            SandboxError: the file is no contract that a worker would load; with the line.
            AbiError: the arguments do not fit.
            Rejected, ContractFailed: its @init did not accept them.
        """
        deployed = self._backend.deploy(contract, arguments, named, sender)
        self._deployed.append(deployed)
        return Handle(deployed)

    def mine(self, blocks: int = 1) -> None:
        """Let `blocks` blocks pass; natively each takes a second."""
        self._backend.mine(blocks)

    def warp(self, seconds: float) -> None:
        """Let `seconds` of block time pass. A devnet's clock cannot be turned: there, a few seconds are waited for."""
        self._backend.warp(seconds)

    def settle(self) -> None:
        """Return once no message between the deployed contracts is under way; natively that is so after each call."""
        self._backend.settle()

    def snapshot(self) -> object | None:
        """Return everything as it is now, for `restore`; None on a ledger, which does not go back."""
        inner = self._backend.snapshot()
        return None if inner is None else (inner, tuple(self._deployed))

    def restore(self, snapshot: object | None) -> None:
        """Make everything as it was; nothing happens for the snapshot None."""
        if isinstance(snapshot, tuple):
            inner, deployed = snapshot
            self._backend.restore(inner)
            self._deployed = list(deployed)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undo at the end what happens inside, where the backend can; forget everywhere what was deployed inside."""
        before, deployed = self.snapshot(), tuple(self._deployed)
        try:
            yield
        finally:
            self.restore(before)
            self._deployed = list(deployed)

    @contextmanager
    def rejects(self, code: str) -> Iterator[Rejection]:
        """Expect the contract to refuse with this code.

        Raises:
            AssertionError: it refused with another code, or not at all.
        """
        caught = Rejection()
        try:
            yield caught
        except Rejected as error:
            if error.rejection != code:
                raise AssertionError(f"expected the rejection {code}, got {error}") from error
            caught.detail = error.detail
            return
        raise AssertionError(f"expected the rejection {code}, but nothing was rejected")

    def events(self, reader: Account | None = None, contract: Handle | None = None) -> list[Event]:
        """Return the events that `reader` can open and the public ones, oldest first within each contract.

        Without a reader, the public ones: what everybody sees.
        """
        of = [d for d in self._deployed if contract is None or d.address == contract.address]
        return [event for deployed in of for event in deployed.events(reader)]

    def released(self, contract: Handle, topic: str, reader: Account) -> Released:
        """Return the signature that a contract released to `reader` under a topic.

        Raises:
            Rejected: `not_released`: nothing under this topic, or not for this reader.
        """
        of = next(deployed for deployed in self._deployed if deployed.address == contract.address)
        return of.released(topic, reader)

    def assert_indistinguishable(
        self, story: Callable[[Any], object], first: Any, second: Any, *, observer: Account | None = None
    ) -> None:
        """Run a story with one secret, and from the same state with another; what outsiders see must not differ.

        The story takes the secret, and calls contracts through handles; see `leaks` for what is compared. On a ledger,
        which does not go back, it has to deploy the contracts it calls.

        Raises:
            AssertionError: it differs; with a table.
        """
        runs = [self._observed(story, secret, observer) for secret in (first, second)]
        found = differences(*runs)
        if found:
            shown = table(found, f"{first!r}", f"{second!r}")
            raise AssertionError(f"an operator can tell {first!r} from {second!r}:\n\n{shown}\n")

    def _observed(self, story: Callable[[Any], object], secret: object, observer: Account | None) -> list[SeenContract]:
        with self.isolated():
            before = {
                deployed.address: (len(deployed.seen()), len(deployed.events(observer))) for deployed in self._deployed
            }
            story(secret)
            self.settle()
            run = []
            names = {
                deployed.address.text: f"{deployed.abi.name} {number}"
                for number, deployed in enumerate(self._deployed, -len(before))
            }
            for deployed in self._deployed:
                calls, opened = before.get(deployed.address, (0, 0))
                if len(deployed.seen()) > calls:
                    events = deployed.events(observer)[opened:]
                    run.append(SeenContract(deployed.abi.name, _renamed(deployed.seen()[calls:], names), tuple(events)))
            return run

    def close(self) -> None:
        """Release what the backend holds."""
        self._backend.close()


def _renamed(calls: tuple[SeenCall, ...], names: Mapping[str, str]) -> tuple[SeenCall, ...]:
    """Return calls with contracts by their place in the story: addresses of two runs differ."""
    return tuple(
        replace(
            call,
            sender=names.get(call.sender, call.sender),
            messages=tuple((names.get(target, target), size) for target, size in call.messages),
        )
        for call in calls
    )


def code_of(cls: type[Contract]) -> Code:
    """Return what is deployed for a class: the whole file that it stands in.

    Raises:
        SandboxError: the file is no contract that a worker would load; with the line.
        InputError: the class stands in no file.
    """
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if file is None:
        raise InputError(f"{cls.__name__} stands in no file: a contract is one file")
    return _code(Path(file).read_text(encoding="utf-8"), cls.__name__)


_code: Final = cache(code_from_source)


def event_classes(cls: type[Contract]) -> dict[str, type[Event]]:
    """Return the event classes in the file of a contract, by name."""
    return {
        value.__name__: value
        for value in vars(sys.modules[cls.__module__]).values()
        if isinstance(value, type) and issubclass(value, Event) and value is not Event
    }
