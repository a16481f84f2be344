"""A devnet: how long until it can be used, and what it weighs."""

from __future__ import annotations

import asyncio
import time

from measure import Figure, Result, Share, children, median, pss_kib, tell, timings
from place import deploy_token

from keephold.client.aio import AsyncNetwork
from keephold.runtime import machine
from keephold.runtime.artefact import guest_artefact
from keephold.testing.devnet import Devnet

STARTS = 3


async def deployed(net: Devnet) -> None:
    async with await AsyncNetwork.connect(net.url, net.genesis) as network:
        token = await deploy_token(network, net.accounts["alice"])
        await token.query("balance", account=net.accounts["alice"])


def start_and_deploy() -> tuple[float, float, dict[str, int]]:
    """Return seconds until `start` returned, until the token was deployed and set up, and KiB by process then."""
    began = time.perf_counter()
    with Devnet.start(progress=tell) as net:
        started = time.perf_counter() - began
        asyncio.run(deployed(net))
        spent = time.perf_counter() - began
        weight: dict[str, int] = {}
        for name, pid in sorted(net.pids.items()):
            weight[name] = pss_kib(pid)
            weight |= {f"{name} execution {at}": pss_kib(child) for at, child in enumerate(children(pid))}
    return started, spent, weight


def compile_seconds() -> float:
    """Return how long a machine compiles the guest, once."""
    wasm = guest_artefact(tell).read()
    tell("compiling the guest")
    began = time.perf_counter()
    machine.compile_component(wasm)
    return time.perf_counter() - began


def run(seconds: float) -> Result:
    del seconds  # a start takes as long as it takes
    cold = compile_seconds()
    tell("one start that fills the caches")
    start_and_deploy()
    starts, deploys, weights = [], [], []
    for at in range(STARTS):
        tell(f"start {at + 1} of {STARTS}")
        started, spent, weight = start_and_deploy()
        starts.append(started)
        deploys.append(spent)
        weights.append(weight)
    last = weights[-1]
    return Result(
        "devnet",
        "a devnet of one node, three gatekeepers (threshold 2) and one worker; caches warm unless said otherwise",
        (
            *timings("start until the node admits enclaves", starts),
            *timings("start until the first contract is deployed and set up", deploys),
            Figure("memory, all processes", median([sum(weight.values()) / 1024 for weight in weights]), "MiB PSS"),
            Figure("cold cache: compiling the guest, once a machine", cold, "s"),
            Figure("guest artefact", guest_artefact(tell).path.stat().st_size / 2**20, "MiB"),
        ),
        tuple(Share(name, kib / 1024, "MiB PSS") for name, kib in last.items()),
    )
