"""The client for programs without an event loop: the same objects, whose methods wait.

A `Network` runs its event loop in one thread of its own; its methods may be called from any thread.

    with Network.connect(url, genesis) as network:
        token = network.contract("khc1…")
        token.call("transfer", bob.address, 5, account=alice)
        token.query("balance", account=alice)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final, Self, TypeVar, final

from keephold.base.errors import UnavailableError
from keephold.base.ids import NetworkId
from keephold.client import contract as calls
from keephold.client import deployment, permits
from keephold.client import pending as sent
from keephold.client.abi import Abi
from keephold.client.account import Account, Reader
from keephold.client.aio import AsyncNetwork
from keephold.client.events import ContractEvent
from keephold.client.released import Released
from keephold.client.trust import TrustReport
from keephold.contract.address import Address
from keephold.follower.contracts import VerifiedContract
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.genesis import Genesis
from keephold.protocol.permits import SignedPermit

T = TypeVar("T")


@final
class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="keephold-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        if not self._thread.is_alive():
            work.close()
            raise UnavailableError("the network was closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


@final
class PendingCall:
    """A call on its way. It is executed whether or not anybody waits for it."""

    def __init__(self, loop: _Loop, pending: sent.PendingCall) -> None:
        """For `Contract.submit`."""
        self._loop: Final = loop
        self._pending: Final = pending

    @property
    def id(self) -> bytes:
        """The call's transaction id, 32 bytes."""
        return self._pending.id

    @property
    def sealed(self) -> bytes:
        """The call as everybody sees it, sealed to the contract."""
        return self._pending.sealed

    @property
    def receipt(self) -> bytes:
        """The proven receipt as everybody sees it; empty until it came."""
        return self._pending.receipt

    def wait(self, deadline: float = sent.DEADLINE_SECONDS) -> Any:
        """Return what the call returned; see `pending.PendingCall.wait`."""
        return self._loop.run(self._pending.wait(deadline))


@final
class Contract:
    """A contract on one network; see `contract.AsyncContract`."""

    def __init__(self, loop: _Loop, contract: calls.AsyncContract) -> None:
        """For `Network.contract`."""
        self._loop: Final = loop
        self._contract: Final = contract

    @property
    def address(self) -> Address:
        """The contract's address."""
        return self._contract.address

    def verified(self) -> VerifiedContract:
        """Return the contract with the argument why it can be sealed to."""
        return self._loop.run(self._contract.verified())

    def trust(self) -> TrustReport:
        """Return whom this contract rests on; see `contract.AsyncContract.trust`."""
        return self._loop.run(self._contract.trust())

    def abi(self) -> Abi:
        """Return the interface, as the verified code says."""
        return self._loop.run(self._contract.abi())

    def call(
        self,
        method: str,
        *arguments: object,
        account: Account,
        deadline: float = sent.DEADLINE_SECONDS,
        **named: object,
    ) -> Any:
        """Call a method and return what it returned; see `contract.AsyncContract.call`."""
        return self._loop.run(self._contract.call(method, *arguments, account=account, deadline=deadline, **named))

    def submit(self, method: str, *arguments: object, account: Account, **named: object) -> PendingCall:
        """Seal and send a call; see `contract.AsyncContract.submit`."""
        pending = self._loop.run(self._contract.submit(method, *arguments, account=account, **named))
        return PendingCall(self._loop, pending)

    def rotate(self, account: Account, deadline: float = sent.DEADLINE_SECONDS) -> VerifiedContract:
        """End the contract's key epoch; see `contract.AsyncContract.rotate`."""
        return self._loop.run(self._contract.rotate(account, deadline))

    def query(
        self,
        method: str,
        *arguments: object,
        account: Reader,
        deadline: float = sent.DEADLINE_SECONDS,
        **named: object,
    ) -> Any:
        """Ask a view and return its answer; see `contract.AsyncContract.query`."""
        return self._loop.run(self._contract.query(method, *arguments, account=account, deadline=deadline, **named))

    def released(
        self, topic: str, *, account: Reader, wait: bool = False, deadline: float = sent.DEADLINE_SECONDS
    ) -> Released:
        """Return a signature that the contract released to `account`; see `contract.AsyncContract.released`."""
        return self._loop.run(self._contract.released(topic, account=account, wait=wait, deadline=deadline))

    def events(
        self, *, account: Reader | None = None, since: int = 0, deadline: float = sent.DEADLINE_SECONDS
    ) -> tuple[ContractEvent, ...]:
        """Return the events that `account` can open and the public ones; see `contract.AsyncContract.events`."""
        return self._loop.run(self._contract.events(account=account, since=since, deadline=deadline))


