"""The ledger's part of the native backend: the clock, the contracts' states, and messages on their way between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, final

from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.text import Json, canonical
from keephold.testing.fuel import FuelMeter
from keephold.testing.native.permits import NativePermits
from keephold.testing.native.seen import Ran

GENESIS_NS: Final = 1_700_000_000 * 10**9
_STEP_NS: Final = 10**6
"""Block time rises strictly; each call stands in a block of its own."""


@dataclass(slots=True)
class State:
    """What is kept of one contract."""

    slots: dict[str, str] = field(default_factory=dict)
    history: tuple[Ran, ...] = ()
    asked: dict[str, bytes] = field(default_factory=dict)

    def copy(self) -> State:
        """Return the same, for a snapshot."""
        return State(dict(self.slots), self.history, dict(self.asked))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What `World.restore` takes back."""

    block: Block
    states: Mapping[Address, State]
    permits: NativePermits


@dataclass(frozen=True, slots=True)
class Mail:
    """A message under way, or its answer."""

    kind: Literal["call", "reply"]
    source: Address
    target: Address
    method: str
    arguments: str
    number: int = 0
    """Of the message."""
    credit: int = 0
    handler: str = ""
    """Of the source, for the answer to a message."""

    @property
    def is_answered(self) -> bool:
        """Whether its sender waits for an answer."""
        return bool(self.handler)

    def reply(self, told: Mapping[str, Json]) -> Mail:
        """Return the answer that says `told`."""
        body = canonical({"number": self.number, **told})
        return Mail("reply", self.target, self.source, self.handler, body, credit=self.credit - 1)


class Receiver(Protocol):
    """A contract that messages reach."""

    def receive(self, mail: Mail) -> None:
        """Run a message, or the handler of an answer."""
        ...


@final
class World:
    """What the contracts of one network share."""

    def __init__(self, meter: FuelMeter | None) -> None:
        """Begin at height 1, with no contract."""
        self.meter = meter
        """Runs each call in the sandbox as well, for its fuel."""
        self.block = Block(1, GENESIS_NS)
        self.states: dict[Address, State] = {}
        self.permits = NativePermits()
        self._contracts: Final[dict[Address, Receiver]] = {}
        self._mail: Final[deque[Mail]] = deque()

    def place(self, address: Address, contract: Receiver) -> None:
        """Let messages reach a contract, whose state is empty."""
        self.states[address] = State()
        self._contracts[address] = contract

    def advance(self, blocks: int, nanoseconds: int) -> None:
        """Let so many blocks and so much time pass."""
        self.block = Block(self.block.height + blocks, self.block.time_ns + nanoseconds)

    def tick(self) -> Block:
        """Return the block of the next call."""
        self.advance(1, _STEP_NS)
        return self.block

    def post(self, mail: Mail) -> None:
        """Put a message or an answer under way."""
        self._mail.append(mail)

    def settle(self) -> None:
        """Deliver what is under way, and what that sends, until nothing is."""
        while self._mail:
            mail = self._mail.popleft()
            target = self._contracts.get(mail.target) if mail.target in self.states else None
            if target is not None:
                target.receive(mail)
            elif mail.is_answered:
                self.post(mail.reply({"status": "failed", "reason": "unknown_contract"}))

    def snapshot(self) -> Snapshot:
        """Return what `restore` takes back."""
        states = {address: state.copy() for address, state in self.states.items()}
        return Snapshot(self.block, states, self.permits.copy())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back; contracts deployed since are not there any more."""
        self.block = snapshot.block
        self.states = {address: state.copy() for address, state in snapshot.states.items()}
        self.permits = snapshot.permits.copy()
