"""Networks of 1, 4, 7 and 16 validators that run, all on this machine: nodes, CometBFT, enclaves and clients.

    python benchmarks/running.py [--validators 1 4 7 16] [--seconds 10]

Each is a devnet of its own. In turn: the first block; rest; one transaction at a time; a modest load of sealed calls,
the same at every size; then as many nodes are killed at once as the network can lose, and it goes on without them, and
with them again.

On one machine every program shares the cores with all others. What a node costs (memory, processor time, bytes) is what
it would cost on a machine of its own; how fast blocks follow each other is not.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import Sequence

import httpx2
from cometbft import Prober, asked, newest
from measure import CpuMeter, children, median, pss_kib, quantile, tell
from place import Place, place
from transfers import measure_transfers

from keephold.chain.header import SignedHeader
from keephold.chain.wire import decode_signed_header
from keephold.follower.http_remote import HttpRemote
from keephold.protocol.wire import LightBlock
from keephold.testing.ceremony import Shape
from keephold.testing.supervisor import Event, Started

Row = dict[str, float]
VALIDATORS = (1, 4, 7, 16)
SECONDS = 10.0
CLIENTS = 8
WINDOW = 8
"""Calls under way of each client: 64 together. 16 validators on four cores settle so many in a few blocks."""
MANY = 8
"""Validators from which on one machine's receipts take so long that twice the time is needed to see them come."""
SETTLE_SECONDS = 3.0
REST_SECONDS = 6.0
ALONE_SECONDS = 6.0
LESS_SECONDS = 16.0
"""With dead validators, some heights wait for one of them to propose: several such have to be seen."""
RETURN_SECONDS = 60.0
LOOK_SECONDS = 0.1


def losable(validators: int) -> int:
    """Return how many may be down at once: less than a third."""
    return (validators - 1) // 3


def programs(where: Place, validators: int) -> tuple[dict[str, int], dict[str, int]]:
    """Return the process ids of the nodes, and of their CometBFTs."""
    nodes = {name: where.net.pids[name] for name in Shape(validators=validators).nodes}
    comets = {}
    for name, pid in nodes.items():
        (comets[f"CometBFT of {name}"],) = children(pid)
    return nodes, comets


def rest(nodes: dict[str, int], comets: dict[str, int]) -> Row:
    """Return the processor time of one node and its CometBFT while nobody wants anything, in ms each second."""
    time.sleep(SETTLE_SECONDS)
    meter = CpuMeter({**nodes, **comets})
    time.sleep(REST_SECONDS)
    used, _, wall = meter.read()
    return {
        f"rest_{what}_ms": statistics.mean(used[name] for name in some) / wall * 1e3
        for what, some in (("node", nodes), ("cometbft", comets))
    }


def memory(nodes: dict[str, int], comets: dict[str, int], where: Place) -> Row:
    """Return the memory of a node and of its CometBFT, on average, and of everything that runs, in MB."""
    everything = where.processes().values()
    return {
        "node_mb": statistics.mean(map(pss_kib, nodes.values())) * 1024 / 1e6,
        "cometbft_mb": statistics.mean(map(pss_kib, comets.values())) * 1024 / 1e6,
        "network_mb": sum(map(pss_kib, everything)) * 1024 / 1e6,
    }


def light_blocks(url: str, heights: Sequence[int]) -> tuple[LightBlock, ...]:
    async def ask() -> tuple[LightBlock, ...]:
        async with contextlib.aclosing(HttpRemote(url)) as remote:
            return await remote.blocks(heights)

    return asyncio.run(ask())


def signed(block: LightBlock) -> SignedHeader:
    return decode_signed_header(block.signed_header)


def headers(where: Place, last: int) -> Row:
    """Return the bytes of headers with their commits, and of the validators beside them."""
    blocks = light_blocks(where.net.url, range(max(2, last - 20), last))
    return {
        "header_bytes": statistics.mean(len(block.signed_header) for block in blocks),
        "votes": statistics.mean(
            sum(bool(vote.signature) for vote in signed(block).commit.signatures) for block in blocks
        ),
        "set_bytes": len(blocks[-1].validators),
    }


