"""What a transaction costs in the sandbox: a token transfer, each in a fresh instance.

    python benchmarks/runtime.py [calls]

CPU is the execution process's own and is the figure to compare; wall time depends on who else uses the machine.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from keephold import Address
from keephold.crypto.secret import SecretBytes
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache
from keephold.runtime.outcome import CallRequest, QueryRequest
from keephold.runtime.process import ExecutionProcess

TOKEN = (Path(__file__).parents[1] / "examples" / "token" / "token.py").read_text()
ALICE, BOB = Address(b"a" * 32).text, Address(b"b" * 32).text
CONTRACT = Address(b"t" * 32, "contract").text
BATCH = 50


class Slots(dict[str, bytes]):
    """A committed state."""


def call(method: str, *args: str) -> CallRequest:
    """Return Alice's call."""
    return CallRequest(
        method=method, args_json=json.dumps(args), sender=ALICE, creator=ALICE, contract=CONTRACT, height=7,
        time_ns=1_700_000_000_000_000_000, seed=b"\x01" * 32,
    )  # fmt: skip


class Usage:
    """CPU seconds and page faults of a process so far."""

    def __init__(self, pid: int) -> None:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.faults = int(fields[7])
        self.user, self.system = int(fields[11]) / 100, int(fields[12]) / 100


def report(name: str, count: int, began: float, before: Usage, after: Usage) -> None:
    """Print one line."""
    wall, user = (time.perf_counter() - began) / count, (after.user - before.user) / count
    system, faults = (after.system - before.system) / count, (after.faults - before.faults) / count
    print(
        f"{name:9} {1 / wall:7.0f} a second   wall {wall * 1e3:6.3f} ms   "
        f"CPU {(user + system) * 1e3:6.3f} ms (system {system * 1e3:.3f})   {faults:5.1f} faults"
    )


def main() -> None:
    """Measure transfers in batches, then questions."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    cache = CompiledCache(cache_directory() / "benchmark", SecretBytes(b"b" * 32))
    with cache.guest(guest_artefact(print), print) as guest, ExecutionProcess.start(guest, TOKEN) as process:
        slots = Slots()
        setup = process.execute(call("setup", "GLD", "1000000000"), slots)
        slots |= {key: value for key, value in setup.writes.items() if value is not None}
        transfer = call("transfer", BOB, "5")
        outcome = process.execute(transfer, slots)
        print(f"a transfer: {outcome.status}, {outcome.fuel_used} fuel")
        list(process.execute_batch([transfer] * BATCH, slots))
        began, before = time.perf_counter(), Usage(process.pid)
        for _ in range(count // BATCH):
            list(process.execute_batch([transfer] * BATCH, slots))
        report("transfer", count, began, before, Usage(process.pid))
        question = QueryRequest(method="balance", args_json="[]", reader=ALICE, contract=CONTRACT, height=7, time_ns=1)
        began, before = time.perf_counter(), Usage(process.pid)
        for _ in range(count):
            process.query(question, slots)
        report("question", count, began, before, Usage(process.pid))


if __name__ == "__main__":
    main()
