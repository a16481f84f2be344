"""Where the benchmarks of a whole network run: a devnet of their own with the example token deployed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from measure import children, tell

from keephold.client.account import Account
from keephold.client.aio import AsyncNetwork
from keephold.client.contract import AsyncContract
from keephold.client.source import code_from_file
from keephold.contract.address import Address
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet
from keephold.testing.supervisor import Event

TOKEN = Path(__file__).parent.parent / "examples" / "token" / "token.py"
SUPPLY = 10**12
DEPLOY_SECONDS = 240.0
"""The gatekeepers' ceremony is waited for too, on a network that has just begun, on few cores."""


@dataclass(frozen=True)
class Place:
    """A devnet with a token whose units are all alice's."""

    net: Devnet
    token: Address
    ready: float
    """When the devnet took transactions, by this machine's clock."""

    @property
    def alice(self) -> Account:
        return self.net.accounts["alice"]

    def processes(self) -> dict[str, int]:
        """Return name to process id of every program, execution processes included."""
        found: dict[str, int] = {}
        for name, pid in sorted(self.net.pids.items()):
            found[name] = pid
            what = "execution" if name.startswith("w") else "child"
            found |= {f"{name} {what} {at}": child for at, child in enumerate(children(pid))}
        return found


@contextlib.contextmanager
def place(shape: Shape | None = None, report: Callable[[Event], None] | None = None) -> Iterator[Place]:
    tell("starting a devnet")
    with Devnet.start(shape=shape, report=report, progress=tell) as net:
        ready = time.time()
        yield Place(net, asyncio.run(_deployed(net)), ready)


async def _deployed(net: Devnet) -> Address:
    async with await AsyncNetwork.connect(net.url, net.genesis) as network:
        return (await deploy_token(network, net.accounts["alice"])).address


async def deploy_token(network: AsyncNetwork, creator: Account) -> AsyncContract:
    tell("deploying the token")
    return await network.deploy(code_from_file(str(TOKEN)), "GLD", SUPPLY, account=creator, deadline=DEPLOY_SECONDS)
