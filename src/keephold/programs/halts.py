"""Why a node stopped, and whether starting it again would help: a table over what was said last.

CometBFT and SQLite give their reasons as sentences, so sentences are what is looked for: those of CometBFT v0.38 and
v0.39, of its LevelDB, and of SQLite. What is not in the table is taken for an accident, and the node is started again,
a bounded number of times (`restarts`). A sentence that a later version words differently therefore costs some useless
starts, never a wrong state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from keephold.base.errors import Halted


@dataclass(frozen=True, slots=True)
class Halt:
    """A reason that starting again does not cure."""

    reason: str
    """Stable word."""
    said: re.Pattern[str]
    advice: str
    """What the operator can do."""


def _halt(reason: str, said: str, advice: str) -> Halt:
    return Halt(reason, re.compile(said, re.IGNORECASE), advice)


HALTS: Final = (
    _halt(
        "disk_full",
        r"no space left on device|database or disk is full|disk quota exceeded",
        "free space and start the node again: nothing that was acknowledged is lost",
    ),
    _halt(
        "port_taken",
        r"address already in use",
        "another program listens on a port of node.toml: end it, or take another port",
    ),
    _halt(
        "in_use",
        r"resource temporarily unavailable|database is locked",
        "another process works on this directory: two nodes must never share one",
    ),
    _halt(
        "app_hash",
        r"wrong Block\.Header\.(AppHash|LastResultsHash)|AppHash does not match|does not match app's AppHash"
        r"|state after replay does not match",
        "this node computed another state than the network ordered: keep a copy of its directory, find the difference "
        "with `keephold debug diff-state`, check that its version is the network's, and set it up anew",
    ),
    _halt(
        "version",
        r"cometbft: ABCI \S+ is not|wrong Block\.Header\.Version|block protocol|software version",
        "run the CometBFT that `keephold doctor` calls supported, and the keephold that the network runs",
    ),
    _halt(
        "genesis",
        r"cometbft: its genesis|genesis doc|wrong Block\.Header\.(ChainID|ValidatorsHash|ConsensusHash)",
        "home and genesis are of two networks: compare genesis.bin with another member's",
    ),
    _halt(
        "store",
        r"corrupt|malformed|file is not a database|checksum mismatch|is higher than core|too far below block store"
        r"|StoreBlockHeight \(|height mismatch|uncovered case!|could not find block|WAL does not contain"
        r"|wal should not contain|lead to another root|unexpected end of JSON",
        "what is on the disk is damaged or of two copies: restore the whole directory from one backup, or set the node "
        "up anew; a validator keeps its priv_validator_state.json",
    ),
    _halt(
        "consensus",
        r"CONSENSUS FAILURE",
        "CometBFT stopped at something that should not happen: keep the log and the directory",
    ),
)
"""In order: the first that was said is the reason."""


def diagnose(said: str) -> Halted | None:
    """Return the reason in a last word that starting again does not cure, or None."""
    for halt in HALTS:
        if halt.said.search(said):
            return Halted(halt.reason, f"{said} — {halt.advice}")
    return None
