"""The baseline of `vm`: a lean CPython that forks for each call. Requests and answers are lines of JSON.

    python benchmarks/forked.py CONTRACT.py CLASS

It imports the authoring API and the contract, then forks for each line on its standard input: the child runs the call
on the state it was handed and writes outcome, writes and events. A fork gives a call its own memory and nothing else.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import sys
from typing import Any

from keephold.contract.dispatch import execute
from keephold.contract.native import MemoryHost


def load(path: str, name: str) -> type[Any]:
    spec = importlib.util.spec_from_file_location("contract_of_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: type[Any] = getattr(module, name)
    return found


def answer(cls: type[Any], line: bytes) -> bytes:
    """Run one call; both sides of it are JSON."""
    asked = json.loads(line)
    host = MemoryHost(asked["slots"])
    told = execute(cls, "call", asked["method"], asked["arguments"], json.dumps(asked["env"]), host)
    found = {"outcome": json.loads(told), "writes": host.writes, "events": host.events}
    return json.dumps(found).encode() + b"\n"


def main() -> None:
    cls = load(sys.argv[1], sys.argv[2])
    gc.freeze()  # children share pages that no collector touches
    for line in sys.stdin.buffer:
        child = os.fork()
        if child == 0:
            os.write(1, answer(cls, line))
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
