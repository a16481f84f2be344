"""One load generator: some accounts that transfer tokens to one another, each with a window of calls under way.

    python benchmarks/load.py

Its first line of input is JSON: url, genesis and seeds in hexadecimal, token, window, and everybody's addresses.

It says "ready" once it is connected, and starts at a line on its standard input. What the second line says is when,
on the machine's monotonic clock, counting begins and ends. It prints what it counted: calls whose receipt it proved
against its own pinned genesis and opened, and how long each took from sealing to that moment.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from keephold.base.errors import KeepholdError
from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork
from keephold.client.contract import AsyncContract
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey

DEADLINE_SECONDS = 60.0


class Counter:
    """Calls acknowledged while counting, and failures ever."""

    def __init__(self) -> None:
        self.begins = float("inf")
        self.ends = float("inf")
        self.latencies: list[float] = []
        self.failures: list[str] = []

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.ends

    def count(self, started: float) -> None:
        now = time.monotonic()
        if self.begins <= now < self.ends:
            self.latencies.append(now - started)


async def transfer(token: AsyncContract, account: Account, others: list[Address], counter: Counter) -> None:
    turn = 0
    while counter.goes_on:
        turn += 1
        started = time.monotonic()
        try:
            pending = await token.submit("transfer", others[turn % len(others)], 1, account=account)
            await pending.wait(DEADLINE_SECONDS)
        except KeepholdError as error:
            counter.failures.append(f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.1)
        else:
            counter.count(started)


async def main() -> None:
    loop = asyncio.get_running_loop()
    task = json.loads(await loop.run_in_executor(None, sys.stdin.readline))
    accounts = [Account(SigningKey(SecretBytes(bytes.fromhex(seed)))) for seed in task["seeds"]]
    everybody = [Address.parse(text) for text in task["everybody"]]
    counter = Counter()
    async with await AsyncNetwork.connect(task["url"], bytes.fromhex(task["genesis"])) as network:
        token = network.contract(task["token"])
        for account in accounts:
            await network.connection.submissions.admit(account.key.public)
        await token.abi()
        print("ready", flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        async with asyncio.TaskGroup() as group:
            for account in accounts:
                others = [address for address in everybody if address != account.address]
                for at in range(task["window"]):
                    rotated = others[at:] + others[:at]
                    group.create_task(transfer(token, account, rotated, counter))
            counter.begins, counter.ends = map(float, (await loop.run_in_executor(None, sys.stdin.readline)).split())
    print(json.dumps({"latencies": counter.latencies, "failures": counter.failures}), flush=True)


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(main())
    else:
        uvloop.run(main())
