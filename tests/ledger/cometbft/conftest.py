"""A toy state machine, a played CometBFT of four validators, and the engine between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from keephold.base.errors import InputError
from keephold.chain import merkle
from keephold.chain.chain_id import chain_id
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.light_client import TrustedState, verify_adjacent
from keephold.ledger.engines.base import (
    Admission,
    ApplicationInfo,
    Block,
    FinalizedBlock,
    Queried,
    TransactionOutcome,
    ValidatorUpdate,
)
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.engine import CometEngine
from keephold.ledger.engines.statesync import Origin, Snapshot, Snapshots
from keephold.ledger.snapshots.service import Nowhere
from keephold.testing.comet.fake import Disk, FakeComet
from keephold.testing.comet.snapshots import NoSnapshots

KEYS = [ValidatorKey(SecretBytes(bytes([n]) * 32)) for n in range(1, 5)]
GENESIS_NS = 1_700_000_000_000_000_000
FOUNDING = Founding(
    chain_id(b"n" * 32),  # type: ignore[arg-type]
    GENESIS_NS + 1,
    ValidatorSet.of(Validator(key.public, 10) for key in KEYS),
)


class Toy:
    """Remembers every transaction. `durable` is its disk. `bad…` is refused, `stale…` is once it waited."""

    def __init__(self, durable: list[tuple[ApplicationInfo, list[bytes]]] | None = None) -> None:
        self.durable = durable if durable is not None else []
        self.pending: tuple[ApplicationInfo, list[bytes]] | None = None
        self.updates: tuple[ValidatorUpdate, ...] = ()
        self.fails_in = ""
        self.calls: list[str] = []
        self.rechecking = False
        self.accepts = True
        self.validators: tuple[tuple[bytes, int], ...] = ()

    @property
    def seen(self) -> list[bytes]:
        return self.durable[-1][1] if self.durable else []

    def info(self) -> ApplicationInfo:
        return self.durable[-1][0] if self.durable else ApplicationInfo(0, merkle.EMPTY, (), self.validators)

    def inspect(self, raw: bytes) -> None:
        pass

    def check(self, raw: bytes) -> Admission:
        if raw.startswith(b"bad") or (raw.startswith(b"stale") and self.rechecking):
            return Admission(3, "bad")
        if raw in self.seen:
            return Admission(0, "", 1 + self.seen.index(raw))
        return Admission()

    def query(self, path: str, data: bytes, height: int) -> Queried:
        if path != "/map":
            raise InputError("ask /map")
        return Queried(data, b"value", height or 7, b"proof")

    def recheck(self, raws: Any) -> tuple[bool, ...]:
        self.rechecking = True
        return tuple(True for _ in raws)

    def prepare(self, raws: Any, max_bytes: int) -> tuple[bytes, ...]:
        chosen = []
        for raw in raws:
            max_bytes -= len(raw)
            if max_bytes < 0:
                break
            chosen.append(raw)
        return tuple(chosen)

    def process(self, raws: Any) -> bool:
        return self.accepts

    def finalize(self, block: Block) -> FinalizedBlock:
        self._maybe_fail("finalize")
        seen = self.seen + list(block.transactions)
        outcomes = tuple(TransactionOutcome(raw[0] & 1, raw[:4], "for people") for raw in block.transactions)
        self.pending = (ApplicationInfo(block.height, merkle.root(seen), outcomes, self.validators), seen)
        return FinalizedBlock(outcomes, merkle.root(seen), self.updates)

    def commit(self) -> None:
        self._maybe_fail("commit")
        assert self.pending is not None
        self.durable.append(self.pending)
        self.pending = None

    def _maybe_fail(self, where: str) -> None:
        self.calls.append(where)
        if self.fails_in == where:
            raise OSError("the disk is full")


class Bench:
    """Builds engines over one directory, with a CometBFT that keeps its disk."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.disk = Disk()
        self.engine: CometEngine | None = None
        self.comet: FakeComet | None = None

    def open(
        self,
        application: Any,
        *,
        founding: Founding = FOUNDING,
        keys: list[ValidatorKey] = KEYS,
        snapshots: Snapshots = NoSnapshots(),  # noqa: B008 - it has no state
        origin: Origin = Nowhere(),  # noqa: B008 - it has no state
        offered: Sequence[tuple[Snapshot, list[bytes]]] = (),
    ) -> tuple[CometEngine, FakeComet]:
        self.close()
        abci, rpc = self.directory / "abci.sock", self.directory / "rpc.sock"
        self.comet = FakeComet(founding, keys, abci, rpc, self.disk)
        self.comet.offered = list(offered)
        self.engine = CometEngine(
            application,
            self.directory,
            founding,
            self.comet,
            abci_socket=abci,
            rpc_socket=rpc,
            snapshots=snapshots,
            origin=origin,
        )
        self.engine.start()
        return self.engine, self.comet

    def close(self) -> None:
        if self.engine is not None:
            self.engine.stop()
            self.engine = None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def _wait(condition: Callable[[], bool], what: str = "it") -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.002)


@pytest.fixture
def wait() -> Callable[..., None]:
    return _wait


@pytest.fixture
def founding() -> Founding:
    return FOUNDING


@pytest.fixture
def keys() -> list[ValidatorKey]:
    return KEYS


@pytest.fixture
def toy() -> type[Toy]:
    return Toy


@pytest.fixture
def follow() -> Callable[[CometEngine, Founding], TrustedState]:
    """A light client from genesis accepts every block."""

    def run(engine: CometEngine, founding: Founding = FOUNDING) -> TrustedState:
        trusted = TrustedState.from_genesis(founding.chain_id, founding.validators, founding.time_ns - 1, 10**18)
        for height in range(1, engine.latest() + 1):
            block = engine.block(height)
            assert block is not None
            header = block.signed.header
            assert merkle.data_root(engine.transactions(height)) == header.data_hash
            trusted = verify_adjacent(
                trusted, block.signed, block.validators, block.next_validators, now_ns=header.time_ns
            )
        return trusted

    return run
