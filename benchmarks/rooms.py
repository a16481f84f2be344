"""What grows with an inbox, with contracts, with validators and with time: one room each, in a process of its own.

    python benchmarks/rooms.py                          all of it, as JSON
    python benchmarks/rooms.py inbox 100 1000           one room at these sizes

Each size is measured in a process of its own, so that none lends memory to another.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import apsw
from bare import SECOND, Bare, bare, contract
from growth import memory
from measure import median, tell

from keephold.base.ids import ContractId, NetworkId
from keephold.chain.header import BlockIdFlag, CommitSig, SignedHeader
from keephold.chain.validators import Validator, ValidatorSet, encode_validator_set
from keephold.chain.vote import Precommits
from keephold.chain.wire import encode_signed_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.light_client import TrustedState, verify_adjacent, verify_skipping
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.forge import Chain
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.shelf import Shelf
from keephold.protocol.codec import encode
from keephold.protocol.state import contract_path
from keephold.protocol.wire import InboxRequest, Interest
from keephold.sealing.contract_keys import ContractKeys

Figures = dict[str, float]
BATCH = 128
"""Calls of a block."""
TIMES = 5


def timed(work: Callable[[], object], times: int = TIMES) -> float:
    """Return the median of milliseconds."""
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        spent.append(time.perf_counter() - begun)
    return median(spent) * 1e3


# --- inbox: calls that wait ---


def inbox(waiting: int) -> Figures:
    """Let calls wait in one inbox; measure what the next ones cost, a result, and what a worker gets."""
    with bare() as ledger:
        left = waiting
        appends = []
        while left:
            raws = ledger.calls([0] * min(left, BATCH))
            left -= len(raws)
            begun = time.perf_counter()
            height = ledger.block(raws)
            appends.append((time.perf_counter() - begun) / len(raws))
        ledger.block()
        interest = Interest(paths=(contract_path(contract(0)),), contracts=(contract(0),))
        frame = ledger.reader.frame(height, interest)
        page = InboxRequest(contract(0), 1)
        pages = ledger.reader.inbox(page)
        proof = ledger.reader.frame(height + 1, interest)
        figures = {
            "append_ms": median(appends[-TIMES:]) * 1e3,
            "frame_ms": timed(lambda: ledger.fresh().frame(height, interest)),
            "frame_bytes": len(encode(frame)),
            "proof_bytes": sum(len(item.proof) + len(item.value) for item in proof.values),
            "page_ms": timed(lambda: ledger.fresh().inbox(page)),
            "page_bytes": len(encode(pages)),
            "page_entries": len(pages.entries),
        }
        spent = []
        for _ in range(min(TIMES, -(-waiting // BATCH))):
            raw = ledger.result()
            begun = time.perf_counter()
            ledger.block([raw])
            spent.append(time.perf_counter() - begun)
        return figures | {"result_ms": median(spent) * 1e3}


# --- contracts ---


def contracts(number: int) -> Figures:
    """Let a ledger have contracts; measure blocks, one follower's frame, and the keys that a worker has of each."""
    before = memory("VmRSS")
    with bare(number) as ledger:
        ledger.block()
        gc.collect()
        held = memory("VmRSS") - before
        empty = timed(ledger.block, 40)
        one = timed(lambda: ledger.block(ledger.calls([0] * BATCH)))
        spread = timed(lambda: ledger.block(ledger.calls([at % number for at in range(BATCH)])))
        interest = Interest(paths=(contract_path(contract(0)),), contracts=(contract(0),))
        height = ledger.block(ledger.calls([at % number for at in range(BATCH)]))
        ledger.block()
        frame = ledger.reader.frame(height, interest)
        figures = {
            "memory_mb": held / 1e6,
            "empty_block_ms": empty,
            "block_to_one_ms": one,
            "block_to_all_ms": spread,
            "frame_ms": timed(lambda: ledger.fresh().frame(height, interest)),
            "frame_bytes": len(encode(frame)),
        }
    before = memory("VmRSS")
    begun = time.perf_counter()
    seeds = (SecretBytes(hashlib.sha256(b"seed %d" % at).digest()) for at in range(number))
    keys = [ContractKeys(seed, NetworkId(bytes(32)), ContractId(contract(at)), 1) for at, seed in enumerate(seeds)]
    spent = time.perf_counter() - begun
    figures |= {"keys_ms": spent / len(keys) * 1e3, "keys_kb": (memory("VmRSS") - before) / len(keys) / 1e3}
    return figures


