"""What a fresh sandbox costs for each call, against the nearest thing without one: CPython, forked for each call.

Both are processes of their own, asked over a socket or pipe, and run the token's `transfer` from the same JSON to the
same JSON, each call from the same clean state. The fork is lean and gives a call its own memory, nothing else: it has
every right of its parent, no fuel, no determinism.

Measured in turn, so that other load on the machine weighs on both alike.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from measure import Figure, Result, Share, cpu_seconds, interleaved, median, tell, timings
from place import TOKEN

from keephold import Address
from keephold.crypto.secret import SecretBytes
from keephold.runtime.artefact import guest_artefact
from keephold.runtime.cache import CompiledCache
from keephold.runtime.outcome import CallRequest, Outcome, QueryRequest
from keephold.runtime.process import ExecutionProcess

BATCH = 32
ALONE = 8
"""Runs of what is timed alone, between two batches."""

ALICE, BOB = Address(b"a" * 32).text, Address(b"b" * 32).text
CONTRACT = Address(b"t" * 32, "contract").text
CACHE = Path(tempfile.gettempdir()) / "keephold-bench"
TRANSFER = json.dumps({"to": BOB, "amount": 1})
SETUP = json.dumps({"symbol": "GLD", "supply": 10**9})


class Slots(dict[str, bytes]):
    """A committed state."""


class Forked:
    """The baseline's process."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).with_name("forked.py")), str(TOKEN), "Token"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._env = {
            "contract": CONTRACT,
            "creator": ALICE,
            "height": 7,
            "seed": "01" * 32,
            "sender": ALICE,
            "time_ns": 1,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, method: str, arguments: str, slots: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"method": method, "arguments": arguments, "slots": slots, "env": self._env}
        self._process.stdin.write(json.dumps(asked).encode() + b"\n")
        self._process.stdin.flush()
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def request(method: str, arguments: str) -> CallRequest:
    return CallRequest(
        method=method,
        args_json=arguments,
        sender=ALICE,
        creator=ALICE,
        contract=CONTRACT,
        height=7,
        time_ns=1_700_000_000_000_000_000,
        seed=b"\x01" * 32,
    )


def compiled_cache() -> CompiledCache:
    """Return a cache that outlives this run; its key protects nothing here."""
    return CompiledCache(CACHE, SecretBytes(hashlib.sha256(b"a benchmark's cache").digest()))


def run(seconds: float) -> Result:
    with (
        compiled_cache().guest(guest_artefact(tell), tell) as guest,
        ExecutionProcess.start(guest, TOKEN.read_text()) as process,
        Forked() as fork,
    ):
        slots: dict[str, str] = fork.call("setup", SETUP, {})["writes"]
        state = Slots({key: value.encode() for key, value in slots.items()})
        one = request("transfer", TRANSFER)
        many = [one] * BATCH
        same(process.execute(one, state), fork.call("transfer", TRANSFER, slots))
        question = QueryRequest(method="balance", args_json="{}", reader=ALICE, contract=CONTRACT, height=7, time_ns=1)
        assert process.query(question, state).status == "ok"
        tell(f"fresh sandbox and forked CPython in turn, {seconds:g} s")
        before = cpu_seconds(process.pid)
        spent = interleaved(
            {
                "batch": lambda: list(process.execute_batch(many, state)),
                **{f"fork {at}": lambda: fork.call("transfer", TRANSFER, slots) for at in range(ALONE)},
                **{f"alone {at}": lambda: process.execute(one, state) for at in range(ALONE)},
                **{f"warm {at}": lambda: process.query(question, state) for at in range(ALONE)},
            },
            seconds,
        )
        used = cpu_seconds(process.pid) - before
        fuel = process.execute(one, state).fuel_used
    batched = [value / BATCH for value in spent["batch"]]
    alone, forks, warm = (
        [value for name, values in spent.items() if name.startswith(kind) for value in values]
        for kind in ("alone", "fork", "warm")
    )
    fresh = len(batched) * BATCH + len(alone)
    return Result(
        "vm",
        f"token transfer in a fresh sandbox, in batches of {BATCH} and alone, against CPython forked for each call",
        (
            *timings(f"fresh, in batches of {BATCH}", batched),
            *timings("fresh, alone", alone),
            *timings("baseline: forked CPython", forks),
            Figure("fresh in batches / forked", median(batched) / median(forks), "x"),
            Figure("fresh alone / forked", median(alone) / median(forks), "x"),
            *timings("question in the warm instance", warm),
        ),
        (
            Share("execution process", used / fresh * 1e3, "ms CPU/fresh call"),
            Share("fuel of one transfer", fuel / 1e6, "M instructions"),
        ),
    )


def same(outcome: Outcome, told: dict[str, Any]) -> None:
    """Both did the same work, or comparing them means nothing."""
    assert outcome.status == told["outcome"]["status"] == "ok", (outcome, told)
    writes = {key: None if value is None else value.decode() for key, value in outcome.writes.items()}
    assert writes == told["writes"], (writes, told["writes"])
    assert len(outcome.events) == len(told["events"])
