"""The native backend: a network's interface over contracts in this process; see the package."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final, final

from keephold.client.abi import parse_abi
from keephold.client.account import Account
from keephold.client.permits import Session
from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.model import Contract
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.testing.backend import code_of, unattackable
from keephold.testing.fuel import FuelMeter
from keephold.testing.native.deployed import NativeDeployed
from keephold.testing.native.world import Snapshot, World

if TYPE_CHECKING:
    from keephold.testing.attacks import Attacks

_SECOND: Final = 10**9


@final
class NativeBackend:
    """Contracts in this process."""

    def __init__(self, names: tuple[str, ...], meter: FuelMeter | None = None) -> None:
        """Begin at height 1 with an account for each name; the same name has the same key everywhere.

        With a `meter`, each call is run in the sandbox as well, for its fuel.
        """
        self.accounts: Final[Mapping[str, Account]] = {name: native_account(name) for name in names}
        self._world: Final = World(meter)
        self._deployed = 0

    @property
    def block(self) -> Block:
        """See `Backend`."""
        return self._world.block

    @property
    def is_timed(self) -> bool:
        """Whether calls are run in the sandbox as well."""
        return self._world.meter is not None

    def deploy(
        self, cls: type[Contract], arguments: tuple[object, ...], named: dict[str, object], sender: Account
    ) -> NativeDeployed:
        """See `Backend`."""
        abi = parse_abi(code_of(cls).abi)
        self._deployed += 1
        address = Address.contract(hashlib.sha256(b"native contract" + self._deployed.to_bytes(8, "big")).digest())
        deployed = NativeDeployed(self._world, cls, abi, address, sender)
        self._world.place(address, deployed)
        if abi.init is not None:
            deployed.call(abi.init.name, arguments, named, sender)
        return deployed

    def mine(self, blocks: int) -> None:
        """See `Backend`."""
        self._world.advance(blocks, blocks * _SECOND)

    def warp(self, seconds: float) -> None:
        """See `Backend`."""
        self._world.advance(1, round(seconds * _SECOND))

    def settle(self) -> None:
        """See `Backend`; also after each call."""
        self._world.settle()

    def snapshot(self) -> Snapshot:
        """See `Backend`."""
        return self._world.snapshot()

    def restore(self, snapshot: object) -> None:
        """See `Backend`."""
        if isinstance(snapshot, Snapshot):
            self._world.restore(snapshot)

    @property
    def attack(self) -> Attacks:
        """See `Backend`: there are no machines."""
        raise unattackable("the native backend")

    @property
    def can_be_attacked(self) -> bool:
        """See `Backend`."""
        return False

    @property
    def is_lasting(self) -> bool:
        """See `Backend`."""
        return False

    @contextmanager
    def timed(self) -> Iterator[None]:
        """See `Backend`; by the backend's own meter if it has one."""
        if self.is_timed:
            yield
            return
        self._world.meter = FuelMeter()
        try:
            yield
        finally:
            self._world.meter.close()
            self._world.meter = None

    def permit(
        self, account: Account, contracts: Sequence[Address], scopes: Sequence[str], expires: timedelta
    ) -> Session:
        """See `Backend`: a permit as the client library issues it, by this backend's clock."""
        return self._world.permits.issue(account, contracts, scopes, expires, self.block.time_ns)

    def revoke(self, session: Session, account: Account) -> None:
        """See `Backend`."""
        self._world.permits.revoke(session, account)

    def close(self) -> None:
        """End what measures time, where something does."""
        if self._world.meter is not None:
            self._world.meter.close()


def native_account(name: str) -> Account:
    """Return the account of a name on every native network."""
    return Account(SigningKey(SecretBytes(hashlib.sha256(b"native account " + name.encode()).digest())), name)
