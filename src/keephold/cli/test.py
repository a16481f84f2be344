"""`keephold test`: pytest with the `net` fixture, in a process of its own. Its exit status is pytest's."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import ConfigurationError
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared


def run_tests(
    *paths: Annotated[str, Parameter(help="Files, directories, or options of pytest after `--`.")],
    net: Annotated[
        str,
        Parameter(help="native, local (a network in this process), devnet (starts one), or a running devnet's URL."),
    ] = "native",
    shared: Shared = SHARED,
) -> None:
    """Test contracts."""
    if find_spec("pytest") is None:
        raise ConfigurationError("pytest is not installed; keephold[test] brings it")
    command = [sys.executable, "-m", "pytest", "-p", "keephold", "--net", net, *paths]
    # With --json standard output is one object; what pytest has to say goes beside it.
    ended = subprocess.run(command, stdout=sys.stderr if shared.json else None, check=False)  # noqa: S603 - our own interpreter
    if shared.json:
        emit({"passed": ended.returncode == 0, "pytest_status": ended.returncode}, "", as_json=True)
    if ended.returncode:
        raise SystemExit(ended.returncode)
