"""What `net` stands on: the interface of every backend, and what a contract's class is to all of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from keephold.base.errors import ConfigurationError, InputError
from keephold.client.account import Account
from keephold.client.permits import Session
from keephold.client.source import code_from_source
from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.model import Contract
from keephold.contract.records import Event
from keephold.protocol.contracts import Code
from keephold.testing.handle import Deployed

if TYPE_CHECKING:
    from keephold.testing.attacks import Attacks


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

    def permit(
        self, account: Account, contracts: Sequence[Address], scopes: Sequence[str], expires: timedelta
    ) -> Session:
        """Let a new key ask contracts in the account's name."""
        ...

    def revoke(self, session: Session, account: Account) -> None:
        """Void a permit of the account's."""
        ...

    def timed(self) -> AbstractContextManager[None]:
        """Measure what calls burn, inside; InputError where nobody can."""
        ...

    @property
    def attack(self) -> Attacks:
        """Adversaries; ConfigurationError where there is nothing to attack."""
        ...

    @property
    def can_be_attacked(self) -> bool:
        """Whether `attack` has something to attack."""
        ...

    @property
    def is_lasting(self) -> bool:
        """Whether what happened stays: then `snapshot` returns None."""
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


def unattackable(what: str) -> ConfigurationError:
    """Return the error of a backend without a network whose machines the test owns."""
    return ConfigurationError(
        f"net.attack has no machines of its own to attack on {what}: mark the test @pytest.mark.attack, or --net local"
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
