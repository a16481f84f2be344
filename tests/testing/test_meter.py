"""`keephold leaks` names the argument that leaks, by what, and with the smallest pair of secrets that shows it."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given, settings

from keephold.base.errors import InputError
from keephold.cli import main
from keephold.client.abi import encode_value, parse_abi
from keephold.client.source import code_from_source
from keephold.contract.model import method_of
from keephold.contract.native import encode_arguments
from keephold.testing import strategies

LEAKY = """
from keephold import Address, Call, Contract, Event, Map, Record, call, init, require


class Told(Event):
    number: int


class Pair(Record):
    left: int
    words: tuple[str, ...]


class Leaky(Contract, pad=(256, 1024)):
    tally: Map[int, int]
    kept: int = 0

    @init
    def setup(self, ctx: Call, start: int, name: str) -> None:
        require(name != "", "nameless")
        self.kept = start

    @call
    def vote(self, ctx: Call, answer: int, comment: bool) -> None:
        self.tally[answer] = self.tally.get(answer, 0) + 1

    @call
    def tell(self, ctx: Call, number: int) -> None:
        if number == 7:
            ctx.emit(Told(number), to=(ctx.sender,))

    @call
    def work(self, ctx: Call, hard: bool) -> int:
        total = 0
        for number in range(30_000 if hard else 10):
            total += number
        return 1

    @call
    def keep(self, ctx: Call, pair: Pair, to: Address) -> None:
        self.tally[0] = pair.left
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "leaky.py"
    path.write_text(LEAKY)
    yield path
    sys.modules.pop("keephold_leaks_contract", None)


def found(capsys) -> dict[tuple[str, str], dict[str, dict[str, str]]]:
    rows: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for row in json.loads(capsys.readouterr().out)["shaped"]:
        rows.setdefault((row["method"], row["argument"]), {})[row["shapes"]] = row
    return rows


def test_what_leaks_is_named_with_a_pair_that_shows_it(file, capsys):
    assert main.run(["leaks", f"{file}:Leaky", "5", "gold", "--json", "--no-time"]) == 0
    rows = found(capsys)
    assert set(rows) == {("vote", "answer"), ("tell", "number"), ("keep", "pair")}
    slots = rows["vote", "answer"]["slots, by the calls that wrote them"]
    assert slots["one secret"] != slots["another"]
    assert "7" in (rows["tell", "number"]["events, by size"][side] for side in ("one secret", "another"))
    assert set(rows["keep", "pair"]) == {"bytes sent"}


def test_time_is_told_by_fuel(file, capsys):
    before, _, rest = LEAKY.partition("    @call\n    def vote")
    file.write_text(f"{before}    @call\n    def work{rest.partition('def work')[2]}")
    assert main.run(["leaks", str(file), "--json", "--examples", "32"]) == 0
    rows = found(capsys)
    assert set(rows["work", "hard"]) == {"time"}
    seen = {rows["work", "hard"]["time"][side] for side in ("is seen as", "seen as")}
    assert all(text.endswith(" ms") for text in seen)
    assert len(seen) == 2


ASKED = """
from keephold import Call, Contract, Map, View, call, init, view


class Asked(Contract, pad=(512, 4096)):
    notes: Map[int, str]

    @init
    def setup(self, ctx: Call) -> None:
        self.notes[0] = "x" * 600

    @call
    def note(self, ctx: Call, number: int) -> None:
        self.notes[number] = "short"

    @view
    def read(self, ctx: View, number: int) -> str:
        return self.notes.get(number, "")

    @view
    def told(self, ctx: View, text: str) -> bool:
        return text == "x"

    @view
    def sought(self, ctx: View, number: int) -> bool:
        found = 0
        for place in range(number % 8 * 5000):
            found += place == number
        return found > 0

    @view
    def same(self, ctx: View, number: int) -> int:
        return 1 if number in self.notes else 0
"""


def test_views_are_tried_for_what_their_gateway_and_host_see(file, capsys):
    file.write_text(ASKED)
    assert main.run(["leaks", str(file), "--json", "--examples", "64"]) == 0
    rows = found(capsys)
    assert set(rows) == {("note", "number"), ("read", "number"), ("told", "text"), ("sought", "number")}
    assert set(rows["read", "number"]) == {"question: bytes of the answer"}
    seen = rows["read", "number"]["question: bytes of the answer"]
    assert {seen["is seen as"], seen["seen as"]} == {"512", "4096"}
    assert set(rows["told", "text"]) == {"question: bytes sent"}
    assert set(rows["sought", "number"]) == {"question: time"}


