"""`keephold devnet`: a network of simulated enclaves in the foreground, until it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.chain.chain_id import chain_id
from keephold.cli.output import emit, tell
from keephold.cli.place import SHARED, Shared
from keephold.testing.ceremony import EngineName, Shape
from keephold.testing.devnet import Devnet
from keephold.testing.supervisor import Died, Event

DEFAULT_PORT: Final = 7700
"""Below 7707, from which the nodes of a founded network count up: both run on one machine."""

_RED: Final = "\x1b[1;31m"
_PLAIN: Final = "\x1b[0m"


def devnet(
    *,
    state: Annotated[Path | None, Parameter(help="Directory to keep everything in (default: nothing is kept).")] = None,
    port: Annotated[int, Parameter(help="Port of the node; 0 takes any free one.")] = DEFAULT_PORT,
    gatekeepers: Annotated[int, Parameter(help="How many gatekeepers share the MasterKey.")] = 3,
    threshold: Annotated[int, Parameter(help="How many of them make a contract's key.")] = 2,
    workers: Annotated[
        int, Parameter(help="How many workers; `deploy --workers` says how many of them run one contract.")
    ] = 1,
    validators: Annotated[int, Parameter(help="How many nodes order transactions; several do so on CometBFT.")] = 1,
    engine: Annotated[
        EngineName | None,
        Parameter(help="What orders transactions (default: cometbft for several validators; Go builds it once)."),
    ] = None,
    shared: Shared = SHARED,
) -> None:
    """Start a network of simulated enclaves on this machine; end it with Ctrl-C."""
    if not 0 <= port < 1 << 16:
        raise InputError("--port is 0 to 65535")
    shape = Shape(gatekeepers, threshold, workers, validators, engine)
    with ending_on_terminate():
        try:
            with Devnet.start(state=state, port=port, shape=shape, report=report, progress=tell) as net:
                net.link()
                emit(_facts(net, shape), banner(net, shape), as_json=shared.json)
                signal.pause()
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)


@contextmanager
def ending_on_terminate() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: in order, leaving nothing behind.

    SIGINT too, where a shell that started the command in the background had it ignored.
    """

    def interrupt(_: int, __: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def report(event: Event) -> None:
    """Tell that a program died and what becomes of it."""
    if isinstance(event, Died):
        how = f"signal {-event.status}" if event.status < 0 else f"status {event.status}"
        print(f"  {event.name} ended ({how}); started again in {event.pause:.1f} s", file=sys.stderr, flush=True)


def banner(net: Devnet, shape: Shape) -> str:
    """Return what a person wants to know about a devnet."""
    where = "memory, lost on exit (--state DIR keeps it)" if net.is_ephemeral else str(net.home)
    accounts = list(net.accounts.values())
    red, plain = (_RED, _PLAIN) if sys.stdout.isatty() else ("", "")
    shown = "   ".join(f"{account.name} {account.address.text[:10]}…" for account in accounts[:4])
    return "\n".join(
        (
            f"keephold devnet   network {net.pinned.id.hex()[:8]}   {_ordering(shape)}   state: {where}",
            f"{red}TEE: SIMULATED{plain} — not confidential from the owner of this machine",
            f"accounts      {shown}   … {accounts[-1].name}",
            (
                f"gatekeepers   {_named('g', shape.gatekeepers)} ({shape.threshold} of {shape.gatekeepers})"
                f"    workers {_named('w', shape.workers)}"
            ),
            *(f"{name:<13} {url}/v1" for name, url in zip(shape.nodes, net.urls, strict=True) if len(net.urls) > 1),
            *(f"{f'RPC of {name}':<13} {url}" for name, url in zip(shape.nodes, net.rpcs, strict=bool(net.rpcs))),
            *((f"chain id      {chain_id(net.pinned.id)}",) if net.rpcs else ()),
            f"API           {net.url}/v1      logs {net.home / 'logs'}",
        )
    )


def _ordering(shape: Shape) -> str:
    if not shape.is_on_comet:
        return "blocks on demand"
    return f"CometBFT, {shape.validators} validator{'s' if shape.validators > 1 else ''}"


def _named(letter: str, count: int) -> str:
    return " ".join(f"{letter}{number}" for number in range(count)) or "none"


def _facts(net: Devnet, shape: Shape) -> dict[str, object]:
    return {
        "network": net.pinned.id,
        "url": net.url,
        "urls": list(net.urls),
        "rpcs": list(net.rpcs),
        "chain_id": chain_id(net.pinned.id),
        "directory": str(net.home),
        "ephemeral": net.is_ephemeral,
        "simulated": True,
        "engine": "cometbft" if shape.is_on_comet else "embedded",
        "validators": shape.validators,
        "gatekeepers": shape.gatekeepers,
        "threshold": shape.threshold,
        "workers": shape.workers,
        "accounts": {name: account.address for name, account in net.accounts.items()},
        "pids": dict(net.pids),
    }
