"""The backends of `net` that have a ledger: the same tests through the client library.

A devnet is separate programs, and its clock is not ours: `warp` waits, a few seconds at most, or skips the test. The
bench (`bench.Bench`) is a network in this process whose clock stands still until it is turned, and which can be
attacked. On both everything is proven and sealed as anywhere else, and a ledger does not go back: there are no
snapshots, and `Net` refuses what an earlier test changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, final

import pytest

from keephold.base.errors import ConfigurationError, DeadlineExceeded, EncodingError, InputError
from keephold.base.ids import ContractId, NetworkId
from keephold.client.abi import Abi, encode_value
from keephold.client.account import Account, Reader
from keephold.client.aio import AsyncNetwork
from keephold.client.events import EventLog
from keephold.client.network import Contract as ContractHandle
from keephold.client.network import Network
from keephold.client.permits import Session
from keephold.client.pinned import PinnedNetwork, devnet_link
from keephold.client.released import Released
from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.model import Contract, model_of
from keephold.contract.records import Event
from keephold.contract.text import parse
from keephold.contract.values import codec_of
from keephold.protocol.channel import read_entry, sender_of
from keephold.protocol.codec import decode
from keephold.protocol.state import AccountRecord, ContractRecord, account_path, contract_path
from keephold.protocol.transactions import Call, RevokePermits, open_signed
from keephold.testing.backend import code_of, event_classes, unattackable
from keephold.testing.devnet import Devnet
from keephold.testing.handle import Deployed
from keephold.testing.leaks import SeenCall

if TYPE_CHECKING:
    from keephold.testing.attacks import Attacks

LONGEST_WARP: Final = 10.0
"""Seconds that a test may be made to wait."""

MOST_MINED: Final = 32
DEADLINE_SECONDS: Final = 120.0
"""Of calls and questions. Longer than a person's: on a busy machine a test is late, and that is no failure of it."""

_MARGIN_SECONDS: Final = 0.05
_SETTLE_SECONDS: Final = 0.05
_SETTLE_TRIES: Final = 600


def open_backend(where: str) -> LedgerBackend:
    """Return the backend that `--net` names: `devnet`, or the URL of the devnet that runs.

    Raises:
        ConfigurationError: no devnet of that URL runs for this user.
        DeadlineExceeded: the devnet does not come up.
    """
    if where == "devnet":
        with contextlib.ExitStack() as undo:
            devnet = undo.enter_context(Devnet.start())
            return LedgerBackend.open(devnet.pinned, undo.pop_all())
    link = devnet_link()
    pinned = PinnedNetwork.read(link.resolve()) if link.exists() else None
    if pinned is None or pinned.url.rstrip("/") != where.rstrip("/"):
        raise ConfigurationError(f"--net {where}: no devnet of this user runs there; its genesis has to be known here")
    return LedgerBackend.open(pinned, contextlib.ExitStack())


class Turn(Protocol):
    """How block time is made to pass."""

    most_mined: int
    """Blocks that a test may ask for at once."""

    def __call__(self, seconds: float) -> None:
        """Let `seconds` pass; the next block shows it."""
        ...


class Waiting:
    """The clock of a devnet."""

    most_mined = MOST_MINED

    def __call__(self, seconds: float) -> None:
        """Wait."""
        if seconds > LONGEST_WARP:
            pytest.skip(f"the clock of a devnet cannot be turned, and {seconds:g} s are long to wait")
        time.sleep(seconds + _MARGIN_SECONDS)


