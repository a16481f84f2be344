from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from keephold.base.clock import SystemClock
from keephold.base.errors import ConfigurationError, HeaderInvalid, InputError, UnavailableError
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
    TransactionOutcome,
    ValidatorUpdate,
    heights,
)
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.engines.mempool import FULL, MAX_WAITING, Mempool

NETWORK = b"n" * 32
KEY = ValidatorKey(SecretBytes(b"k" * 32))
VALIDATORS = ValidatorSet.of([Validator(KEY.public, 10)])
OTHER = ValidatorKey(SecretBytes(b"o" * 32)).public
GENESIS_NS = 1_700_000_000_000_000_000


class Register:
    """A state machine that remembers every transaction; `durable` is its disk."""

    def __init__(self, durable: list[tuple[ApplicationInfo, list[bytes]]] | None = None) -> None:
        self.durable = durable if durable is not None else []
        self.pending: tuple[ApplicationInfo, list[bytes]] | None = None
        self.updates: tuple[ValidatorUpdate, ...] = ()
        self.die_in: str = ""

    @property
    def seen(self) -> list[bytes]:
        return self.durable[-1][1] if self.durable else []

    def info(self) -> ApplicationInfo:
        return self.durable[-1][0] if self.durable else ApplicationInfo(0, merkle.EMPTY, (), ((KEY.public, 10),))

    def inspect(self, raw: bytes) -> None:
        assert isinstance(raw, bytes)

    def check(self, raw: bytes) -> Admission:
        return Admission(1, "bad") if raw.startswith(b"bad") else Admission()

    def query(self, path, data, height):
        raise InputError(f"{path} {data!r} {height}")

    def recheck(self, raws):
        return tuple(not raw.startswith(b"stale") for raw in raws)

    def prepare(self, raws, max_bytes):
        return tuple(raws[:10])

    def process(self, raws):
        return True

    def finalize(self, block: Block) -> FinalizedBlock:
        self._die("finalize")
        seen = self.seen + list(block.transactions)
        outcomes = tuple(TransactionOutcome(0, raw[:4]) for raw in block.transactions)
        info = ApplicationInfo(block.height, merkle.root(seen), outcomes, ((KEY.public, 10),))
        self.pending = (info, seen)
        return FinalizedBlock(outcomes, info.app_hash, self.updates)

    def commit(self) -> None:
        self._die("commit")
        assert self.pending is not None
        self.durable.append(self.pending)
        self._die("announce")

    def _die(self, where: str) -> None:
        if self.die_in == where:
            raise SystemExit(where)


@pytest.fixture
def open_engine(tmp_path) -> Iterator[Callable[..., EmbeddedEngine]]:
    opened: list[EmbeddedEngine] = []

    def make(application: Register, key: ValidatorKey = KEY, heartbeat: float = 60.0) -> EmbeddedEngine:
        for engine in opened:
            engine.stop()
        opened.clear()
        engine = EmbeddedEngine(
            application,
            tmp_path,
            key,
            chain_id=chain_id(NETWORK),
            genesis_ns=GENESIS_NS,
            validators=VALIDATORS,
            clock=SystemClock(),
            heartbeat=heartbeat,
        )
        opened.append(engine)
        return engine

    yield make
    for engine in opened:
        engine.stop()


def wait_height(engine: EmbeddedEngine, height: int) -> None:
    reached = threading.Event()
    unsubscribe = engine.subscribe(lambda at: reached.set() if at >= height else None)
    while engine.latest() < height:
        assert reached.wait(20), engine.failure
    unsubscribe()


def follow(engine: EmbeddedEngine) -> None:
    """A light client from genesis accepts every block."""
    trusted = TrustedState.from_genesis(chain_id(NETWORK), VALIDATORS, GENESIS_NS, 10**18)
    for height in range(1, engine.latest() + 1):
        block = engine.block(height)
        assert block is not None
        header = block.signed.header
        assert merkle.data_root(engine.transactions(height)) == header.data_hash
        trusted = verify_adjacent(trusted, block.signed, block.validators, block.next_validators, now_ns=header.time_ns)


def test_blocks_on_demand_and_a_proof_block_at_once(open_engine):
    engine = open_engine(Register())
    engine.start()
    wait_height(engine, 1)
    assert engine.submit([b"one"]) == (Admission(),)
    wait_height(engine, 3)
    assert engine.transactions(2) == (b"one",)
    assert engine.transactions(3) == ()
    proof = engine.block(3)
    assert proof is not None
    assert proof.signed.header.app_hash == merkle.root([b"one"])
    assert proof.signed.header.last_results_hash == merkle.root([merkle.result_leaf(0, b"one")])
    follow(engine)
    engine.stop()
    assert not engine._proof_due, "the proof block proves nothing new: the chain rests"
    assert engine.latest() == 3


def test_a_heartbeat_when_idle(open_engine):
    engine = open_engine(Register(), heartbeat=0.02)
    engine.start()
    wait_height(engine, 5)
    follow(engine)


