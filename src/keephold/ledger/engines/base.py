"""What an engine and an application owe each other: CometBFT's ABCI 2.0, reduced to what both engines use.

The engine knows bytes, heights and hashes; the application knows what they mean. The order of calls per block is
`prepare`, `process`, `finalize`, `commit`:

* `finalize` computes and remembers, `commit` makes durable. An application that was killed anywhere is at the height of
  its last commit, and the engine plays the missing blocks to it again.
* The application is never ahead of the engine's block store: the engine stores a block before it is finalized.
* `check` and `recheck` may run at any time, `finalize` and `commit` included, from any thread that holds the engine's
  pool lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from keephold.chain.header import SignedHeader
from keephold.chain.validators import ValidatorSet


@dataclass(frozen=True, slots=True)
class Block:
    """What an engine asks an application to apply."""

    height: int
    """From 1, without gaps."""
    time_ns: int
    """Nanoseconds since the Unix epoch; rises strictly."""
    hash: bytes
    """Header hash, 32 bytes."""
    transactions: tuple[bytes, ...]
    offences: tuple[Offence, ...] = ()
    """Of validators, as proven by evidence that this block carries."""


@dataclass(frozen=True, slots=True)
class Offence:
    """A validator's misbehaviour. The engine verified the evidence, or would not have voted for the block."""

    kind: str
    """`duplicate_vote` or `light_client_attack`."""
    address: bytes
    """The validator's, 20 bytes."""
    height: int
    """Where it happened: below the block that carries the evidence."""
    time_ns: int
    """Of the block at that height."""
    power: int
    """Its voting power then."""


@dataclass(frozen=True, slots=True)
class TransactionOutcome:
    """What became of one transaction. `code` and `data` are hashed into `last_results_hash`."""

    code: int = 0
    """0: applied."""
    data: bytes = b""
    detail: str = ""
    """A sentence for people: in no hash, never a secret."""


@dataclass(frozen=True, slots=True)
class ValidatorUpdate:
    """A validator's new power; 0 removes it. Effective two blocks later."""

    public_key: bytes
    power: int


@dataclass(frozen=True, slots=True)
class FinalizedBlock:
    """What a block did, computed but not yet durable."""

    outcomes: tuple[TransactionOutcome, ...]
    """One for each transaction, in order."""
    app_hash: bytes
    validator_updates: tuple[ValidatorUpdate, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What was said to one submitted transaction. Advice: the ledger decides when the transaction is ordered."""

    code: int = 0
    """0: waiting for its block, or ordered and applied."""
    detail: str = ""
    height: int = 0
    """Where it was ordered already; 0 if it was not."""


@dataclass(frozen=True, slots=True)
class ApplicationInfo:
    """Where an application stands: its last commit."""

    height: int
    """0 before the first block."""
    app_hash: bytes
    outcomes: tuple[TransactionOutcome, ...] = ()
    """Of the last block's transactions: the next header states their hash."""
    validators: tuple[tuple[bytes, int], ...] = ()
    """Public keys and powers after the last block's updates: the validators two blocks after it."""
    first: int = 1
    """Lowest height whose block it has. Above `height`: the state was restored from a snapshot, and nothing since."""


@dataclass(frozen=True, slots=True)
class Queried:
    """One value of the application's state."""

    key: bytes
    """Where it stands, 32 bytes."""
    value: bytes
    """Empty: there is none."""
    height: int
    """Of the state; its app hash is in the header of the next height."""
    proof: bytes
    """`chain.sparse.MapProof`, of the value or of its absence."""


class Application(Protocol):
    """The state machine as an engine sees it."""

    def info(self) -> ApplicationInfo:
        """Return the last committed height and app hash."""
        ...

    def inspect(self, raw: bytes) -> None:
        """Do ahead of `check` what needs no state, such as signatures. Never raises; any thread, without a lock."""
        ...

    def check(self, raw: bytes) -> Admission:
        """Say whether a transaction would be applied after those admitted since the last commit."""
        ...

    def query(self, path: str, data: bytes, height: int) -> Queried:
        """Return a value of the committed state; height 0 means the newest. Any thread.

        Raises:
            InputError: no such question, or the state of that height is not kept.
        """
        ...

    def recheck(self, raws: Sequence[bytes]) -> tuple[bool, ...]:
        """After a commit: say of each waiting transaction, in order, whether it is still worth ordering."""
        ...

    def prepare(self, raws: Sequence[bytes], max_bytes: int) -> tuple[bytes, ...]:
        """Choose, in order, what goes into the next block; the rest goes on waiting."""
        ...

    def process(self, raws: Sequence[bytes]) -> bool:
        """Say whether a proposed block is well-formed."""
        ...

    def finalize(self, block: Block) -> FinalizedBlock:
        """Compute what the block does. Nothing is durable and nothing is visible to readers."""
        ...

    def commit(self) -> None:
        """Make the last finalized block durable and visible. Returns after it is on the disk."""
        ...


@dataclass(frozen=True, slots=True)
class StoredBlock:
    """A final block's header, commit, and the validators of this and the next height."""

    signed: SignedHeader
    validators: ValidatorSet
    next_validators: ValidatorSet


@dataclass(frozen=True, slots=True)
class Load:
    """How busy an engine is."""

    waiting: int
    """Transactions that wait for a block."""
    peers: int
    """Other nodes that it talks to."""


class Engine(Protocol):
    """What the node asks of whatever orders its transactions. Every method may be called from any thread."""

    def submit(self, raws: Sequence[bytes]) -> tuple[Admission, ...]:
        """Offer signed transactions; one admission for each, in order. The same bytes again are no offence."""
        ...

    def load(self) -> Load:
        """Return how busy it is.

        Raises:
            UnavailableError: it does not answer (yet).
        """
        ...

    def latest(self) -> int:
        """Return the height of the newest block whose effects are durable; 0 before the first."""
        ...

    def first(self) -> int:
        """Return the lowest height whose transactions are kept: 1 unless older ones were pruned or never fetched."""
        ...

    def prune(self, below: int) -> None:
        """Forget the transactions of blocks below a height; headers stay. The newest block is always kept."""
        ...

    def block(self, height: int) -> StoredBlock | None:
        """Return a final block, or None if there is none at this height or its header was never fetched."""
        ...

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a block's validators, in their order: whose turn it is, in no header.

        Raises:
            InputError: there is no such block (any more).
        """
        ...

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return a block's transactions in order; empty for a block without any, or none."""
        ...

    def transaction(self, height: int, position: int) -> bytes | None:
        """Return one transaction of a block."""
        ...

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(height)` after each block, from the engine's thread; the returned function ends it.

        A listener must not block: it hands over to its own loop or thread.
        """
        ...


@asynccontextmanager
async def heights(engine: Engine) -> AsyncIterator[AsyncIterator[int]]:
    """Yield an iterator over the newest height, once now and again whenever it rose; slow readers skip heights."""
    loop = asyncio.get_running_loop()
    risen = asyncio.Event()

    def announce(_: int) -> None:
        with suppress(RuntimeError):  # the loop was closed between the block and its announcement
            loop.call_soon_threadsafe(risen.set)

    async def newest() -> AsyncIterator[int]:
        seen = -1
        while True:
            height = engine.latest()
            if height > seen:
                seen = height
                yield height
            else:
                await risen.wait()
            risen.clear()

    unsubscribe = engine.subscribe(announce)
    try:
        yield newest()
    finally:
        unsubscribe()
