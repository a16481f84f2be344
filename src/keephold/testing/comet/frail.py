"""A node whose application dies where it is told to: `python -m keephold.testing.comet.frail --config node.toml`.

It is the production node. But when the file `HOME/die` appears, the process kills itself, as `kill -9` would, the next
time it comes to the moment that the file names; the file is gone then, so whoever starts it again gets a node that
lives. The moments are those in which a crash could cost something:

    finalize     before a block is computed
    finalized    the block is computed, and nobody was told
    commit       before anything of it is written
    committing   inside SQLite's commit
    committed    the block is durable, and nobody was told
"""

from __future__ import annotations

import argparse
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, final

from keephold.ledger.application import LedgerApplication
from keephold.programs import node

Moment = Literal["finalize", "finalized", "commit", "committing", "committed"]

FILE: Final = "die"


@final
class Order:
    """The file that says when to die."""

    def __init__(self, home: Path) -> None:
        self._file: Final = home / FILE

    def reached(self, moment: Moment) -> None:
        """Die, if this is the moment."""
        try:
            if self._file.read_text() != moment:
                return
        except FileNotFoundError:
            return
        self._file.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def make_frail(order: Order) -> None:
    """Make every ledger of this process die on order."""

    def committing() -> bool:
        order.reached("committing")
        return False

    def between(method: str, before: Moment, after: Moment) -> None:
        original: Callable[..., Any] = getattr(LedgerApplication, method)

        def wrapped(ledger: LedgerApplication, *arguments: object) -> Any:
            order.reached(before)
            writer = ledger.map._writer  # noqa: SLF001 - the only way into SQLite's commit
            writer.set_commit_hook(committing)
            done = original(ledger, *arguments)
            order.reached(after)
            return done

        setattr(LedgerApplication, method, wrapped)

    between("finalize", "finalize", "finalized")
    between("commit", "commit", "committed")


def main() -> None:
    """Start the node."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", required=True, type=Path)
    make_frail(Order(Path(node.read_config(parser.parse_args().config).home)))
    node.main()


if __name__ == "__main__":
    main()
