"""What the editor tells an author: the context type is the capability."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOKEN = Path(__file__).parents[2] / "examples" / "token" / "token.py"
ESCROW = Path(__file__).parents[2] / "examples" / "escrow" / "escrow.py"

GOOD = """
from keephold import Address, Call, Contract, Event, Map, PublicView, Record, View, call, init, replace, require, view

class Spend(Record):
    to: str
    sats: int
    yes: frozenset[Address] = frozenset()

class Staged(Event):
    id: int
    spend: Spend

class Vault(Contract, pad=(1024,)):
    officers: frozenset[Address]
    spends: Map[int, Spend]
    count: int = 0

    @init
    def setup(self, ctx: Call, officers: frozenset[Address]) -> None:
        self.officers = officers

    @call
    def stage(self, ctx: Call, to: str, sats: int) -> int:
        require(ctx.sender in self.officers, "forbidden")
        self.count += 1
        self.spends[self.count] = replace(Spend(to, sats), yes=frozenset({ctx.sender}))
        ctx.emit(Staged(self.count, self.spends[self.count]), to=tuple(sorted(self.officers)))
        return self.count

    @view(public=True)
    def total(self, ctx: PublicView) -> int:
        return self.count

    @view
    def mine(self, ctx: View) -> bool:
        return ctx.reader in self.officers
"""

BAD = """
from keephold import Address, Call, Contract, Interface, Map, Message, Outcome, PublicView, Record, View
from keephold import call, message, reply, view
class P(Record):
    x: int
class B(Contract):
    m: Map[int, str]
    @call  # error
    def a(self, ctx: View) -> None: ...
    @view  # error
    def b(self, ctx: Call) -> int: return 1
    @view
    def c(self, ctx: View) -> None:
        ctx.emit(P(1), to=())  # error
        ctx.random(3)  # error
    @view(public=True)  # error
    def d(self, ctx: View) -> int: return 1
    @call
    def e(self, ctx: Call) -> None:
        P("a")  # error
        P(1).x = 2  # error
        self.m["a"] = "b"  # error
        ctx.emit(P(1), to=())  # error
        ctx.reader  # error
class I(Interface):
    def pay(self, to: Address) -> Message[int]:
        raise NotImplementedError
class C(Contract):
    @reply
    def on_int(self, ctx: Call, outcome: Outcome[int]) -> None: ...
    @reply
    def on_text(self, ctx: Call, outcome: Outcome[str]) -> None: ...
    @reply  # error
    def on_view(self, ctx: View, outcome: Outcome[int]) -> None: ...
    @call
    def go(self, ctx: Call, at: Address) -> int:
        number = ctx.send(I.at(at).pay(at), reply=self.on_int)
        ctx.send(I.at(at).pay(at), reply=self.on_text)  # error
        ctx.send(I.at(at).pay(number))  # error
        ctx.send(message(at, "anything", 1, "x"), reply=self.on_text)
        return number
    @view
    def look(self, ctx: View) -> None:
        ctx.send(message(ctx.contract, "x"))  # error
"""


def mypy(tmp_path, *files):
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)


def test_the_documentation_s_contracts_are_strictly_typed_and_misuse_is_an_error_in_the_editor(tmp_path):
    for name, text in {
        "gold.py": TOKEN.read_text(),
        "vault.py": GOOD,
        "bad.py": BAD,
        "escrow.py": ESCROW.read_text(),
    }.items():
        (tmp_path / name).write_text(text)
    ran = mypy(tmp_path, "gold.py", "vault.py", "escrow.py", "bad.py")
    flagged = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error:" in line}
    assert {line.split(":")[0] for line in ran.stdout.splitlines() if ": error:" in line} == {"bad.py"}, ran.stdout
    assert flagged == {number for number, line in enumerate(BAD.splitlines(), 1) if "# error" in line}
