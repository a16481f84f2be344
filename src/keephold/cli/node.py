"""`keephold node`: the node of a directory, in the foreground, supervised."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import ConfigurationError
from keephold.cli.place import SHARED, Shared
from keephold.programs.comet_binary import require
from keephold.programs.config import event, log_to_stderr
from keephold.programs.members import CONFIG
from keephold.programs.node import read_config
from keephold.programs.restarts import Ending, Killing, Running, State, Waiting
from keephold.programs.supervisor import supervise

_LOG: Final = logging.getLogger("keephold.supervisor")


def node(
    *,
    home: Annotated[Path, Parameter(help="Directory of the node, with its node.toml.")],
    shared: Shared = SHARED,  # noqa: ARG001 - every command takes --json; this one's lines are JSON in any case
) -> None:
    """Run a node until it is told to end: the API, the ledger, and CometBFT beside it; log lines on standard error.

    When either dies both are started again, a bounded number of times; what starting again does not cure ends it at
    once, with status 12 and the reason.
    """
    path = home / CONFIG
    if not path.exists():
        raise ConfigurationError(f"--home {home}: no {CONFIG} there; `keephold network init` writes one")
    config = read_config(path)
    if config.engine == "cometbft":
        require(config.cometbft.binary)
    log_to_stderr()
    program = [sys.executable, "-m", "keephold.programs.node", "--config", str(path)]
    supervise(lambda parent, report: [*program, "--parent", str(parent), "--report", str(report)], _tell)


def _tell(state: State) -> None:
    match state:
        case Running(deaths=deaths):
            event(_LOG, "started again", deaths=deaths)
        case Waiting(deaths=deaths):
            event(_LOG, "the node died and will be started again", logging.WARNING, deaths=deaths)
        case Ending():
            event(_LOG, "ending")
        case Killing():
            event(_LOG, "the node does not end by itself and is killed", logging.WARNING)
        case _:
            pass
