"""The child that reads a contract's source: source on standard input, one JSON object out. See `source`.

It loads nothing of keephold but the authoring API, so it starts as fast as Python does. Limits are set before the
author's module runs; what that prints goes nowhere.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Final

from keephold.contract.check import SourceError, check_source

CPU_SECONDS: Final = 5
MEMORY: Final = 1 << 30
"""Bytes of address space: Python itself takes some 30 MB of it."""


def main() -> None:
    """Answer, and end."""
    source = sys.stdin.buffer.read().decode()
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    try:
        info = check_source(source)
        told: dict[str, object] = {"name": info.name, "abi": info.abi}
    except SourceError as error:
        told = {"error": error.message, "line": error.line, "column": error.column}
    with answer:
        json.dump(told, answer)
    # Threads and exit handlers of the source have no say in when this ends.
    os._exit(0)


if __name__ == "__main__":
    main()
