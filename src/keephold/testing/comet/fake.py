"""A CometBFT that is played: it dials, shakes hands, makes signed blocks of several validators, and answers RPC.

It does what CometBFT does as far as an application can tell, on request and in one thread, so a test decides when a
block is made and where in it somebody dies. Its `disk` outlives it: blocks, and the height its own state is at.

    store the block → FinalizeBlock → save own state's responses → Commit → save own state → recheck
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, final

from keephold.chain.header import BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Validator, ValidatorSet
from keephold.chain.vote import Precommits
from keephold.crypto.ed25519 import ValidatorKey
from keephold.ledger.engines.base import StoredBlock, TransactionOutcome
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.messages import (
    ABCI_VERSION,
    ACCEPT,
    NEW,
    OFFENCES,
    OFFERED,
    RECHECK,
    TAKEN,
    Message,
)
from keephold.ledger.engines.forge import Chain
from keephold.ledger.engines.statesync import Offered, Snapshot, Taken
from keephold.testing.comet.dialer import CometStopped, Dialer, make
from keephold.testing.comet.disk import Applied, Disk
from keephold.testing.comet.rpc import FakeRpc

Phase = Literal["stored", "finalized", "committed"]
"""Where in a block CometBFT or the application dies: before FinalizeBlock, after it, after Commit was answered."""

MAX_TX_BYTES: Final = 4 << 20
_IN_CACHE: Final = "tx already exists in cache"


class Died(Exception):
    """The block ends here, as the test asked."""


@final
class FakeComet:
    """Implements `engine.Consensus`."""

    def __init__(
        self,
        founding: Founding,
        keys: Sequence[ValidatorKey],
        abci_socket: Path,
        rpc_socket: Path,
        disk: Disk | None = None,
    ) -> None:
        """Play a node of a network whose validators vote with `keys`; those without a key are absent."""
        self.disk: Final = disk or Disk()
        self.mempool: Final[dict[bytes, None]] = {}
        self.mempool_size = 5000
        self.offered: list[tuple[Snapshot, Sequence[bytes]]] = []
        """Snapshots, with their chunks, that peers have for a node without blocks."""
        self._cache: Final[set[bytes]] = set()
        self._founding: Final = founding
        self._keys: Final = {key.public: key for key in keys}
        self._path: Final = abci_socket
        self._rpc: Final = FakeRpc(rpc_socket, self.disk, self.offer)
        self._lock: Final = threading.RLock()
        self._dialers: dict[str, Dialer] = {}
        self._chain = self._chain_after(0, b"")

    # --- engine.Consensus ---

    def start(self, ended: Callable[[str], None]) -> None:
        """Dial, shake hands, and answer RPC."""
        try:
            self.connect()
            self.state_sync()
            self.handshake()
        except CometStopped as error:
            ended(str(error))
            return
        self._rpc.start()

    def stop(self) -> None:
        """Hang up. The disk stays."""
        self._rpc.stop()
        self.hang_up()

    # --- connections ---

    def connect(self) -> None:
        """Dial the four connections."""
        self._dialers = {name: Dialer(self._path) for name in ("query", "snapshot", "mempool", "consensus")}

    def hang_up(self) -> None:
        """Close all connections, as the end of a process does."""
        for dialer in self._dialers.values():
            dialer.close()
        self._dialers = {}

    def dialer(self, name: str) -> Dialer:
        """Return one of the connections."""
        return self._dialers[name]

    def handshake(self) -> None:
        """Ask where the application stands, and play to it what it misses.

        Raises:
            CometStopped: it is ahead of the blocks, or arrives at another app hash than the blocks state.
        """
        info = self._dialers["query"].call("info", version="0.38.25", abci_version=ABCI_VERSION)
        height, stored = info.last_block_height, len(self.disk.blocks)
        app_hash = bytes(info.last_block_app_hash)
        if height == 0:
            app_hash = bytes(self._init_chain().app_hash)
        if height > stored:
            raise CometStopped(f"the application is at {height}, the blocks end at {stored}")
        for at in range(height + 1, stored + 1):
            self._expect_hash(at, app_hash)
            app_hash = self._apply(self.disk.blocks[at - 1], self.disk.transactions[at - 1]).app_hash
            self._dialers["consensus"].call("commit")
        if stored and app_hash != self.disk.applied[stored].app_hash:
            raise CometStopped(f"wrong app hash after block {stored}")
        self._chain = self._chain_after(stored, app_hash)

    # --- state sync ---

    def state_sync(self) -> None:
        """Offer what peers have to an application without blocks, one after another, until one is restored.

        Raises:
            CometStopped: none is, or the application is not where the snapshot should have brought it.
        """
        if not self.offered or self._dialers["query"].call("info", abci_version=ABCI_VERSION).last_block_height:
            return
        for snapshot, chunks in self.offered:
            app_hash = self.disk.blocks[snapshot.height].signed.header.app_hash
            if not self._restores(snapshot, chunks, app_hash):
                continue
            info = self._dialers["query"].call("info", abci_version=ABCI_VERSION)
            if (info.last_block_height, bytes(info.last_block_app_hash)) != (snapshot.height, app_hash):
                raise CometStopped("the application did not restore the snapshot that it accepted")
            return
        raise CometStopped("no snapshot was accepted")

    def _restores(self, snapshot: Snapshot, chunks: Sequence[bytes], app_hash: bytes) -> bool:
        request = make("offer_snapshot", app_hash=app_hash)
        said = request.offer_snapshot.snapshot
        said.height, said.format, said.chunks = snapshot.height, snapshot.format, snapshot.chunks
        said.hash, said.metadata = snapshot.hash, snapshot.metadata
        dialer = self._dialers["snapshot"]
        (answer,) = dialer.exchange([request])
        if answer.result == OFFERED[Offered.ABORT]:
            raise CometStopped("state sync aborted")
        return answer.result == OFFERED[Offered.ACCEPT] and all(
            dialer.call("apply_snapshot_chunk", index=at, chunk=chunk, sender="peer").result == TAKEN[Taken.ACCEPT]
            for at, chunk in enumerate(chunks)
        )

    # --- mempool ---

    def offer(self, raw: bytes) -> str | None:
        """Take a transaction into the mempool, if the application agrees; return why it is not even asked."""
        with self._lock:
            if len(self.mempool) >= self.mempool_size:
                return f"mempool is full: number of txs {len(self.mempool)} (max: {self.mempool_size})"
            if raw in self._cache:
                return _IN_CACHE
            self._cache.add(raw)
            if self._dialers["mempool"].call("check_tx", tx=raw, type=NEW).code == 0:
                self.mempool[raw] = None
            else:
                self._cache.discard(raw)
            return None

    def _update_mempool(self, ordered: Sequence[bytes], outcomes: Sequence[TransactionOutcome]) -> None:
        for raw, outcome in zip(ordered, outcomes, strict=True):
            self.mempool.pop(raw, None)
            (self._cache.add if outcome.code == 0 else self._cache.discard)(raw)
        waiting = tuple(self.mempool)
        answers = self._dialers["mempool"].exchange([make("check_tx", tx=raw, type=RECHECK) for raw in waiting])
        for raw, answer in zip(waiting, answers, strict=True):
            if answer.code:
                del self.mempool[raw]
                self._cache.discard(raw)

    # --- blocks ---

    def step(self, *, die: Phase | None = None, now_ns: int = 0) -> StoredBlock:
        """Make one block of what waits.

        Args:
            die: Where to end instead; the caller then kills whom it likes.
            now_ns: Time of the block; by default the earliest.

        Raises:
            Died: as asked.
            CometStopped: the application broke the protocol.
        """
        with self._lock:
            consensus = self._dialers["consensus"]
            height = len(self.disk.blocks) + 1
            prepared = consensus.call(
                "prepare_proposal", txs=list(self.mempool), max_tx_bytes=MAX_TX_BYTES, height=height
            )
            chosen = tuple(map(bytes, prepared.txs))
            if sum(len(raw) + 5 for raw in chosen) > MAX_TX_BYTES:
                raise CometStopped("the proposal is too large")
            status = consensus.call("process_proposal", txs=list(chosen), height=height).status
            if status != ACCEPT:
                raise CometStopped(f"the application answers its own proposal with {status}")
            block = self._voted(chosen, now_ns)
            self.disk.blocks.append(block)
            self.disk.transactions.append(chosen)
            _die_at("stored", die)
            applied = self._apply(block, chosen)
            _die_at("finalized", die)
            consensus.call("commit")
            _die_at("committed", die)
            self._chain = self._chain_after(height, applied.app_hash)
            self._update_mempool(chosen, applied.outcomes)
            return block

    def _apply(self, block: StoredBlock, transactions: tuple[bytes, ...]) -> Applied:
        header = block.signed.header
        request = make("finalize_block", txs=list(transactions), height=header.height, hash=header.hash())
        request.finalize_block.time.seconds, request.finalize_block.time.nanos = divmod(header.time_ns, NANOSECONDS)
        for offence in self.disk.offences.get(header.height, ()):
            kind = next((number for number, name in OFFENCES.items() if name == offence.kind), 0)
            said = request.finalize_block.misbehavior.add(type=kind, height=offence.height)
            said.validator.address, said.validator.power = offence.address, offence.power
            said.time.seconds, said.time.nanos = divmod(offence.time_ns, NANOSECONDS)
        answer = self._dialers["consensus"].exchange([request])[0]
        if len(answer.tx_results) != len(transactions):
            raise CometStopped("not one result for each transaction")
        applied = Applied(
            bytes(answer.app_hash),
            tuple(TransactionOutcome(item.code, bytes(item.data), item.log) for item in answer.tx_results),
            tuple((bytes(item.pub_key.ed25519), item.power) for item in answer.validator_updates),
        )
        self.disk.applied[header.height] = applied
        return applied

    def _voted(self, transactions: tuple[bytes, ...], now_ns: int) -> StoredBlock:
        """Return the next block, signed by everyone whose key is here."""
        any_key = next(iter(self._keys.values()))
        forged = self._chain.next_block(transactions, now_ns, any_key)
        header = forged.signed.header
        commit = self._commit(header, forged.signed.commit, forged.validators)
        return StoredBlock(SignedHeader(header, commit), forged.validators, forged.next_validators)

    def _commit(self, header: Header, like: Commit, validators: ValidatorSet) -> Commit:
        precommits = Precommits(header.chain_id, header.height, 0, like.block_id)
        votes = []
        for at, validator in enumerate(validators.validators):
            key = self._keys.get(validator.public_key)
            if key is None:
                votes.append(CommitSig(BlockIdFlag.ABSENT))
                continue
            time_ns = header.time_ns + at
            signature = key.sign(precommits.sign_bytes(time_ns))
            votes.append(CommitSig(BlockIdFlag.COMMIT, validator.address, time_ns, signature))
        return Commit(header.height, 0, like.block_id, tuple(votes))

    def _chain_after(self, height: int, app_hash: bytes) -> Chain:
        founding = self._founding
        validators = founding.validators
        first = Chain(founding.chain_id, founding.time_ns - 1, validators, validators, None, app_hash, ())
        if not height:
            return first
        last, applied = self.disk.blocks[height - 1], self.disk.applied[height]
        powers = {item.public_key: item.power for item in last.next_validators.validators} | dict(applied.updates)
        following = ValidatorSet.of(Validator(key, power) for key, power in powers.items() if power)
        return first.after(last, following, app_hash, applied.outcomes)

    def _init_chain(self) -> Message:
        founding = self._founding
        request = make("init_chain", chain_id=founding.chain_id, initial_height=1)
        request.init_chain.time.seconds, request.init_chain.time.nanos = divmod(founding.time_ns, NANOSECONDS)
        for validator in founding.validators.validators:
            update = request.init_chain.validators.add(power=validator.power)
            update.pub_key.ed25519 = validator.public_key
        return self._dialers["consensus"].exchange([request])[0]

    def _expect_hash(self, height: int, app_hash: bytes) -> None:
        """Refuse an app hash that the header of `height` does not state."""
        if height <= len(self.disk.blocks) and self.disk.blocks[height - 1].signed.header.app_hash != app_hash:
            raise CometStopped(f"wrong app hash before block {height}")


def _die_at(phase: Phase, asked: Phase | None) -> None:
    if phase == asked:
        raise Died(phase)