@final
class Network:
    """One network, verified from a genesis that the caller pinned; see `aio.AsyncNetwork`."""

    def __init__(self, loop: _Loop, network: AsyncNetwork) -> None:
        """For `connect`."""
        self._loop: Final = loop
        self._network: Final = network

    @classmethod
    def connect(cls, url: str | Sequence[str], genesis: Genesis | bytes) -> Self:
        """Connect to the node at `url`, or one after the other of several; see `aio.AsyncNetwork.connect`.

        Raises:
            ConfigurationError: the genesis is malformed.
            ChainRefused: no node has this chain.
            NodeUnreachable: there is no proper answer.
        """
        return cls.over(AsyncNetwork.connect(url, genesis))

    @classmethod
    def over(cls, connecting: Coroutine[Any, Any, AsyncNetwork]) -> Self:
        """Return the network that `connecting` makes, on a loop of its own: a connection over another transport.

        Raises:
            KeepholdError: what `connecting` raises.
        """
        loop = _Loop()
        try:
            return cls(loop, loop.run(connecting))
        except BaseException:
            loop.stop()
            raise

    @property
    def id(self) -> NetworkId:
        """The network id: the hash of the pinned genesis."""
        return self._network.id

    @property
    def is_simulated(self) -> bool:
        """Whether this network admits simulated enclaves: then nothing on it is confidential from their host."""
        return self._network.is_simulated

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls under way may still be executed. May be called twice."""
        try:
            self._loop.run(self._network.aclose())
        except UnavailableError:
            return
        self._loop.stop()

    def run(self, work: Callable[[AsyncNetwork], Coroutine[Any, Any, T]]) -> T:
        """Return what an asynchronous function of the network returns."""
        return self._loop.run(work(self._network))

    def contract(self, address: Address | str) -> Contract:
        """Return the contract at an address; it is verified on first use.

        Raises:
            InputError: not a contract's address.
        """
        return Contract(self._loop, self._network.contract(address))

    def deploy(
        self,
        code: Code,
        *arguments: object,
        account: Account,
        policy: ContractPolicy | None = None,
        deadline: float = deployment.DEADLINE_SECONDS,
        progress: deployment.Progress | None = None,
        **named: object,
    ) -> Contract:
        """Deploy a contract and set it up; see `deployment.deploy`. `progress` is called on another thread."""
        work = self._network.deploy(
            code, *arguments, account=account, policy=policy, deadline=deadline, progress=progress, **named
        )
        return Contract(self._loop, self._loop.run(work))

    def permit(
        self,
        *,
        account: Account,
        contracts: permits.Contracts,
        scopes: Sequence[str],
        expires: timedelta = permits.ONE_DAY,
        origin: str = "",
    ) -> permits.Session:
        """Let a new key ask in the account's name; see `permits`."""
        return self._loop.run(
            self._network.permit(account=account, contracts=contracts, scopes=scopes, expires=expires, origin=origin)
        )

    def permit_for(
        self,
        bearer: bytes,
        *,
        account: Account,
        contracts: permits.Contracts,
        scopes: Sequence[str],
        expires: timedelta = permits.ONE_DAY,
        origin: str = "",
    ) -> SignedPermit:
        """Let the holder of an Ed25519 key, named by its public half, ask in the account's name."""
        return self._loop.run(
            self._network.permit_for(
                bearer, account=account, contracts=contracts, scopes=scopes, expires=expires, origin=origin
            )
        )

    def revoke(self, permit: SignedPermit | bytes, *, account: Account) -> None:
        """Void one permit, given itself or by its hash; see `permits.revoke`."""
        self._loop.run(self._network.revoke(permit, account=account))

    def revoke_all(self, *, account: Account) -> int:
        """Void every permit of an account and return its new generation; see `permits.revoke_all`."""
        return self._loop.run(self._network.revoke_all(account=account))
