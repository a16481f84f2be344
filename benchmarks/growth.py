"""What a node's state costs as it grows: memory, start, a block, a proof, a snapshot and its restoration.

    python benchmarks/growth.py                     10^4, 10^5 and 10^6 slots
    python benchmarks/growth.py --slots 10000       one size

Each size is built once on the disk, as a restored ledger of one contract; each figure is then taken in a process of its
own, so that no size lends memory to another. Values have 160 bytes: a sealed number with its padding.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from keephold.base.ids import ContractId
from keephold.chain.sparse import SparseMap
from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.forge import Chain
from keephold.ledger.map import assembled
from keephold.ledger.overlay import Changes, State
from keephold.ledger.snapshots.content import chunked
from keephold.ledger.snapshots.restore import verified
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.snapshots.take import pages
from keephold.protocol.codec import encode
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import Deploy, sign, transaction_id
from keephold.protocol.wire import TransactionResult

SIZES = (10**4, 10**5, 10**6)
VALUE = 160
"""Bytes of a sealed slot."""
WRITES = 128
"""Slots that a block writes."""
SECOND = 10**9
KEY = SigningKey(SecretBytes(b"c" * 32))
VALIDATOR = ValidatorKey(SecretBytes(b"v" * 32))
CREATOR = KEY.public
POLICY = ContractPolicy()
CODE = Code("python", b"pass", "Token", b"{}")


def genesis() -> Genesis:
    policy = AttestationPolicy((), (), 3600 * SECOND)
    law = Constitution(
        GovernanceRules((bytes(32),), 1, 0),
        policy,
        CommitteeRules(1, 1, SECOND),
        Timing(SECOND, SECOND, SECOND),
        (ValidatorEntry(VALIDATOR.public, 10),),
    )
    return Genesis("growth", SECOND, bytes(32), law, simulated=True)


def tag(number: int) -> bytes:
    return hashlib.sha256(b"slot %d" % number).digest()


def value(number: int, version: int = 0) -> bytes:
    return hashlib.shake_256(b"%d %d" % (number, version)).digest(VALUE)


def contract() -> ContractId:
    return contract_id(network_id(genesis()), CREATOR, 0, code_hash(CODE), POLICY)


def record(slots: SparseMap, deployment: bytes) -> bytes:
    return encode(ContractRecord(CREATOR, 0, code_hash(CODE), deployment, POLICY, "active", state_root=slots.root))


def block_row(state: State, ids: tuple[bytes, ...] = (), digest: bytes = bytes(32)) -> index.BlockRow:
    results = tuple(TransactionResult() for _ in ids)
    return index.BlockRow(state.height, digest, state.time_ns, state.values.root, ids, results)


class OneBlock:
    """As much of an engine as a snapshot of block 1 needs."""

    def __init__(self, deploy: bytes) -> None:
        validators = ValidatorSet.of([Validator(VALIDATOR.public, 10)])
        chain = Chain("c" * 43, SECOND, validators, validators, None, bytes(32), ())
        self.stored = chain.next_block([deploy], 2 * SECOND, VALIDATOR)

    def first(self) -> int:
        return 2

    def block(self, _: int) -> StoredBlock:
        return self.stored


def fill(directory: Path, slots: int) -> None:
    """Make the ledger of a size, at block 1."""
    deploy = sign(network_id(genesis()), KEY, 0, Deploy(CODE, POLICY))
    identity = transaction_id(deploy)
    made = SparseMap.of((tag(number), value(number)) for number in range(slots))
    values = SparseMap.of([(contract_path(contract()), record(made, identity))])
    state = assembled(genesis(), 1, 2 * SECOND, values, {contract(): made}, {}, ())
    application = LedgerApplication(genesis(), directory)
    header = OneBlock(deploy).stored.signed.header

    def write(connection) -> None:  # noqa: ANN001 - apsw's
        index.write_block(connection, block_row(state, (identity,), header.hash()))
        index.write_transactions(connection, [index.TransactionRow(identity, 1, 0, 0, "", "deploy", CREATOR)])
        index.write_contracts(connection, [(contract(), 1, 0)])
        index.keep(connection, [(identity, deploy)])

    application.adopt(state, write)
    application.close()


# --- what is measured, each in a process of its own ---


def start(directory: Path) -> dict[str, float]:
    """Memory and time of a start, then of blocks of WRITES slots, and of a proof."""
    before = memory("VmRSS")
    begun = time.perf_counter()
    application = LedgerApplication(genesis(), directory)
    started = time.perf_counter() - begun
    grown, peak = memory("VmRSS") - before, memory("VmHWM") - before
    pauses = []
    for prepare in (gc.collect, gc.freeze):
        prepare()
        begun = time.perf_counter()
        gc.collect()
        pauses.append(time.perf_counter() - begun)
    state = application.map.newest
    begun = time.perf_counter()
    for height in range(2, 12):
        state = write_block(application, state, height)
    block = (time.perf_counter() - begun) / 10
    begun = time.perf_counter()
    for number in range(1000):
        state.slots[contract()].prove(tag(number))
    proof = (time.perf_counter() - begun) / 1000
    application.close()
    return {
        "start_s": started,
        "memory_mb": grown / 1e6,
        "peak_mb": peak / 1e6,
        "block_ms": block * 1e3,
        "proof_us": proof * 1e6,
        "collection_ms": pauses[0] * 1e3,
        "collection_frozen_ms": pauses[1] * 1e3,
    }


def write_block(application: LedgerApplication, state: State, height: int) -> State:
    """Write WRITES slots, durable, as a block does; leaves all else of a block out."""
    changed = {tag(number * 7919 % len(state.slots[contract()])): value(number, height) for number in range(WRITES)}
    slots = state.slots[contract()].update(sorted(changed.items()))
    path, entry = contract_path(contract()), record(slots, bytes(32))
    values = state.values.put(path, entry)
    after = assembled(genesis(), height, (height + 1) * SECOND, values, {contract(): slots}, {}, ())
    changes = Changes({path: entry}, {(contract(), at): item for at, item in changed.items()}, {}, ())
    application.map.commit(after, changes, index.BlockRows(block_row(after), (), (), (), ()))
    return after


def snapshot(directory: Path) -> dict[str, float]:
    """Size of a snapshot, and the time to take it and to restore it."""
    application = LedgerApplication(genesis(), directory)
    ((raw,),) = application.map.query(lambda reader: reader.execute("SELECT raw FROM kept").fetchall())
    engine = OneBlock(raw)
    newest = application.map.newest
    begun = time.perf_counter()
    shelf = Shelf(directory / "shelf")
    root = newest.values.root
    manifest = shelf.put(application.network, 1, root, chunked(pages(Archive(application, engine), newest)))
    taken = time.perf_counter() - begun
    content = directory / "shelf" / "1.snapshot"
    (directory / "again").mkdir()
    other = LedgerApplication(genesis(), directory / "again")
    begun = time.perf_counter()
    with content.open("rb") as file:
        restored = verified(file, genesis(), other.network, root, engine.stored.signed.header.hash())
    other.adopt(restored.state, restored.write)
    figures = {
        "snapshot_mb": content.stat().st_size / 1e6,
        "chunks": len(manifest.chunks),
        "take_s": taken,
        "restore_s": time.perf_counter() - begun,
    }
    other.close()
    application.close()
    return figures


def memory(field: str) -> int:
    """Return the bytes of this process that are in memory (VmRSS), or were at most (VmHWM)."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