def probed(where: Place, seconds: float, name: str) -> Row:
    """Return how long a transaction takes from signing to its verified block, one at a time."""
    rpc = where.net.rpcs[0]
    begun, first = time.monotonic(), newest(rpc)
    with Prober(where).running() as spent:
        time.sleep(seconds)
    blocks = (newest(rpc) - first) / (time.monotonic() - begun)
    return {
        f"{name}_order_p50_ms": median(spent) * 1e3,
        f"{name}_order_p95_ms": quantile(spent, 0.95) * 1e3,
        f"{name}_blocks_per_s": blocks,
    }


def loaded(where: Place, seconds: float) -> Row:
    """Return what a modest load of sealed calls comes to."""
    rpc = where.net.rpcs[0]
    begun, first = time.monotonic(), newest(rpc)
    with Prober(where).running() as spent:
        result = measure_transfers(where, seconds, clients=CLIENTS, generators=1, window=WINDOW)
    blocks = (newest(rpc) - first) / (time.monotonic() - begun)
    figures = {figure.name: figure.value for figure in result.figures}
    shares = {(share.what, share.unit): share.value for share in result.shares}
    return {
        "calls_per_s": figures["acknowledged"],
        "receipt_p50_ms": figures["from sealing to the proven receipt, p50"],
        "receipt_p95_ms": figures["from sealing to the proven receipt, p95"],
        "load_order_p50_ms": median(spent) * 1e3,
        "load_order_p95_ms": quantile(spent, 0.95) * 1e3,
        "load_blocks_per_s": blocks,
        "failed_calls": figures["failed"],
        "cpu_call_ms": shares["all of these", "ms CPU/call"],
        "cores": shares["all of these", "cores"],
        "other_cores": shares["other programs on the machine", "cores"],
    }


def without(where: Place, validators: int) -> Row:
    """Kill as many nodes as the network can lose; return how it goes on, and how they come back."""
    count = losable(validators)
    names = Shape(validators=validators).nodes[validators - count :]
    tell(f"kill -9 of {', '.join(names)}")
    for name in names:
        where.net.kill(name, hold=True)
    found = {"killed": float(count)} | probed(where, LESS_SECONDS, "less")
    for name in names:
        where.net.resume(name)
    begun, height = time.monotonic(), newest(where.net.rpcs[0])
    waiting = set(where.net.rpcs[validators - count :])
    while waiting and time.monotonic() < begun + RETURN_SECONDS:
        waiting = {rpc for rpc in waiting if not has(rpc, height)}
        time.sleep(LOOK_SECONDS)
    if waiting:
        raise RuntimeError(f"{len(waiting)} of {count} killed nodes did not come back in {RETURN_SECONDS:g} s")
    return found | {"return_s": time.monotonic() - begun}


def has(rpc: str, height: int) -> bool:
    """Say whether a CometBFT answers, and has a block."""
    try:
        return int(asked(rpc, "status")["sync_info"]["latest_block_height"]) >= height
    except httpx2.TransportError:
        return False


def measure(validators: int, seconds: float = SECONDS) -> Row:
    """Return all figures of one size."""
    starts: list[float] = []

    def report(event: Event) -> None:
        if isinstance(event, Started):
            starts.append(time.time())

    tell(f"a network of {validators} validator{'s' if validators > 1 else ''}")
    with place(Shape(engine="cometbft", validators=validators), report) as where:
        (first,) = light_blocks(where.net.url, [1])
        votes = [vote.time_ns for vote in signed(first).commit.signatures if vote.signature]
        row: Row = {"validators": validators, "first_block_s": median(votes) / 1e9 - starts[0]}
        row |= {"ready_s": where.ready - starts[0]}
        nodes, comets = programs(where, validators)
        row |= rest(nodes, comets)
        row |= probed(where, ALONE_SECONDS, "alone")
        row |= loaded(where, seconds if validators < MANY else 2 * seconds)
        row |= memory(nodes, comets, where)
        row |= headers(where, newest(where.net.rpcs[0]) - 1)
        if losable(validators):
            row |= without(where, validators)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validators", type=int, nargs="+", default=list(VALIDATORS))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the load runs")
    given = parser.parse_args()
    json.dump([measure(count, given.seconds) for count in given.validators], sys.stdout, indent=1)


if __name__ == "__main__":
    main()
