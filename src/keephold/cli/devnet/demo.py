"""`keephold demo`: a confidential token on a devnet of its own; what outsiders see beside what owners see."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from keephold.base.errors import ConfigurationError, Rejected
from keephold.base.ids import ContractId
from keephold.cli.devnet.command import ending_on_terminate
from keephold.cli.inspect import SIMULATED
from keephold.cli.output import emit, tell
from keephold.cli.place import SHARED, Shared
from keephold.client.account import Account
from keephold.client.deployment import PROGRESS
from keephold.client.network import Contract, Network
from keephold.client.outside import OutsideContract, outside_contract
from keephold.client.source import code_from_source
from keephold.testing.ceremony import EngineName, Shape
from keephold.testing.devnet import Devnet

_HERE: Final = Path(__file__).resolve()
_SOURCES: Final = (
    _HERE.parents[2] / "testing" / "examples" / "token.py",
    _HERE.parents[4] / "examples" / "token" / "token.py",
)
"""Where the example lies: in a wheel, in a clone."""

_VALIDATORS: Final = 4
"""The fewest of which one may fail."""

_WIDTH: Final = 132
_HEX: Final = 16
_DEADLINE: Final = 180.0
"""Seconds for each step, on a machine that does much else; a laptop takes one or two."""


@dataclass(frozen=True, slots=True)
class Act:
    """One call, from both sides."""

    sender: Account
    text: str
    outcome: str
    sealed: bytes
    receipt: bytes


def demo(
    *,
    engine: Annotated[
        EngineName, Parameter(help="What orders transactions: the node alone, or four validators on CometBFT.")
    ] = "embedded",
    shared: Shared = SHARED,
) -> None:
    """Start a devnet, deploy the token example, transfer, and show what outsiders and owners see of it."""
    started = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)
    say: Callable[[str], None] = (lambda _: None) if shared.json else console.print
    with ending_on_terminate():
        shape = Shape(validators=_VALIDATORS if engine == "cometbft" else 1)
        nodes = f"{shape.validators} validators on CometBFT" if shape.is_on_comet else "one node"
        say(f"starting a devnet: {nodes}, three gatekeepers, one worker; all enclaves simulated")
        with Devnet.start(shape=shape, progress=tell) as net, Network.connect(net.urls, net.genesis) as network:
            say(f"  network {network.id.hex()[:16]} at {net.url} after {time.monotonic() - started:.1f} s")
            alice, bob, carol = (net.accounts[name] for name in ("alice", "bob", "carol"))
            token = network.deploy(
                code_from_source(token_source()),
                "GLD",
                1_000_000,
                account=alice,
                deadline=_DEADLINE,
                progress=_stages(say, started),
            )
            say(f"  Token is {token.address}, deployed after {time.monotonic() - started:.1f} s")
            acts = [
                _act(token, alice, "transfer", (bob, 250)),
                _act(token, bob, "transfer", (carol, 40)),
                _act(token, carol, "transfer", (alice, 5_000)),
            ]
            views = {who.name: token.query("balance", account=who, deadline=_DEADLINE) for who in (alice, bob, carol)}
            contract = ContractId(token.address.value)
            seen = network.run(lambda n: outside_contract(n.connection, contract))
            sentences = token.verified().argument.sentences
    seconds = time.monotonic() - started
    if shared.json:
        _print_json(acts, views, seen, sentences, engine, seconds)
        return
    console.print(_calls(acts), _state(seen, views))
    console.print("Who can read this?", style="bold")
    for number, sentence in enumerate(sentences, 1):
        console.print(f"{number}. {sentence}")
    console.print(SIMULATED, style="bold red")
    console.print(f"done in {seconds:.1f} s; nothing is left running")


def token_source() -> str:
    """Return the source of the token example.

    Raises:
        ConfigurationError: this installation has no examples.
    """
    for path in _SOURCES:
        if path.exists():
            return path.read_text(encoding="utf-8")
    raise ConfigurationError("the token example is not installed: run the demo from a clone or a wheel")


def _stages(say: Callable[[str], None], started: float) -> Callable[[str], None]:
    return lambda stage: say(f"  {time.monotonic() - started:4.1f} s  {PROGRESS.get(stage, stage)}")


def _act(token: Contract, sender: Account, method: str, arguments: tuple[Account, int]) -> Act:
    to, amount = arguments
    sent = token.submit(method, to.address, amount, account=sender)
    try:
        sent.wait(_DEADLINE)
        outcome = "done"
    except Rejected as refused:
        outcome = f"rejected: {refused}"
    return Act(sender, f"{method}({to.name}, {amount})", outcome, sent.sealed, sent.receipt)


def _calls(acts: list[Act]) -> Table:
    table = Table(title="Three calls, from both sides", title_justify="left", expand=True)
    table.add_column("the ledger shows everybody: sender, size, ciphertext")
    table.add_column("the sender reads")
    for act in acts:
        outside = (
            f"from {act.sender.address.text[:14]}…\n"
            f"call    {len(act.sealed):>5} B  {_shown(act.sealed)}\n"
            f"receipt {len(act.receipt):>5} B  {_shown(act.receipt)}"
        )
        table.add_row(outside, f"{act.sender.name}\n{act.text}\n{act.outcome}", end_section=True)
    return table


def _state(seen: OutsideContract, views: dict[str, int]) -> Table:
    table = Table(title="The token's state, from both sides", title_justify="left", expand=True)
    table.add_column(f"the ledger shows everybody: {len(seen.slots)} slots, as tag, size, ciphertext")
    table.add_column("each owner reads, by asking the contract")
    outside = "\n".join(f"{slot.tag.hex()[:_HEX]}…  {len(slot.value)} B  {_shown(slot.value)}" for slot in seen.slots)
    table.add_row(outside, "\n".join(f"{name}: balance {balance}" for name, balance in views.items()))
    return table


def _shown(data: bytes) -> str:
    """Return the middle of an envelope: at its ends stands what names its format and context."""
    middle = len(data) // 2
    return f"…{data[middle : middle + _HEX].hex()}…"


def _print_json(
    acts: list[Act],
    views: dict[str, int],
    seen: OutsideContract,
    sentences: tuple[str, ...],
    engine: EngineName,
    seconds: float,
) -> None:
    body = {
        "calls": [
            {
                "outside": {"sender": act.sender.address, "call": act.sealed, "receipt": act.receipt},
                "inside": {"sender": act.sender.name, "call": act.text, "outcome": act.outcome},
            }
            for act in acts
        ],
        "slots": [{"tag": slot.tag, "sealed": slot.value} for slot in seen.slots],
        "balances": views,
        "argument": list(sentences),
        "simulated": True,
        "engine": engine,
        "milliseconds": round(seconds * 1000),
    }
    emit(body, "", as_json=True)
