"""Runs a module inside a network namespace: `python -m keephold.testing.inside NAMESPACE MODULE ARGUMENT…`.

The process moves before the module is imported, so that every thread it will have is in there.
"""

from __future__ import annotations

import os
import runpy
import sys

from keephold.testing.supervisor import Program
from keephold.testing.switch import Machine, enter


def program(machine: Machine, outside: Program) -> Program:
    """Return the same program, run on a machine."""
    return Program(outside.name, __name__, (machine.path, outside.module, *outside.arguments))


def main(arguments: list[str]) -> None:
    """Enter, then become the module."""
    namespace, module, *rest = arguments
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    enter(descriptor)
    os.close(descriptor)
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
