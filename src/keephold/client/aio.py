"""The asynchronous client: for programs that have an event loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Self, final

from keephold.base.clock import Clock
from keephold.base.errors import ConfigurationError, EncodingError, InputError
from keephold.base.ids import ContractId, NetworkId
from keephold.client import deployment, permits
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.contract import AsyncContract
from keephold.client.nodes import Node
from keephold.contract.address import Address
from keephold.crypto.bearer import BearerKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.http_remote import HttpRemote
from keephold.protocol.codec import decode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.genesis import Genesis
from keephold.protocol.permits import SignedPermit


@final
class AsyncNetwork:
    """One network, verified from a genesis that the caller pinned."""

    def __init__(self, connection: Connection) -> None:
        """For `connect`; tests bring their own connection."""
        self.connection: Final = connection
        self._contracts: dict[ContractId, AsyncContract] = {}

    @classmethod
    async def connect(cls, url: str | Sequence[str], genesis: Genesis | bytes, clock: Clock | None = None) -> Self:
        """Connect to the node at `url` (`http://host:port`), and follow the chain of `genesis`.

        Of several nodes, to the first that answers and has that chain, and then to the next whenever the present one
        dies, stands still, or sends what does not hold: calls under way fail only once all nodes do.

        Raises:
            ConfigurationError: the genesis is malformed.
            ChainRefused: no node has this chain; of several, the text names each with its reason.
            NodeUnreachable: there is no proper answer; likewise.
        """
        record = pinned(genesis)
        remotes = [HttpRemote(node) for node in ([url] if isinstance(url, str) else url)]
        if not remotes:
            raise ConfigurationError("a client needs the URL of a node")
        try:
            return cls(await Connection.open([Node(remote, remote) for remote in remotes], record, clock))
        except BaseException:
            for remote in remotes:
                await remote.aclose()
            raise

    @property
    def id(self) -> NetworkId:
        """The network id: the hash of the pinned genesis."""
        return self.connection.network

    @property
    def is_simulated(self) -> bool:
        """Whether this network admits simulated enclaves: then nothing on it is confidential from their host."""
        return self.connection.genesis.simulated

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; calls under way may still be executed."""
        await self.connection.aclose()

    def contract(self, address: Address | str) -> AsyncContract:
        """Return the contract at an address; it is verified on first use.

        Raises:
            InputError: not a contract's address.
        """
        contract = contract_id_of(address)
        return self._contracts.setdefault(contract, AsyncContract(self.connection, contract))

    async def deploy(
        self,
        code: Code,
        *arguments: object,
        account: Account,
        policy: ContractPolicy | None = None,
        deadline: float = deployment.DEADLINE_SECONDS,
        progress: deployment.Progress | None = None,
        **named: object,
    ) -> AsyncContract:
        """Deploy a contract and set it up with the arguments of its init method; see `deployment.deploy`."""
        handle = await deployment.deploy(
            self.connection, code, account, arguments, named, policy=policy, deadline=deadline, progress=progress
        )
        return self._contracts.setdefault(handle.id, handle)

    async def permit(
        self,
        *,
        account: Account,
        contracts: permits.Contracts,
        scopes: Sequence[str],
        expires: timedelta = permits.ONE_DAY,
        origin: str = "",
    ) -> permits.Session:
        """Let a new key ask in the account's name; see `permits`.

        Raises:
            KeepholdError: as `permits.issue`.
        """
        seed = SecretBytes.random()
        bearer = BearerKey(seed).public
        return permits.Session(
            await permits.issue(
                self.connection, account, contracts, scopes, bearer=bearer, expires=expires, origin=origin
            ),
            seed,
        )

    async def permit_for(
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
        return await permits.issue(
            self.connection, account, contracts, scopes, bearer=bearer, expires=expires, origin=origin
        )

    async def revoke(self, permit: SignedPermit | bytes, *, account: Account) -> None:
        """Void one permit, given itself or by its hash; see `permits.revoke`."""
        await permits.revoke(self.connection, account, permit)

    async def revoke_all(self, *, account: Account) -> int:
        """Void every permit of an account and return its new generation; see `permits.revoke_all`."""
        return await permits.revoke_all(self.connection, account)


def pinned(genesis: Genesis | bytes) -> Genesis:
    """Return the genesis record.

    Raises:
        ConfigurationError: malformed.
    """
    if isinstance(genesis, Genesis):
        return genesis
    try:
        return decode(genesis, Genesis)
    except EncodingError as error:
        raise ConfigurationError(f"genesis: {error}") from error


def contract_id_of(address: Address | str) -> ContractId:
    """Return the contract's id.

    Raises:
        InputError: not a contract's address.
    """
    if not isinstance(address, Address | str):
        raise InputError(f"{address!r} is no address: give an Address, or its text")
    try:
        parsed = address if isinstance(address, Address) else Address.parse(address)
    except ValueError as error:
        raise InputError(f"{address}: {error}") from error
    if parsed.kind != "contract":
        raise InputError(f"{address} is an account, not a contract")
    return ContractId(parsed.value)
