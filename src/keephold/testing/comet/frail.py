"""A node that dies where it is told to: `python -m keephold.testing.comet.frail --config node.toml`.

It is the production node. But when the file `HOME/die` appears, whoever the file names is killed, as `kill -9` would,
the next time the process comes to the moment that the file names: the application (this process), CometBFT, or both.
The file is gone then, so whoever starts them again gets a node that lives. The moments are those of CometBFT's
connection in which a crash could cost something:

    finalize     FinalizeBlock was asked, and nothing is computed
    finalized    the block is computed, and CometBFT was not told
    commit       CometBFT was told and asks for Commit; nothing is written
    committing   inside SQLite's commit
    committed    the block is durable, and CometBFT was not told

So that nobody has to believe it, the last thing before the killing is a line in `HOME/deaths` (`Death`): the block
under way, and the newest block that another connection finds in the ledger's file just then.

CometBFT has moments of its own, numbered by its authors (`FAIL_TEST_INDEX`). A file `HOME/comet-fails` with such a
number arms the CometBFT of the next start, once.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, final

import msgspec

from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.sqlite import connect
from keephold.programs import node
from keephold.testing.comet import liar, rogue
from keephold.testing.processes import command, tree

Moment = Literal["finalize", "finalized", "commit", "committing", "committed"]
Victim = Literal["application", "comet", "both"]

FILE: Final = "die"
DEATHS: Final = "deaths"
COMET_FAILS: Final = "comet-fails"


class Death(msgspec.Struct, frozen=True):
    """What the process saw before it killed."""

    moment: Moment
    victim: Victim
    height: int
    """Of the block under way."""
    durable: int
    """Of the newest block in the ledger's file, read through another connection."""
    comet: int
    """Process id of the CometBFT that was killed; 0: it was not a victim."""


@final
class Order:
    """The file that says when who has to die."""

    def __init__(self, home: Path) -> None:
        self._home: Final = home
        self._file: Final = home / FILE

    def reached(self, moment: Moment, height: int) -> None:
        """Kill, if this is the moment."""
        try:
            asked, victim = self._file.read_text().split()
        except FileNotFoundError:
            return
        if asked != moment or victim not in {"application", "comet", "both"}:
            return
        comet = 0 if victim == "application" else _comet()
        with (self._home / DEATHS).open("ab") as deaths:
            seen = {"moment": moment, "victim": victim, "height": height, "durable": self._durable(), "comet": comet}
            deaths.write(msgspec.json.encode(seen) + b"\n")
        self._file.unlink()
        if comet:
            _kill(comet)
        if victim != "comet":
            os.kill(os.getpid(), signal.SIGKILL)

    def _durable(self) -> int:
        reader = connect(self._home / "ledger.db")
        try:
            last = index.last_block(reader)
            return 0 if last is None else last.height
        finally:
            reader.close()


def _comet() -> int:
    """Return the process id of this node's CometBFT."""
    (comet,) = (pid for pid in tree(os.getpid())[1:] if Path(command(pid)[0]).name.startswith("cometbft"))
    return comet


def _kill(pid: int) -> None:
    """Kill a process, and return when it is dead."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [])
    finally:
        os.close(descriptor)


def make_frail(order: Order) -> None:
    """Make every ledger of this process come to its moments."""

    def between(method: str, before: Moment, after: Moment) -> None:
        original: Callable[..., Any] = getattr(LedgerApplication, method)

        def wrapped(ledger: LedgerApplication, *arguments: object) -> Any:
            height = ledger.map.newest.height + 1

            def committing() -> bool:
                order.reached("committing", height)
                return False

            order.reached(before, height)
            writer = ledger.map._writer  # noqa: SLF001 - the only way into SQLite's commit
            writer.set_commit_hook(committing)
            done = original(ledger, *arguments)
            order.reached(after, height)
            return done

        setattr(LedgerApplication, method, wrapped)

    between("finalize", "finalize", "finalized")
    between("commit", "commit", "committed")


def arm_comet(home: Path) -> None:
    """Let the CometBFT that this process starts die at one of its own moments, if so ordered."""
    order = home / COMET_FAILS
    if order.exists():
        os.environ["FAIL_TEST_INDEX"] = order.read_text()
        order.unlink()


def main() -> None:
    """Start the node."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True, type=Path)
    home = Path(node.read_config(parser.parse_args().config).home)
    make_frail(Order(home))
    rogue.make_rogue(home)
    liar.make_liar(home)
    arm_comet(home)
    node.main()


if __name__ == "__main__":
    main()
