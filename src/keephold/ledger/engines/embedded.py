"""The embedded engine: one process, one validator, CometBFT-shaped blocks.

Blocks are made on demand, in a thread of their own: at most 50 a second carry transactions; after a block that changed
the app hash or had results, a proof block follows at once (its header carries both), without counting; when idle, a
heartbeat. A proof block changes neither, so the chain comes to rest.

Order of one block: prepare, process, header and vote, **store** (durable), finalize, **commit** (durable), announce.
Killed before the store, the block never was and its transactions were never acknowledged as ordered; killed after it,
the start finalizes and commits the stored block again and must arrive at the app hash that the next header states.

With one validator there is one vote a block, and it is always in. Time is the wall clock, pushed forward where it does
not rise.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, final

from keephold.base.clock import Clock
from keephold.base.errors import ConfigurationError, HeaderInvalid, InputError
from keephold.base.limits import MAX_BLOCK_BYTES
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.ledger.engines import forge
from keephold.ledger.engines.base import (
    Admission,
    Application,
    Block,
    Load,
    StoredBlock,
    TransactionOutcome,
    ValidatorUpdate,
)
from keephold.ledger.engines.mempool import Mempool
from keephold.ledger.engines.store import BlockStore
from keephold.ledger.engines.stored import StoredEngine

MIN_INTERVAL: Final = 1 / 50
"""Seconds between two blocks that carry transactions."""

DEFAULT_HEARTBEAT: Final = 5.0
"""Seconds of idleness after which an empty block shows that the chain lives."""


RECENT: Final = 256
"""Blocks served from memory."""


@final
class EmbeddedEngine(StoredEngine):
    """Orders transactions alone. Implements `base.Engine`. Build, `start`, `stop`."""

    def __init__(
        self,
        application: Application,
        directory: Path,
        key: ValidatorKey,
        *,
        chain_id: str,
        genesis_ns: int,
        validators: ValidatorSet,
        clock: Clock,
        heartbeat: float = DEFAULT_HEARTBEAT,
    ) -> None:
        """Open the block store, verify its last block, and bring the application up to it.

        Args:
            application: The state machine.
            directory: Home of `blocks.db`.
            key: The validator's.
            chain_id: Of the network, at most 50 characters.
            genesis_ns: Earliest time of block 1, nanoseconds since the Unix epoch.
            validators: Of block 1.
            clock: Wall clock and monotonic clock.
            heartbeat: Seconds.

        Raises:
            ConfigurationError: the key alone is not more than two thirds of the validators.
            HeaderInvalid: the stored blocks and the application contradict one another.
        """
        super().__init__(BlockStore(directory / "blocks.db"))
        self._application: Final = application
        self._key: Final = key
        self._clock: Final = clock
        self._heartbeat: Final = heartbeat
        self._wake: Final = threading.Condition()
        self._mempool: Final = Mempool(application)
        self._recent: Final[dict[int, StoredBlock]] = {}
        self._thread: threading.Thread | None = None
        self._chain = forge.Chain(chain_id, genesis_ns, validators, validators, None, application.info().app_hash, ())
        self._proof_due = False
        try:
            self._require_majority(validators)
            self._recover()
        except BaseException:
            self._store.close()
            raise
        self._latest = self._store.last()

    # --- base.Engine ---

    def submit(self, raws: Sequence[bytes]) -> tuple[Admission, ...]:
        """Offer signed transactions; one admission for each, in order.

        Raises:
            UnavailableError: the engine has stopped.
        """
        self._require_running()
        admissions = self._mempool.offer(raws)
        if self._mempool.waiting:
            with self._wake:
                self._wake.notify()
        return admissions

    def load(self) -> Load:
        """Return what waits; it talks to nobody."""
        return Load(self._mempool.waiting, 0)

    def latest(self) -> int:
        """Return the height of the newest block whose effects are durable; 0 before the first."""
        return self._latest

    def block(self, height: int) -> StoredBlock | None:
        """Return a final block; recent ones from memory."""
        return self._recent.get(height) or super().block(height)

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return zeros: it is always the same validator's turn."""
        block = self.block(height)
        if block is None:
            raise InputError(f"no block {height}")
        return (0,) * len(block.validators.validators)

    # --- life ---

    def start(self) -> None:
        """Begin to make blocks."""
        self._thread = threading.Thread(target=self._run, name="keephold-blocks", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the block under way and end; what still waits is forgotten, as it was never ordered."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._store.close()

    def step(self) -> int:
        """Make one block now, of what waits; return its height. For a caller that drives the engine itself."""
        return self._make(self._mempool.plan(MAX_BLOCK_BYTES))

    # --- the block thread ---

    def _run(self) -> None:
        last_carrying = -MIN_INTERVAL
        last_block = self._clock.monotonic()
        try:
            while True:
                carries = self._wait(last_carrying, last_block)
                if self._stopping:
                    return
                planned = self._mempool.plan(MAX_BLOCK_BYTES) if carries else ()
                last_block = self._clock.monotonic()
                if planned:
                    last_carrying = last_block
                self._make(planned)
        except BaseException as error:  # noqa: BLE001 - the thread's last word: reported through `failure`
            self._failure = error

    def _wait(self, last_carrying: float, last_block: float) -> bool:
        """Return when a block is due: True if it should carry transactions."""
        with self._wake:
            while not self._stopping:
                now = self._clock.monotonic()
                if self._mempool.waiting and now - last_carrying >= MIN_INTERVAL:
                    return True
                if self._proof_due or now - last_block >= self._heartbeat or self._latest == 0:
                    return False
                until = last_block + self._heartbeat
                if self._mempool.waiting:
                    until = min(until, last_carrying + MIN_INTERVAL)
                self._wake.wait(max(until - now, 0.0005))
        return False

    def _make(self, transactions: tuple[bytes, ...]) -> int:
        """Make, store, apply and announce one block."""
        if not self._application.process(transactions):
            raise HeaderInvalid("the application refuses the block that it prepared")
        stored = self._chain.next_block(transactions, self._clock.now_ns(), self._key)
        self._store.append(stored, transactions)
        self._apply(stored, transactions)
        height = stored.signed.header.height
        self._mempool.settle(transactions)
        self._recent[height] = stored
        self._recent.pop(height - RECENT, None)
        self._latest = height
        self._announcer.announce(height)
        return height

    def _apply(self, stored: StoredBlock, transactions: tuple[bytes, ...]) -> None:
        header = stored.signed.header
        block = Block(header.height, header.time_ns, header.hash(), transactions)
        finalized = self._application.finalize(block)
        if len(finalized.outcomes) != len(transactions):
            raise HeaderInvalid("the application answers another number of transactions")
        self._application.commit()
        following = _updated(stored.next_validators, finalized.validator_updates)
        self._advance(stored, following, finalized.app_hash, finalized.outcomes)

    def _advance(
        self,
        stored: StoredBlock,
        following: ValidatorSet,
        app_hash: bytes,
        outcomes: Sequence[TransactionOutcome],
    ) -> None:
        self._require_majority(following)
        self._chain = self._chain.after(stored, following, app_hash, outcomes)
        self._proof_due = app_hash != stored.signed.header.app_hash or bool(outcomes)

    # --- start ---

    def _recover(self) -> None:
        """Bring the application to the store's height, making each block again that it plays.

        Usually that is none, or one: the block that was stored when the process died. An application that lost its
        file plays all of them.
        """
        last = self._store.last()
        info = self._application.info()
        if info.height > last:
            raise HeaderInvalid(f"the application is at block {info.height}, the block store at {last}")
        if info.height:
            stored = self._stored(info.height)
            following = ValidatorSet.of(Validator(key, power) for key, power in info.validators)
            self._advance(stored, following, info.app_hash, info.outcomes)
        if info.height + 1 < self._store.first:
            raise HeaderInvalid(
                f"the application is at block {info.height}, and blocks below {self._store.first} are pruned"
            )
        for height in range(info.height + 1, last + 1):
            stored, transactions = self._stored(height), self._store.transactions(height)
            again = self._chain.next_block(transactions, stored.signed.header.time_ns, self._key)
            if again != stored:
                raise HeaderInvalid(f"stored block {height} does not follow from the state before it")
            self._apply(stored, transactions)
        # The application came back with the state after the last block alone, which the next header proves: until
        # that is made, nothing can be proven to anybody.
        self._proof_due = last > 0

    def _stored(self, height: int) -> StoredBlock:
        stored = self._store.block(height)
        if stored is None:
            raise HeaderInvalid(f"the block store lacks block {height}")
        return stored

    def _require_majority(self, validators: ValidatorSet) -> None:
        own = sum(v.power for v in validators.validators if v.public_key == self._key.public)
        if 3 * own <= 2 * validators.total_power:
            raise ConfigurationError("the embedded engine's key is not more than two thirds of the validators")


def _updated(validators: ValidatorSet, updates: tuple[ValidatorUpdate, ...]) -> ValidatorSet:
    """Return the set after updates."""
    if not updates:
        return validators
    powers = {validator.public_key: validator.power for validator in validators.validators}
    powers |= {update.public_key: update.power for update in updates}
    return ValidatorSet.of(Validator(key, power) for key, power in powers.items() if power)
