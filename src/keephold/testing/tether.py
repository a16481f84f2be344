"""Run a module as a program that dies with its parent: `python -m keephold.testing.tether PARENT MODULE ARGUMENT…`.

A devnet must leave nothing running, whatever kills its supervisor. The kernel is asked to kill this process when the
thread that started it ends (`PR_SET_PDEATHSIG`); the question whether the parent died before that is asked afterwards,
so no moment is uncovered. The program itself does not know: production programs outlive whoever started them.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def tether(parent: int) -> None:
    """Die with `parent` from now on; exit at once when it is gone already.

    Raises:
        OSError: the kernel does not offer this (it is Linux's).
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise SystemExit(0)


def main(arguments: list[str]) -> None:
    """Tether, then become the module."""
    parent, module, *rest = arguments
    tether(int(parent))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
