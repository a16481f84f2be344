"""`keephold node`: the node program of a directory, in the foreground."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import ConfigurationError
from keephold.cli.place import SHARED, Shared
from keephold.programs.comet_binary import require
from keephold.programs.cometbft import CONFIG
from keephold.programs.node import read_config


def node(
    *,
    home: Annotated[Path, Parameter(help="Directory of the node, with its node.toml.")],
    shared: Shared = SHARED,  # noqa: ARG001 - every command takes --json; this one's lines are JSON in any case
) -> None:
    """Run a node until it is told to end: the API, the ledger, and CometBFT beside it; log lines on standard error.

    Node and CometBFT end together, with the reason; whatever supervises this command starts both again.
    """
    path = home / CONFIG
    if not path.exists():
        raise ConfigurationError(f"--home {home}: no {CONFIG} there; `keephold network init` writes one")
    config = read_config(path)
    if config.engine == "cometbft":
        require(config.cometbft.binary)
    sys.stdout.flush()
    command = [sys.executable, "-m", "keephold.programs.node", "--config", str(path)]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