def on_disk(directory: Path) -> dict[str, float]:
    return {"disk_mb": sum(path.stat().st_size for path in directory.glob("ledger.db*")) / 1e6}


MEASURES: dict[str, Callable[[Path], dict[str, float]]] = {"disk": on_disk, "snapshot": snapshot, "start": start}


def measure(slots: int) -> dict[str, float]:
    """Return all figures of one size."""
    with tempfile.TemporaryDirectory(prefix="growth-") as place:
        alone("fill", Path(place), slots)
        figures: dict[str, float] = {"slots": slots}
        for name in MEASURES:
            figures |= alone(name, Path(place), slots)
        figures["bytes_per_slot"] = figures["memory_mb"] * 1e6 / slots
        return figures


def alone(name: str, place: Path, slots: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", name, "--place", str(place), "--slots", str(slots)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def show(rows: Iterable[dict[str, float]]) -> None:
    for row in rows:
        print("  ".join(f"{name} {number:.4g}" for name, number in row.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slots", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--measure", choices=["fill", *MEASURES], help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is None:
        show(map(measure, given.slots))
        return
    (slots,) = given.slots
    figures: dict[str, float] = {}
    if given.measure == "fill":
        fill(given.place, slots)
    else:
        figures = MEASURES[given.measure](given.place)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
