"""Sealed questions to a view: asked, answered and verified by the reader, over the gateway."""

from __future__ import annotations

import asyncio
import os
import time

import uvloop
from measure import CpuMeter, Figure, Result, at_most, cpu_shares, tell, timings
from place import Place, place

from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork

TOGETHER = 8


async def ask(where: Place, readers: list[Account], seconds: float) -> list[float]:
    """Let each reader ask for its balance again and again; return seconds a question."""
    spent: list[float] = []
    async with await AsyncNetwork.connect(where.net.url, where.net.genesis) as network:
        token = network.contract(where.token)
        await token.query("balance", account=readers[0])

        async def read(reader: Account) -> None:
            while time.perf_counter() < ends:
                began = time.perf_counter()
                await token.query("balance", account=reader)
                spent.append(time.perf_counter() - began)

        ends = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            for reader in readers:
                group.create_task(read(reader))
    return spent


def run(seconds: float) -> Result:
    with place() as where:
        readers = list(where.net.accounts.values())
        uvloop.run(ask(where, readers[:1], 0.5))  # starts the process that answers
        tell(f"one reader, {seconds:g} s")
        meter = CpuMeter({**where.processes(), "reader": os.getpid()})
        alone = uvloop.run(ask(where, readers[:1], seconds))
        used, machine, wall = meter.read()
        tell(f"{TOGETHER} readers, {seconds:g} s")
        together = uvloop.run(ask(where, readers[:TOGETHER], seconds))
    return Result(
        "queries",
        f"sealed questions to a view, one reader, then {TOGETHER} at once in one process, {seconds:g} s each",
        (
            *timings("one reader", alone, at_most(10.0)),
            *timings(f"{TOGETHER} readers", together),
            Figure(f"{TOGETHER} readers", len(together) / seconds, "questions/s"),
        ),
        cpu_shares(used, machine, wall, len(alone)),
    )