# --- validators ---


def signed_by_all(stored: StoredBlock, keys: Mapping[bytes, ValidatorKey]) -> SignedHeader:
    """Return the header with the votes of all its validators in place of the one that the embedded engine has."""
    header, commit = stored.signed.header, stored.signed.commit
    precommits = Precommits(header.chain_id, header.height, 0, commit.block_id)
    votes = tuple(
        CommitSig(
            BlockIdFlag.COMMIT,
            item.address,
            header.time_ns + at,
            keys[item.public_key].sign(precommits.sign_bytes(header.time_ns + at)),
        )
        for at, item in enumerate(stored.validators.validators)
    )
    return SignedHeader(header, replace(commit, signatures=votes))


def validators(number: int) -> Figures:
    """Have a block signed by validators; measure what it costs to follow."""
    seeds = [SecretBytes(hashlib.sha256(b"validator %d" % at).digest()) for at in range(number)]
    keys = {key.public: key for key in map(ValidatorKey, seeds)}
    members = ValidatorSet.of(Validator(public, 10) for public in keys)
    name = "c" * 43
    chain = Chain(name, SECOND, members, members, None, bytes(32), ())
    first = next(iter(keys.values()))
    headers: list[SignedHeader] = []
    for height in range(1, 4):
        stored = chain.next_block([], (height + 1) * SECOND, first)
        signed = signed_by_all(stored, keys)
        headers.append(signed)
        chain = chain.after(replace(stored, signed=signed), members, bytes(32), ())
    origin = TrustedState.from_genesis(name, members, SECOND)
    trusted = verify_adjacent(origin, headers[0], members, members, 3 * SECOND)
    return {
        "adjacent_ms": timed(lambda: verify_adjacent(trusted, headers[1], members, members, 9 * SECOND), 20),
        "skipping_ms": timed(lambda: verify_skipping(trusted, headers[2], members, members, 9 * SECOND), 20),
        "header_bytes": len(encode_signed_header(headers[1])),
        "set_bytes": len(encode_validator_set(members)),
    }


# --- time ---

LOOKS = 12
"""Looks at memory and disk, evenly over the rounds after the warm-up."""
WARM_BLOCKS = 1600
"""Blocks before the first look: what a node keeps of recent blocks, versions and headers is there."""
CALLS = 10
"""Calls of a round."""
ROUND_SECONDS = 1.0
HEARTBEAT_SECONDS = 30.0
WINDOW_SECONDS = 120.0
"""Of history that a pruning node keeps."""


def idle(rounds: int) -> Figures:
    """Let heartbeats pass: blocks without transactions."""
    with bare() as ledger:
        return _passing(ledger, lambda: ledger.block(seconds=HEARTBEAT_SECONDS), rounds, WARM_BLOCKS)


