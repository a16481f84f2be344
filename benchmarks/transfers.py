"""Sealed token transfers, end to end: 16 accounts, one contract, load generators on the same machine.

A transfer counts when its client has *proven* the receipt (header, block, inclusion, from its own pinned genesis) and
opened it. Beside the rate: how long that took, and how much processor time each process spent for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvloop
from measure import CpuMeter, Figure, Result, at_least, cpu_shares, tell, timings
from place import Place, place

from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import encode

CLIENTS = 16
GENERATORS = 2
WINDOW = 8
WARM_UP_SECONDS = 5.0
FUNDS = 10**6


ALONE_SECONDS = 10.0


def run(seconds: float) -> Result:
    with place() as where:
        result = measure_transfers(where, seconds)
        tell("one client, one call at a time")
        alone = uvloop.run(one_at_a_time(where, min(seconds, ALONE_SECONDS)))
        return replace(result, figures=(*result.figures, *timings("one client, one call at a time", alone)))


async def one_at_a_time(where: Place, seconds: float) -> list[float]:
    """Return seconds from sealing to the opened, proven receipt, on a network that does nothing else."""
    spent: list[float] = []
    async with await AsyncNetwork.connect(where.net.url, where.net.genesis) as network:
        token, to = network.contract(where.token), where.net.accounts["bob"].address
        await token.call("transfer", to, 1, account=where.alice)
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            began = time.perf_counter()
            await token.call("transfer", to, 1, account=where.alice)
            spent.append(time.perf_counter() - began)
    return spent


def measure_transfers(
    where: Place, seconds: float, clients: int = CLIENTS, generators: int = GENERATORS, window: int = WINDOW
) -> Result:
    seeds = [SecretBytes.random(32) for _ in range(clients)]
    accounts = [Account(SigningKey(seed)) for seed in seeds]
    tell(f"funding {clients} accounts")
    asyncio.run(_fund(where, accounts))
    tell(f"{clients} clients with {window} calls under way each, in {generators} processes, for {seconds:g} s")
    with ExitStack() as stack:
        started = []
        for at in range(generators):
            task = {
                "url": where.net.url,
                "genesis": encode(where.net.genesis).hex(),
                "token": where.token.text,
                "seeds": [seed.reveal().hex() for seed in seeds[at::generators]],
                "window": window,
                "everybody": [account.address.text for account in accounts],
            }
            process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("load.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            _say(process, json.dumps(task))
            started.append(process)
        for process in started:
            if _hear(process) != "ready":
                raise RuntimeError("a load generator did not come up")
        for process in started:
            _say(process, "go")
        begins = time.monotonic() + WARM_UP_SECONDS
        for process in started:
            _say(process, f"{begins} {begins + seconds}")
        time.sleep(max(0.0, begins - time.monotonic()))
        generating = {f"load generator {at}": process.pid for at, process in enumerate(started)}
        meter = CpuMeter({**where.processes(), **generating})
        time.sleep(seconds)
        used, machine, wall = meter.read()
        counted = [json.loads(_hear(process)) for process in started]
    latencies = [value for part in counted for value in part["latencies"]]
    failures = [text for part in counted for text in part["failures"]]
    if not latencies:
        raise RuntimeError(f"nothing was acknowledged: {failures[:3]}")
    return Result(
        "transfers",
        f"sealed token transfers on one contract, {clients} clients with {window} calls under way each, {seconds:g} s",
        (
            Figure("acknowledged", len(latencies) / seconds, "transfers/s", at_least(300), f"{len(latencies)} proven"),
            *timings("from sealing to the proven receipt", latencies),
            Figure("failed", len(failures), "calls", note=failures[0][:100] if failures else ""),
        ),
        cpu_shares(used, machine, wall, len(latencies)),
    )


def _say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def _hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def _fund(where: Place, accounts: list[Account]) -> None:
    async with await AsyncNetwork.connect(where.net.url, where.net.genesis) as network:
        token = network.contract(where.token)
        pending = [await token.submit("transfer", to.address, FUNDS, account=where.alice) for to in accounts]
        for call in pending:
            await call.wait()


def main() -> None:
    """Measure under other conditions than `make bench` does."""
    parser = argparse.ArgumentParser(description="Sealed token transfers, end to end.")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=CLIENTS)
    parser.add_argument("--generators", type=int, default=GENERATORS)
    parser.add_argument("--window", type=int, default=WINDOW)
    given = parser.parse_args()
    with place() as where:
        result = measure_transfers(where, given.seconds, given.clients, given.generators, given.window)
    for figure in result.figures:
        print(f"{figure.name:40} {figure.value:10.1f} {figure.unit:12} {figure.note}")
    for share in result.shares:
        print(f"{share.what:40} {share.value:10.3f} {share.unit}")


if __name__ == "__main__":
    main()