@final
class LedgerBackend:
    """A client of one network."""

    def __init__(
        self, network: Network, accounts: Mapping[str, Account], held: contextlib.ExitStack, turn: Turn
    ) -> None:
        """For `open`, and for `local`."""
        self.accounts: Final = accounts
        self.network = network
        """Attacks put another client in its place."""
        self.deadline = DEADLINE_SECONDS
        """Of each call and question, in seconds; an attack that makes them wait in vain shortens it."""
        self.attacks: Attacks | None = None
        """Where there is something to attack."""
        self._held: Final = held
        self._turn: Final = turn
        self._miner: Final = Account.generate("miner")
        self._contracts: Final[list[Address]] = []

    @classmethod
    def open(cls, pinned: PinnedNetwork, held: contextlib.ExitStack) -> Self:
        """Connect; what is `held` is released at `close`, or if there is no connection."""
        try:
            network = Network.connect(pinned.url, pinned.genesis)
        except BaseException:
            held.close()
            raise
        accounts = {name: Account(key, name) for name, key in pinned.devnet_keys().items()}
        return cls(network, accounts, held, Waiting())

    @property
    def attack(self) -> Attacks:
        """See `Backend`."""
        if self.attacks is None:
            raise unattackable("a devnet")
        return self.attacks

    @property
    def can_be_attacked(self) -> bool:
        """See `Backend`."""
        return self.attacks is not None

    @property
    def is_lasting(self) -> bool:
        """See `Backend`: a ledger does not go back."""
        return True

    def timed(self) -> contextlib.AbstractContextManager[None]:
        """See `Backend`."""
        raise InputError("the time of a call is measured natively: run this test without --net")

    def permit(
        self, account: Account, contracts: Sequence[Address], scopes: Sequence[str], expires: timedelta
    ) -> Session:
        """See `Backend`."""
        return self.network.permit(account=account, contracts=contracts, scopes=scopes, expires=expires)

    def revoke(self, session: Session, account: Account) -> None:
        """See `Backend`."""
        self.network.revoke(session.permit, account=account)

    @property
    def block(self) -> Block:
        """See `Backend`."""

        async def newest(network: AsyncNetwork) -> Block:
            follower = network.connection.follower
            await follower.sync()
            return Block(follower.view.height, follower.view.time_ns)

        return self.network.run(newest)

    def deploy(
        self, cls: type[Contract], arguments: tuple[object, ...], named: dict[str, object], sender: Account
    ) -> Deployed:
        """See `Backend`."""
        given: dict[str, Any] = {**named, "deadline": DEADLINE_SECONDS}
        contract = self.network.deploy(code_of(cls), *arguments, account=sender, **given)
        self._contracts.append(contract.address)
        return LedgerDeployed(cls, contract, self)

    def mine(self, blocks: int) -> None:
        """Send something harmless, `blocks` times."""
        if blocks > self._turn.most_mined:
            pytest.skip(f"{blocks} blocks take too long on a ledger")
        for _ in range(blocks):
            self.network.run(self._one_block)

    async def _one_block(self, network: AsyncNetwork) -> None:
        flight = await network.connection.transact(self._miner, RevokePermits())
        await network.connection.effect(
            flight,
            account_path(flight.account),
            lambda raw: raw is not None and decode(raw, AccountRecord).nonce > flight.nonce,
        )

    def warp(self, seconds: float) -> None:
        """See `Backend`."""
        self._turn(seconds)
        self.mine(1)

    def settle(self) -> None:
        """Wait until one header shows every contract's inbox consumed: what a result sends arrives with the result."""
        self.network.run(self._settled)

    async def _settled(self, network: AsyncNetwork) -> None:
        follower = network.connection.follower
        paths = [contract_path(ContractId(address.value)) for address in self._contracts]
        for _ in range(_SETTLE_TRIES):
            proven = await follower.prove(paths)
            records = [decode(raw, ContractRecord) for raw in proven.values.values() if raw is not None]
            if all(record.done == record.inbox_count for record in records):
                network.connection.submissions.acknowledge(proven.height - 1)
                return
            await asyncio.sleep(_SETTLE_SECONDS)
        raise DeadlineExceeded("messages between contracts are still under way")

    def snapshot(self) -> None:
        """A ledger does not go back."""

    def restore(self, snapshot: object) -> None:
        """A ledger does not go back."""

    def close(self) -> None:
        """Disconnect, and end the network if it is ours."""
        try:
            self.network.close()
        finally:
            self._held.close()


