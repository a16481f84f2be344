"""keephold on CometBFT, beside CometBFT's own kvstore: one validator and four, all on this machine, in one run.

    python benchmarks/cometbft.py [--seconds 20] [--validators 1 4]

For each size, first keephold and then the kvstore: equally many transactions under way, of equal size, under the same
configuration. A sealed call counts once its client has proven and opened the receipt, so behind each stands a second
transaction with its result, a worker that ran it, and 16 clients that verified every block. The kvstore's count once a
block holds them. With four validators, ten Python programs, four CometBFTs and the load share the cores; the ratio says
what is left of the engine's speed on such a box, not what four machines would do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import uvloop
from facts import machine_facts
from kvstore import drive, kvstore
from measure import CpuMeter, Figure, Result, Share, at_least, tell, timings
from place import Place, place
from run import show, write
from transfers import CLIENTS, WARM_UP_SECONDS, measure_transfers

from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.messages import CallPlain
from keephold.protocol.transactions import Call, sign
from keephold.sealing.call import CallContext, seal_call
from keephold.testing.ceremony import Shape

SECONDS = 20.0
VALIDATORS = (1, 4)
WINDOW = 64
"""Calls under way of each client: what one account may have in a block. A call needs four blocks or five, a transaction
of the kvstore one; with few under way that would be all that the ratio shows."""
COMMIT_SECONDS = 0.1
"""As a devnet's."""
PAGE = 20
"""Blocks that CometBFT describes at a time."""
FLOOR = 300
GOAL = 0.5


class Prober:
    """One account that has a small transaction ordered, again and again, each proven before the next."""

    def __init__(self, where: Place) -> None:
        self._where = where
        self._ends = threading.Event()
        self._spent: list[float] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[list[float]]:
        """Probe meanwhile; what is yielded holds the seconds from signing to the verified block."""
        with ThreadPoolExecutor(1) as pool:
            probing = pool.submit(uvloop.run, self._run())
            try:
                yield self._spent
            finally:
                self._ends.set()
            probing.result()

    async def _run(self) -> None:
        account = Account(SigningKey(SecretBytes.random(32)))
        async with await AsyncNetwork.connect(self._where.net.url, self._where.net.genesis) as network:
            await network.revoke_all(account=account)
            while not self._ends.is_set():
                begun = time.monotonic()
                await network.revoke_all(account=account)
                self._spent.append(time.monotonic() - begun)
                await asyncio.sleep(0.1)


def call_size(where: Place) -> int:
    """Return the bytes of a sealed transfer's transaction."""
    key = SigningKey(SecretBytes.random(32))

    async def encryption_key() -> tuple[bytes, tuple[int, ...]]:
        async with await AsyncNetwork.connect(where.net.url, where.net.genesis) as network:
            token = network.contract(where.token)
            return (await token.verified()).encryption_key, (await token.abi()).pad

    public, pad = asyncio.run(encryption_key())
    context = CallContext(bytes(32), where.token.value, 1, key.public, 1)
    sealed = seal_call(public, context, CallPlain("transfer", b'["' + b"k" * 60 + b'",1]', bytes(32)), pad)
    return len(sign(bytes(32), key, 1, Call(where.token.value, 1, sealed)))


def newest(rpc: str) -> int:
    """Return the newest height, as CometBFT's own RPC says."""
    return int(asked(rpc, "status")["sync_info"]["latest_block_height"])


def contents(rpc: str, first: int, last: int) -> tuple[int, int]:
    """Return how many transactions the blocks of these heights hold, and how many bytes the blocks have."""
    transactions = size = 0
    for low in range(first, last + 1, PAGE):
        page = asked(rpc, f"blockchain?minHeight={low}&maxHeight={min(low + PAGE - 1, last)}")
        transactions += sum(int(meta["num_txs"]) for meta in page["block_metas"])
        size += sum(int(meta["block_size"]) for meta in page["block_metas"])
    return transactions, size


def asked(rpc: str, path: str) -> dict[str, Any]:
    return httpx2.get(f"{rpc}/{path}", timeout=30).raise_for_status().json()["result"]


def compare(validators: int, seconds: float, window: int = WINDOW) -> Result:
    """Measure keephold and the kvstore with so many validators each, `window` under way for each of the clients."""
    whole = f"{validators} validator{'s' if validators > 1 else ''}"
    with place(Shape(engine="cometbft", validators=validators)) as where:
        size = call_size(where)
        rpc = where.net.rpcs[0]
        begun, first = time.monotonic(), newest(rpc)
        with Prober(where).running() as ordered:
            ours = measure_transfers(where, seconds, window=window)
        last = newest(rpc)
        pace = (last - first) / (time.monotonic() - begun)
        held, held_bytes = contents(rpc, first + 1, last)
    tell(f"the kvstore with {whole}, transactions of {size} bytes")
    with kvstore(validators, COMMIT_SECONDS) as network:
        names = (f"kvstore's CometBFT {at}" for at in range(validators))
        meter = CpuMeter(dict(zip(names, network.pids, strict=True)))
        theirs, all_of_theirs = uvloop.run(drive(network, size, CLIENTS * window, WARM_UP_SECONDS, seconds))
        used, _, _ = meter.read()
    rate = len(theirs) / seconds
    (acknowledged, *receipts) = ours.figures
    figures = (
        Figure("sealed calls acknowledged", acknowledged.value, "calls/s", at_least(FLOOR), acknowledged.note),
        *receipts,
        *timings("from signing to the verified order", ordered),
        Figure("blocks", pace, "blocks/s", note="funding and warm-up included"),
        Figure("transaction of a call", size, "bytes"),
        Figure("blocks for each transaction", held_bytes / held, "bytes", note=f"{held} transactions"),
        Figure("kvstore: transactions in blocks", rate, "tx/s", note=f"{len(theirs)} of {size} bytes"),
        *timings("kvstore: from sending to the block", theirs),
        Figure("calls for each transaction of the kvstore", acknowledged.value / rate, "", at_least(GOAL)),
    )
    kv_shares = tuple(Share(name, spent / all_of_theirs * 1e3, "ms CPU/tx") for name, spent in used.items())
    shares = (*ours.shares, *kv_shares)
    sentence = (
        f"CometBFT with {whole}: {CLIENTS} clients with {window} sealed transfers under way each, then the kvstore "
        f"with {CLIENTS * window} transactions of the same size under way, {seconds:g} s each"
    )
    return Result(f"cometbft, {whole}", sentence, figures, shares)


def measure(validators: Sequence[int], seconds: float, window: int) -> int:
    """Measure all sizes; print and keep the figures; return 1 if one failed."""
    facts = machine_facts()
    results, failed = [], {}
    for count in validators:
        try:
            results.append(compare(count, seconds, window))
        except Exception as error:  # noqa: BLE001 - the other sizes' figures are worth having
            failed[f"{count} validators"] = f"{type(error).__name__}: {error}"
            tell(f"failed: {failed[f'{count} validators']}")
    write(facts, results, failed, "cometbft.json")
    show(facts, results, failed, "cometbft.json")
    return 1 if failed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each load runs")
    parser.add_argument("--validators", type=int, nargs="+", default=list(VALIDATORS))
    parser.add_argument("--window", type=int, default=WINDOW, help="calls under way of each client")
    given = parser.parse_args()
    return measure(given.validators, given.seconds, given.window)


if __name__ == "__main__":
    sys.exit(main())
