"""Key release, 2 of 3: what it computes, and how long a worker takes from its boot to its first execution."""

from __future__ import annotations

import asyncio
import os
import time

from measure import Figure, Result, interleaved, median, tell, timings
from place import Place, place

from keephold.base.ids import NetworkId
from keephold.client.aio import AsyncNetwork
from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.polynomial import evaluate
from keephold.custody.public.dealing import pepper_commitment
from keephold.custody.secret.release import combine, partial, prf_input
from keephold.custody.secret.share import Share
from keephold.protocol.custody import CommitteeKeys, CommitteeSeat
from keephold.protocol.lines import ContractLine

NETWORK = NetworkId(bytes(32))
SEATS, THRESHOLD = 3, 2
BOOTS = 5
MANY = 64
"""Contracts whose keys one request may ask for."""


def shares() -> list[Share]:
    """Return the shares of three seats, as a finished ceremony leaves them."""
    coefficients = [ristretto.secret_scalar(SecretBytes.random(64)) for _ in range(THRESHOLD)]
    pepper = SecretBytes.random(32)
    scalars = {seat: evaluate(coefficients, seat) for seat in range(1, SEATS + 1)}
    committee = CommitteeKeys(
        network=NETWORK,
        master=ristretto.multiply_base(coefficients[0]),
        threshold=THRESHOLD,
        sharing_epoch=1,
        seats=tuple(
            CommitteeSeat(seat, bytes([seat]) * 32, ristretto.multiply_base(scalars[seat])) for seat in scalars
        ),
        peppers=(pepper_commitment(NETWORK, pepper),),
    )
    return [Share(seat, scalar, pepper, committee) for seat, scalar in scalars.items()]


def computed(seconds: float) -> tuple[Figure, ...]:
    held = shares()
    inputs = {
        count: [prf_input(NETWORK, ContractLine(bytes([at]) * 32, 1)) for at in range(count)] for count in (1, MANY)
    }
    answers = {
        count: [partial(share, asked, os.urandom) for share in held[:THRESHOLD]] for count, asked in inputs.items()
    }
    spent = interleaved(
        {
            "a gatekeeper's partial": lambda: partial(held[0], inputs[1], os.urandom),
            "check and combine, 2 of 3": lambda: combine(answers[1], held[0].committee, inputs[1]),
            f"a gatekeeper's partials for {MANY} contracts": lambda: partial(held[0], inputs[MANY], os.urandom),
            f"check and combine for {MANY} contracts": lambda: combine(answers[MANY], held[0].committee, inputs[MANY]),
        },
        seconds,
    )
    return tuple(Figure(name, median(values) * 1e3, "ms") for name, values in spent.items())


async def boots(where: Place, count: int) -> tuple[list[float], list[float]]:
    """Kill the worker, hold it, start it again; return seconds to the next acknowledged call, and from kill to ready.

    The call is under way before the worker starts, so it is the first thing that the worker executes.
    """
    to_call: list[float] = []
    from_kill: list[float] = []
    async with await AsyncNetwork.connect(where.net.url, where.net.genesis) as network:
        token, to = network.contract(where.token), where.net.accounts["bob"].address
        await token.call("transfer", to, 1, account=where.alice)
        for at in range(count):
            tell(f"worker killed and started, {at + 1} of {count}")
            await asyncio.to_thread(where.net.kill, "w0", hold=True)
            pending = await token.submit("transfer", to, 1, account=where.alice)
            await asyncio.sleep(0.5)
            began = time.perf_counter()
            await asyncio.to_thread(where.net.resume, "w0")
            await pending.wait(60)
            to_call.append(time.perf_counter() - began)
            await asyncio.to_thread(where.net.kill, "w0")
            began = time.perf_counter()
            await token.call("transfer", to, 1, account=where.alice, deadline=60)
            from_kill.append(time.perf_counter() - began)
    return to_call, from_kill


def run(seconds: float) -> Result:
    figures = computed(max(2.0, seconds / 10))
    with place() as where:
        started, killed = asyncio.run(boots(where, BOOTS))
    return Result(
        "release",
        f"key release {THRESHOLD} of {SEATS}: computed alone; and a worker of a running devnet from process start "
        f"(interpreter, attestation, registration, keys, state) to the receipt of its first execution",
        (
            *figures,
            *timings("process start to the first proven receipt", started),
            *timings("kill -9 to the next proven receipt", killed),
        ),
    )