def busy(rounds: int) -> Figures:
    """Let rounds pass: a block of calls, one of their result, and the proof block of each."""
    with bare() as ledger:
        return _passing(ledger, lambda: _round(ledger), rounds, WARM_BLOCKS // 4)


def pruned(rounds: int) -> Figures:
    """Let rounds pass on a ledger that forgets what is older than WINDOW_SECONDS; and take a snapshot of it."""
    with bare() as ledger:
        archive = Archive(ledger.application, ledger.engine)
        keeper = Housekeeper(archive, Shelf(ledger.directory / "shelf"), Habits(window_ns=int(WINDOW_SECONDS * SECOND)))
        spent: list[float] = []

        def one() -> None:
            height = _round(ledger)
            begun = time.perf_counter()
            keeper.tidy(height)
            spent.append(time.perf_counter() - begun)

        figures = _passing(ledger, one, rounds, max(WARM_BLOCKS // 4, int(WINDOW_SECONDS / ROUND_SECONDS * 2)))
        return figures | {"pruning_ms_per_round": sum(spent) / len(spent) * 1e3, "window_s": WINDOW_SECONDS}


def _round(ledger: Bare) -> int:
    quarter = ROUND_SECONDS / 4
    ledger.block(ledger.calls([0] * CALLS), quarter)
    ledger.block(seconds=quarter)
    ledger.block([ledger.result()], quarter)
    return ledger.block(seconds=quarter)


def _passing(ledger: Bare, one: Callable[[], object], rounds: int, warm: int) -> Figures:
    """Return what a round adds to memory and disk, by least squares, and how far off that may be.

    SQLite's memory is left out of the process's, and told beside it: its caches fill until they are full, which is no
    growth that goes on.
    """
    for _ in range(warm):
        one()
    each = max(1, rounds // LOOKS)
    looks: list[tuple[int, float, float]] = []
    begun = time.perf_counter()
    for at in range(rounds + 1):
        if at % each == 0:
            gc.collect()
            looks.append((at, memory("VmRSS") - apsw.memory_used(), _disk(ledger.directory)))
        one()
    spent = time.perf_counter() - begun
    figures: Figures = {"rounds": rounds, "round_ms": spent / (rounds + 1) * 1e3}
    for name, at in (("memory", 1), ("disk", 2)):
        base, slope, error = fit([look[0] for look in looks], [look[at] for look in looks])
        figures |= {f"{name}_mb": base / 1e6, f"{name}_bytes_per_round": slope, f"{name}_error_bytes_per_round": error}
    return figures | {"sqlite_mb": apsw.memory_used() / 1e6}


def _disk(directory: Path) -> float:
    """Return the bytes of both databases, without their write-ahead logs: those are bounded and come and go."""
    return float(sum(path.stat().st_size for path in directory.glob("*.db")))


def fit(at: Sequence[float], values: Sequence[float]) -> tuple[float, float, float]:
    """Return base and slope of the line through the points, by least squares, and twice the slope's standard error."""
    slope, base = statistics.linear_regression(at, values)
    off = sum((value - base - slope * x) ** 2 for x, value in zip(at, values, strict=True))
    spread = sum((x - statistics.mean(at)) ** 2 for x in at)
    return base, slope, 2 * math.sqrt(off / max(1, len(at) - 2) / spread)


ROOMS: dict[str, tuple[Callable[[int], Figures], tuple[int, ...]]] = {
    "inbox": (inbox, (100, 1_000, 10_000)),
    "contracts": (contracts, (10, 100, 1_000)),
    "validators": (validators, (1, 4, 16, 50, 100, 150)),
    "idle": (idle, (4_800,)),
    "busy": (busy, (720,)),
    "pruned": (pruned, (480,)),
}


def alone(room: str, size: int) -> Figures:
    """Return the figures of one room at one size, from a process of its own."""
    command = [sys.executable, __file__, "--here", room, str(size)]
    told: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {"size": size, **told}


def every(rooms: Mapping[str, Sequence[int]]) -> dict[str, list[Figures]]:
    """Return each room's figures, one for each size."""
    found: dict[str, list[Figures]] = {}
    for room, sizes in rooms.items():
        tell(f"{room}: {', '.join(map(str, sizes))}")
        found[room] = [alone(room, size) for size in sizes]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", nargs="?", choices=[*ROOMS])
    parser.add_argument("sizes", nargs="*", type=int)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(ROOMS[given.room][0](*given.sizes)))
        return
    chosen = {given.room: tuple(given.sizes) or ROOMS[given.room][1]} if given.room else SIZES
    print(json.dumps(every(chosen), indent=2))


SIZES = {room: sizes for room, (_, sizes) in ROOMS.items()}

if __name__ == "__main__":
    main()
