"""What a test does to a node's disk: images of it, taken in the midst of things, and put back."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from keephold.testing.processes import tree

APPLICATION = ("ledger.db", "ledger.db-wal", "ledger.db-shm", "blocks.db", "blocks.db-wal", "blocks.db-shm")
COMET = ("cometbft/data",)
SIGNED = "cometbft/data/priv_validator_state.json"


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a node and its CometBFT wherever they are, as a power cut does; let them go on afterwards."""
    family = tree(pid)
    for member in family:
        os.kill(member, signal.SIGSTOP)
    try:
        yield
    finally:
        for member in family:
            os.kill(member, signal.SIGCONT)


def copy(home: Path, to: Path) -> Path:
    """Copy a node's home, file by file."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("*.sock", "deaths"))
    return to


def copy_of_the_running(home: Path, to: Path) -> Path:
    """Copy a home whose node goes on writing: each file as it is when its turn comes, and none that is gone by then."""

    def tolerant(source: str, target: str) -> None:
        with suppress(FileNotFoundError):
            shutil.copy(source, target)

    shutil.copytree(home, to, ignore=shutil.ignore_patterns("*.sock", "deaths"), copy_function=tolerant)
    return to


def put_back(image: Path, home: Path, parts: tuple[str, ...] = (*APPLICATION, *COMET)) -> None:
    """Make parts of a home what they are in an image."""
    for part in parts:
        gone, new = home / part, image / part
        if gone.is_dir():
            shutil.rmtree(gone)
        else:
            gone.unlink(missing_ok=True)
        if new.is_dir():
            shutil.copytree(new, gone)
        elif new.exists():
            shutil.copy(new, gone)


def cut_tail(path: Path, count: int) -> None:
    """Take the last bytes of a file away."""
    with path.open("r+b") as file:
        file.truncate(max(0, path.stat().st_size - count))
