"""CometBFT with its own example application, the kvstore: what the engine can do where the application does nothing.

The nodes run from the configuration that keephold writes for its own, commit time, gossip and mempool alike; the
transactions have the size of a sealed call. A transaction counts once a block holds it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import secrets
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from measure import tell

from keephold.chain.validators import Validator, ValidatorSet
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.home import CometHome, Settings
from keephold.testing.comet.binary import comet_binary
from keephold.testing.ports import free_ports

HOST = "127.0.0.1"
POWER = 10
BATCH = 64
"""Transactions in one request."""
LOOK_SECONDS = 0.005


@dataclass(frozen=True)
class Kvstore:
    """A running network."""

    rpcs: tuple[str, ...]
    pids: tuple[int, ...]


@contextlib.contextmanager
def kvstore(validators: int, commit: float) -> Iterator[Kvstore]:
    """Run a network in a directory of its own."""
    binary = comet_binary(progress=tell)
    with tempfile.TemporaryDirectory(prefix="kv-") as place, contextlib.ExitStack() as stack:
        seeds = [SecretBytes.random(32) for _ in range(validators)]
        members = ValidatorSet.of(Validator(ValidatorKey(seed).public, POWER) for seed in seeds)
        founding = Founding("kvstore", time.time_ns(), members)
        homes = [CometHome(Path(place) / f"k{number}") for number in range(validators)]
        ports = free_ports(*[0] * (2 * validators))
        gossip, rpcs = ports[:validators], [f"{HOST}:{port}" for port in ports[validators:]]
        names = [f"{home.node_id()}@{HOST}:{port}" for home, port in zip(homes, gossip, strict=True)]
        pids = []
        for number, home in enumerate(homes):
            peers = tuple(name for other, name in enumerate(names) if other != number)
            settings = Settings(HOST, gossip[number], peers, commit_s=commit, rpc=rpcs[number])
            home.write(founding, settings, seeds[number])
            command = [str(binary), "start", "--home", str(home.directory), "--proxy_app", "kvstore"]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.enter_context(process)
            stack.callback(process.kill)
            pids.append(process.pid)
        yield Kvstore(tuple(f"http://{rpc}" for rpc in rpcs), tuple(pids))


@dataclass
class Load:
    """Transactions under way, and those that a block held."""

    size: int
    begun: dict[bytes, float] = field(default_factory=dict)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """When a block held it, and how long that took."""

    def make(self) -> bytes:
        """Return a transaction that was never sent."""
        key = secrets.token_hex(16).encode()
        raw = key + b"=" + secrets.token_hex((self.size - len(key)) // 2).encode()
        self.begun[key] = time.monotonic()
        return raw

    def hold(self, raw: bytes) -> None:
        """Note that a block holds a transaction."""
        begun = self.begun.pop(raw.partition(b"=")[0], None)
        if begun is not None:
            now = time.monotonic()
            self.latencies.append((now, now - begun))
            self.done.set()


async def drive(network: Kvstore, size: int, window: int, warm_up: float, seconds: float) -> tuple[list[float], int]:
    """Keep `window` transactions of `size` bytes under way.

    Returns:
        Seconds to the block that held each, after the warm-up; and how many blocks held in all.
    """
    load = Load(size)
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx2.AsyncClient(base_url=rpc)) for rpc in network.rpcs]
        await _ready(clients)
        watching = asyncio.create_task(_watch(clients[0], load))
        stack.callback(watching.cancel)
        begins = time.monotonic() + warm_up
        ends = begins + seconds
        turns = itertools.cycle(clients)
        async with asyncio.TaskGroup() as group:
            while time.monotonic() < ends and not watching.done():
                room = window - len(load.begun)
                if room < min(BATCH, window):
                    load.done.clear()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(load.done.wait(), 1)
                    continue
                group.create_task(_send(next(turns), [load.make() for _ in range(min(room, BATCH))]))
        if watching.done():
            watching.result()
    return [spent for moment, spent in load.latencies if begins <= moment < ends], len(load.latencies)


async def _send(client: httpx2.AsyncClient, raws: list[bytes]) -> None:
    batch = [
        {
            "jsonrpc": "2.0",
            "id": number,
            "method": "broadcast_tx_sync",
            "params": {"tx": base64.b64encode(raw).decode()},
        }
        for number, raw in enumerate(raws)
    ]
    answers = (await client.post("/", content=json.dumps(batch), timeout=30)).raise_for_status().json()
    for answer in answers if isinstance(answers, list) else [answers]:
        if "error" in answer or answer["result"]["code"]:
            raise RuntimeError(f"the kvstore refused a transaction: {answer}")


async def _ready(clients: list[httpx2.AsyncClient]) -> None:
    for client in clients:
        async for height in _heights(client):
            if height >= 1:
                break


async def _heights(client: httpx2.AsyncClient) -> AsyncIterator[int]:
    while True:
        try:
            yield int((await _ask(client, "status"))["sync_info"]["latest_block_height"])
        except (httpx2.TransportError, KeyError):
            yield 0
        await asyncio.sleep(LOOK_SECONDS)


async def _watch(client: httpx2.AsyncClient, load: Load) -> None:
    seen = 0
    async for newest in _heights(client):
        for height in range(seen + 1, newest + 1):
            block = await _ask(client, f"block?height={height}")
            for raw in block["block"]["data"]["txs"] or ():
                load.hold(base64.b64decode(raw))
        seen = max(seen, newest)


async def _ask(client: httpx2.AsyncClient, path: str) -> dict[str, Any]:
    return (await client.get(f"/{path}", timeout=30)).json()["result"]