HIDDEN = """
from keephold import Address, Call, Contract, Event, Map, call, init, require


class Said(Event):
    number: int


class Long(Event):
    text: str


class Hidden(Contract):
    owner: Address
    open: bool = False
    slots: Map[int, int]
    texts: Map[Address, str]
    lists: Map[Address, tuple[int, ...]]

    @init
    def setup(self, ctx: Call) -> None:
        self.owner = ctx.sender

    @call
    def owners_only(self, ctx: Call, secret: int) -> None:
        require(ctx.sender == self.owner, "forbidden")
        if secret > 77_777:
            self.slots[1] = 1

    @call
    def later(self, ctx: Call, flag: bool) -> None:
        require(self.open, "closed")
        if flag:
            self.slots[2] = 1

    @call
    def opening(self, ctx: Call) -> None:
        self.open = True

    @call
    def published(self, ctx: Call, secret: int) -> None:
        ctx.emit(Said(secret), to="public")

    @call
    def ordered(self, ctx: Call, first: bool) -> None:
        events = (Said(1), Long("x" * 600))
        for event in events if first else events[::-1]:
            ctx.emit(event, to=(ctx.sender,))

    @call
    def longer(self, ctx: Call, text: str) -> None:
        self.texts[ctx.sender] = text

    @call
    def more(self, ctx: Call, numbers: tuple[int, ...]) -> None:
        self.lists[ctx.sender] = numbers

    @call
    def quiet(self, ctx: Call, secret: int, to: Address) -> int:
        self.slots[3] = secret
        ctx.emit(Said(secret), to=(to,))
        return secret
"""


def test_what_only_the_creator_reaches_or_only_later_or_only_at_length_is_found(file, capsys):
    file.write_text(HIDDEN)
    assert main.run(["leaks", str(file), "--json", "--no-time"]) == 0
    by_slots = {"slots written, by size", "slots, by the calls that wrote them"}
    assert {place: set(row) for place, row in found(capsys).items()} == {
        ("owners_only", "secret"): by_slots,
        ("later", "flag"): by_slots,
        ("published", "secret"): {"what the observer can open"},
        ("ordered", "first"): {"events, by size"},
        ("longer", "text"): {"bytes sent", "slots written, by size"},
        ("more", "numbers"): {"bytes sent", "slots written, by size"},
    }


def test_what_views_show_is_said_where_there_are_views(file, capsys):
    assert main.run(["leaks", str(file), "--no-time", "--examples", "4"]) == 0
    assert "Views" not in capsys.readouterr().out
    file.write_text(ASKED)
    assert main.run(["leaks", str(file), "--no-time", "--examples", "4"]) == 0
    assert "Views leave nothing on the ledger" in capsys.readouterr().out


def test_for_people(file, capsys):
    assert main.run(["leaks", str(file), "--no-time"]) == 0
    shown = capsys.readouterr()
    assert "vote(answer)…" in shown.err
    header, rule, *rest = shown.out.splitlines()
    assert header.split()[:3] == ["method", "argument", "shapes"]
    assert set(rule) == {"-", " "}
    assert any(line.startswith("vote ") for line in rest)


def test_what_it_is_told_in_vain(file, tmp_path, capsys):
    assert main.run(["leaks", str(file), "5", "", "--no-time"]) == 2
    assert "nameless" in capsys.readouterr().err
    assert main.run(["leaks", str(file), "--examples", "0"]) == 2
    assert main.run(["leaks", str(tmp_path / "none.py")]) == 2
    plain = tmp_path / "plain.py"
    plain.write_text("from keephold import Call, Contract, call\n\n\nclass Plain(Contract):\n    @call\n"
                     "    def go(self, ctx: Call) -> None:\n        pass\n")  # fmt: skip
    assert main.run(["leaks", str(plain), "--no-time"]) == 0
    assert "no argument" in capsys.readouterr().out
    assert main.run(["leaks", str(plain), "5", "--no-time"]) == 2


def test_strategies_make_what_methods_take():
    from auction import Auction

    @given(arguments=strategies.for_method(Auction.bid))
    @settings(max_examples=30)
    def fits(arguments):
        assert encode_arguments(method_of(Auction.bid), arguments, {})

    fits()
    with pytest.raises(InputError, match="no method of a contract"):
        strategies.for_method(len)


def test_strategies_fit_every_schema():
    abi = parse_abi(code_from_source(LEAKY).abi)
    for method in abi.methods.values():
        for parameter in method.parameters:

            @given(value=strategies.for_parameter(parameter))
            @settings(max_examples=20, database=None)
            def fits(value):
                encode_value(parameter.schema, value, "it")  # noqa: B023 - called at once

            fits()