@final
class LedgerDeployed:
    """One contract on a ledger."""

    def __init__(self, cls: type[Contract], contract: ContractHandle, backend: LedgerBackend) -> None:
        """For `LedgerBackend.deploy`."""
        self._backend: Final = backend
        self._names: Final = {bytes(account.key.public): name for name, account in backend.accounts.items()}
        self._cls: Final = cls
        self._nobody: Final = Account.generate("nobody")
        self.address: Final = contract.address
        self.abi: Final[Abi] = contract.abi()

    @property
    def _contract(self) -> ContractHandle:
        return self._backend.network.contract(self.address)

    def call(self, method: str, arguments: tuple[object, ...], named: dict[str, object], sender: Account) -> Any:
        """See `Deployed`."""
        given: dict[str, Any] = {**named, "deadline": self._backend.deadline}
        return self._typed(method, self._contract.call(method, *arguments, account=sender, **given))

    def view(self, method: str, arguments: tuple[object, ...], named: dict[str, object], reader: Reader | None) -> Any:
        """See `Deployed`."""
        given: dict[str, Any] = {**named, "deadline": self._backend.deadline}
        return self._typed(method, self._contract.query(method, *arguments, account=reader or self._nobody, **given))

    def events(self, reader: Reader | None) -> list[Event]:
        """See `Deployed`."""
        classes = event_classes(self._cls)
        found = self._contract.events(account=reader, deadline=self._backend.deadline)
        return [codec_of(classes[event.name]).decode(parse(event.body.decode())) for event in found]

    def released(self, topic: str, reader: Reader) -> Released:
        """See `Deployed`."""
        return self._contract.released(topic, account=reader, deadline=self._backend.deadline)

    def seen(self) -> tuple[SeenCall, ...]:
        """Return what anybody reads off the ledger; calls that one result consumed together count as its first."""
        return self._backend.network.run(self._seen)

    async def _seen(self, network: AsyncNetwork) -> tuple[SeenCall, ...]:
        follower, contract = network.connection.follower, ContractId(self.address.value)
        seen: list[SeenCall] = []
        for result in await EventLog(follower, contract, {}).results():
            page = await follower.remote.inbox(contract, result.first)
            for index, (entry, receipt) in enumerate(zip(page.entries, result.receipts, strict=False)):
                sender, size = self._sender(entry.raw, network.id)
                at = result.first + index
                seen.append(
                    SeenCall(
                        sender=sender,
                        size=size,
                        receipt=len(receipt),
                        writes={} if index else {write.tag: len(write.value) for write in result.writes},
                        events=() if index else tuple(len(event.sealed) for event in result.events),
                        messages=tuple(
                            (Address.contract(message.target).text, len(message.sealed))
                            for message in result.messages
                            if message.entry == at
                        ),
                    )
                )
        return tuple(seen)

    def _sender(self, raw: bytes, network: NetworkId) -> tuple[str, int]:
        """Return who sent an entry, and the size of what is sealed in it if an account made it."""
        try:
            letter = read_entry(raw)
        except EncodingError:
            call = open_signed(raw, network)
            # What is around the seal grows with the sender's nonce, and says no more than that.
            sealed = call.body.sealed if isinstance(call.body, Call) else b""
            return self._names.get(call.sender, call.sender.hex()), len(sealed)
        return Address.contract(sender_of(letter)).text, 0

    def _typed(self, method: str, value: Any) -> Any:
        """Return a result as the contract's own classes: the client, which has the ABI only, returns dictionaries."""
        returns = self.abi.methods[method].returns
        if returns is None:
            return None
        codec = model_of(self._cls).methods[method].signature()[1]
        return codec.decode(encode_value(returns, value, "the result"))
