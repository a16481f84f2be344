"""What stays on the disk of a node that prunes its history, file by file: our two databases, and CometBFT's directory.

    python benchmarks/disk.py [--seconds 30] [resting] [busy]

One validator on real CometBFT makes blocks as fast as it can, for some time: blocks without transactions, or rounds of
CALLS calls, their result, and the proof block of each. Windows are seconds instead of days, so that a run makes many
times the blocks that are kept; evidence counts as briefly. At the end everything is weighed as it lies there, and
CometBFT's databases once more after its own tool has compacted them: the difference is what was deleted and not yet
given back.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
from bare import SECOND, VALIDATOR_SEED, Bare
from cometbft import asked
from measure import tell

from keephold.base.errors import UnavailableError
from keephold.crypto.secret import SecretBytes
from keephold.ledger import index
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import Engine
from keephold.ledger.engines.cometbft import engine as comet_engine
from keephold.ledger.engines.cometbft import home as comet_home
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.programs.cometbft import DIRECTORY, CometConfig, open_comet_engine
from keephold.programs.history import shelf_of
from keephold.protocol.transactions import transaction_id
from keephold.testing.comet.binary import comet_binary
from keephold.testing.ports import free_ports

Row = dict[str, float | str]
KINDS = ("resting", "busy")
SECONDS = 30.0
CALLS = 10
"""Of a round, which is four blocks."""
WINDOW_SECONDS = 5
EVIDENCE_SECONDS = 4
EVIDENCE_BLOCKS = 100
LEAST = 1500
"""Blocks, however slow the machine is."""
PATIENCE_SECONDS = 60.0
HEARTBEAT = {"resting": 0.001, "busy": 30.0}
ROOM = 1 << 30
"""Bytes that a directory in memory needs to be taken: there no disk is waited for, and files have the same sizes."""
MEMORY = Path("/dev/shm")  # noqa: S108 - the directory in it has a name of its own
HEADERS = "header"
ROWS = "block"


class OnComet(Bare):
    """The ledger, with a CometBFT process that orders its blocks."""

    def __init__(self, directory: Path, heartbeat: float) -> None:
        self._heartbeat = heartbeat
        p2p, rpc = free_ports(0, 0)
        self._config = CometConfig(str(comet_binary()), port=p2p, commit=0.0, rpc=f"127.0.0.1:{rpc}")
        self.rpc = f"http://{self._config.rpc}"
        super().__init__(directory)
        self.engine.start()
        self._until(lambda: self.engine.latest() > 0)

    def _engine(self) -> Any:
        seed = SecretBytes(VALIDATOR_SEED)
        shelf = shelf_of(self.directory)
        return open_comet_engine(self.application, self.directory, seed, self._config, self._heartbeat, shelf)

    def ordered(self, raws: list[bytes]) -> None:
        """Have these ordered, and return once they are."""
        refused = [said for said in self.engine.submit(raws) if said.code]
        assert not refused, refused[0]
        last = transaction_id(raws[-1])
        self._until(lambda: self.application.map.query(lambda reader: index.transaction(reader, last)) is not None)

    def _until(self, is_so) -> None:  # noqa: ANN001 - a predicate
        ends = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            if time.monotonic() > ends or self.engine.failure is not None:
                raise UnavailableError(f"nothing comes of it: {self.engine.failure}")
            time.sleep(0.002)


def weigh(kind: str, seconds: float = SECONDS) -> Row:
    """Return what a kind of block leaves on the disk."""
    logging.getLogger("keephold.node").setLevel(logging.ERROR)  # the genesis is old, and nobody is to follow it
    comet_home._EVIDENCE_AGE_NS = EVIDENCE_SECONDS * SECOND  # noqa: SLF001 - nothing lasts two days here
    comet_home.EVIDENCE_BLOCKS = comet_engine.EVIDENCE_BLOCKS = EVIDENCE_BLOCKS
    with place() as directory:
        ledger = OnComet(directory, HEARTBEAT[kind])
        archive: Archive = Archive(ledger.application, engine_of(ledger))
        keeper = Housekeeper(archive, shelf_of(directory), Habits(window_ns=WINDOW_SECONDS * SECOND))
        keeper.start()
        ends = time.monotonic() + seconds
        while time.monotonic() < ends or (
            ledger.engine.latest() < LEAST and time.monotonic() < ends + PATIENCE_SECONDS
        ):
            if kind == "resting":
                time.sleep(0.1)
            else:
                ledger.ordered(ledger.calls([0] * CALLS))
                ledger.ordered([ledger.result()])
        blocks = ledger.engine.latest()
        said = asked(ledger.rpc, "status")["sync_info"]
        kept = int(said["latest_block_height"]) - int(said["earliest_block_height"]) + 1
        keeper.stop()
        ledger.close()
        if kept > blocks / 2:
            raise RuntimeError(f"{kept} of {blocks} blocks are kept: too few to tell what grows from what is kept")
        return (
            {"kind": kind, "blocks": blocks, "kept": kept} | ours(directory, blocks) | comets(directory, blocks, kept)
        )


def engine_of(ledger: OnComet) -> Engine:
    return ledger.engine


def ours(directory: Path, blocks: int) -> Row:
    """Return what our two databases hold, by what grows with every block and what does not."""
    tables: dict[str, int] = {}
    size = 0
    for path in directory.glob("*.db"):
        with contextlib.closing(apsw.Connection(str(path))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            tables |= dict(connection.execute("SELECT name, sum(pgsize) FROM dbstat GROUP BY name"))
        size += path.stat().st_size
    return {
        "headers_bytes_per_block": tables[HEADERS] / blocks,
        "rows_bytes_per_block": tables[ROWS] / blocks,
        "rest_mb": (size - tables[HEADERS] - tables[ROWS]) / 1e6,
    }


def comets(directory: Path, blocks: int, kept: int) -> Row:
    """Return what CometBFT's directory holds, before and after its databases are compacted."""
    data = directory / DIRECTORY / "data"
    stores = [data / "blockstore.db", data / "state.db"]
    found = sum(map(size_of, stores))
    command = [str(comet_binary()), "experimental-compact-goleveldb", "--home", str(data.parent)]
    for _ in range(2):  # files that a compaction replaced go when the database is opened the next time
        subprocess.run(command, check=True, capture_output=True)
    left = sum(map(size_of, stores))
    return {
        "log_bytes_per_block": size_of(data / "cs.wal") / blocks,
        "stores_mb": found / 1e6,
        "stores_compacted_mb": left / 1e6,
        "stores_bytes_per_kept_block": left / kept,
        "evidence_mb": size_of(data / "evidence.db") / 1e6,
    }


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Yield a directory in memory, where there is room for it, else on the disk."""
    fits = False
    if MEMORY.is_dir():
        free = os.statvfs(MEMORY)
        fits = free.f_bavail * free.f_frsize >= ROOM
    with tempfile.TemporaryDirectory(prefix="disk-", dir=MEMORY if fits else None) as made:
        yield Path(made)


def alone(kind: str, seconds: float = SECONDS) -> Row:
    """Return the figures of a kind, from a process of its own."""
    tell(f"{kind} blocks, for {seconds:g} s")
    command = [sys.executable, __file__, "--here", kind, "--seconds", str(seconds)]
    told: Row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", choices=[*KINDS, []])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--here", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(weigh(given.here, given.seconds)))
        return
    print(json.dumps([alone(kind, given.seconds) for kind in given.kinds or KINDS], indent=1))


if __name__ == "__main__":
    main()
