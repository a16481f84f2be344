"""A validator that proposes what it should not, and says yes to it: the application behind a real CometBFT, altered.

While the file `HOME/propose` names a `Mischief`, this node's `PrepareProposal` does that, and its `ProcessProposal`
accepts everything; each time is a line in `HOME/proposed`: how many transactions an honest node would have proposed.
Without the file the node is honest. What any node refuses in `ProcessProposal` becomes a line in `HOME/refused`: the
number of transactions of the proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from keephold.base.limits import MAX_TRANSACTION
from keephold.ledger.application import LedgerApplication

Mischief = Literal["garbage", "unsigned", "twice", "oversize", "overflow", "reversed", "nothing"]

FILE: Final = "propose"
PROPOSED: Final = "proposed"
REFUSED: Final = "refused"


def _unsigned(raws: Sequence[bytes]) -> tuple[bytes, ...]:
    """Put a transaction under another signature: the last byte of each is flipped."""
    return tuple(raw[:-1] + bytes([raw[-1] ^ 1]) for raw in raws) or (b"unsigned",)


_MISCHIEF: Final[Mapping[Mischief, Callable[[tuple[bytes, ...], int], tuple[bytes, ...]]]] = {
    "garbage": lambda raws, _: (*raws, b"\x00garbage"),
    "unsigned": lambda raws, _: _unsigned(raws),
    "twice": lambda raws, _: raws * 2 or (b"twice",) * 2,
    "oversize": lambda raws, _: (*raws, bytes(MAX_TRANSACTION + 1)),
    "overflow": lambda _, max_bytes: (bytes(max_bytes + (1 << 16)),),  # which its own CometBFT does not let out
    "reversed": lambda raws, _: raws[::-1],
    "nothing": lambda _, __: (),
}


def make_rogue(home: Path) -> None:
    """Make every ledger of this process propose as it is told."""
    prepare, process = LedgerApplication.prepare, LedgerApplication.process

    def mischief() -> str:
        try:
            return (home / FILE).read_text()
        except FileNotFoundError:
            return ""

    def rogue_prepare(ledger: LedgerApplication, raws: Sequence[bytes], max_bytes: int) -> tuple[bytes, ...]:
        honest = prepare(ledger, raws, max_bytes)
        for name, alter in _MISCHIEF.items():
            if name == mischief():
                with (home / PROPOSED).open("a") as proposed:
                    proposed.write(f"{len(honest)}\n")
                return alter(honest, max_bytes)
        return honest

    def rogue_process(ledger: LedgerApplication, raws: Sequence[bytes]) -> bool:
        if mischief():
            return True
        accepted = process(ledger, raws)
        if not accepted:
            with (home / REFUSED).open("a") as refused:
                refused.write(f"{len(raws)}\n")
        return accepted

    setattr(LedgerApplication, "prepare", rogue_prepare)  # noqa: B010 - mypy takes no assignment to a method
    setattr(LedgerApplication, "process", rogue_process)  # noqa: B010 - as above