def test_refused_transactions_do_not_wait(open_engine):
    engine = open_engine(Register())
    assert [item.code for item in engine.submit([b"bad", b"good"])] == [1, 0]
    engine.step()
    assert engine.transactions(1) == (b"good",)


def test_the_same_bytes_wait_once(open_engine):
    engine = open_engine(Register())
    engine.submit([b"one", b"one"])
    engine.submit([b"one"])
    engine.step()
    assert engine.transactions(1) == (b"one",)


def test_what_does_not_fit_waits_for_the_next_block(open_engine):
    engine = open_engine(Register())
    raws = [b"%02d" % n for n in range(15)]
    engine.submit([*raws[:12], b"stale", *raws[12:]])
    engine.step()
    engine.step()
    assert engine.transactions(1) + engine.transactions(2) == tuple(raws)


def test_the_mempool_is_bounded():
    pool = Mempool(Register())
    offered = pool.offer([b"%d" % n for n in range(MAX_WAITING + 1)])
    assert [item.code for item in offered[-2:]] == [0, FULL]


def test_time_rises_even_if_the_clock_does_not(open_engine):
    class Stuck(SystemClock):
        def now_ns(self) -> int:
            return GENESIS_NS - 5

    engine = open_engine(Register())
    engine._clock = Stuck()  # type: ignore[misc]
    engine.step()
    engine.step()
    times = [engine.block(height).signed.header.time_ns for height in (1, 2)]  # type: ignore[union-attr]
    assert times == [GENESIS_NS + 1, GENESIS_NS + 2]


@pytest.mark.parametrize("where", ["finalize", "commit", "announce"])
def test_a_process_that_dies_after_the_block_was_stored_loses_nothing(open_engine, where):
    application = Register()
    engine = open_engine(application)
    engine.submit([b"one"])
    engine.step()
    application.die_in = where
    engine.submit([b"two"])
    with pytest.raises(SystemExit):
        engine.step()
    again = Register(application.durable)
    engine = open_engine(again)
    assert again.seen == [b"one", b"two"]
    assert engine.latest() == 2
    engine.step()
    follow(engine)


def test_a_node_that_starts_again_makes_a_block_at_once(open_engine):
    """What an application brings back is the state after the last block, and the next header proves it."""
    application = Register()
    engine = open_engine(application)
    for _ in range(3):
        engine.step()
    again = open_engine(Register(application.durable))
    again.start()
    wait_height(again, 4)
    follow(again)


def test_an_application_that_lost_its_file_plays_all_blocks(open_engine):
    engine = open_engine(Register())
    for n in range(5):
        engine.submit([b"%d" % n])
        engine.step()
    again = Register()
    engine = open_engine(again)
    assert len(again.seen) == 5
    follow(engine)


def test_an_application_ahead_of_the_blocks_is_refused(open_engine):
    application = Register()
    application.durable.append((ApplicationInfo(7, merkle.EMPTY), []))
    with pytest.raises(HeaderInvalid, match="application is at block 7"):
        open_engine(application)


def test_a_block_that_does_not_follow_is_refused(open_engine):
    application = Register()
    engine = open_engine(application)
    for raw in (b"one", b"two"):
        engine.submit([raw])
        engine.step()
    info, seen = application.durable[0]
    forged = ApplicationInfo(info.height, merkle.root([b"other"]), info.outcomes, info.validators)
    with pytest.raises(HeaderInvalid, match="does not follow"):
        open_engine(Register([(forged, seen)]))


def test_a_key_without_majority_is_refused(open_engine):
    with pytest.raises(ConfigurationError, match="two thirds"):
        open_engine(Register(), ValidatorKey(SecretBytes(b"x" * 32)))


def test_an_update_that_takes_the_majority_stops_the_engine(open_engine):
    application = Register()
    engine = open_engine(application)
    application.updates = (ValidatorUpdate(OTHER, 100),)
    engine.start()
    wait_stopped(engine)
    with pytest.raises(UnavailableError):
        engine.submit([b"one"])


def test_validator_updates_act_two_blocks_later(open_engine):
    application = Register()
    engine = open_engine(application)
    application.updates = (ValidatorUpdate(OTHER, 1),)
    engine.step()
    application.updates = ()
    engine.step()
    engine.step()
    sizes = [len(engine.block(height).validators.validators) for height in (1, 2, 3)]  # type: ignore[union-attr]
    assert sizes == [1, 1, 2]
    follow(engine)


def wait_stopped(engine: EmbeddedEngine) -> None:
    assert engine._thread is not None
    engine._thread.join(20)
    assert engine.failure is not None


def test_heights_wakes_its_reader(open_engine):
    engine = open_engine(Register())
    engine.start()
    wait_height(engine, 1)

    async def read() -> list[int]:
        seen = []
        async with heights(engine) as newest:
            async for height in newest:
                seen.append(height)
                if height >= 3:
                    return seen
                await asyncio.to_thread(engine.submit, [b"%d" % height])
        raise AssertionError

    seen = asyncio.run(read())
    assert seen == sorted(set(seen))
