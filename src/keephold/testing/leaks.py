"""The leak meter: does a story look the same from outside, whatever the secret in it?

What an operator sees of a contract, and all that is compared here:

1. the calls, messages of other contracts and answers to own ones: who sent each, in which order, and its size;
2. for each the size of its receipt, the number and sizes of slots written and deleted, the sizes of events in the order
   in which they were emitted (a result holds them so), and to whom it sent messages of which size;
3. which calls wrote the same slot: a slot has one tag, which says nothing but that it is the same;
4. what an observer with an account of his own can open, public events for one;
5. how long each call ran, where that was measured (`fuel`), if the two differ by more than `NOISE`.

Slots are known by their histories, the calls that wrote them: tags of two runs cannot be compared, and need not be.

A call's time is its fuel in the sandbox: the same on every run. The host of a worker times executions by a clock that
its own machine disturbs, so differences below half a millisecond are left out here; over many calls he can average them
out, and what caches show him is in no figure of ours.

Not compared in a story: what travels beside the ledger. A question leaves nothing there; the gateway that carries it
and the host of the worker that answers see its size, the size of its answer, and how long that took (`SeenQuestion`).
Which slots it reads they do not see: the state lies in the enclave's memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from keephold.contract.records import Event

FUEL_PER_MS: Final = 7_000_000
"""About what an execution process burns in a millisecond."""

NOISE: Final = FUEL_PER_MS // 2
"""Fuel that tells nothing by itself."""

_WIDEST: Final = 48
"""Characters of a cell."""


@dataclass(frozen=True, slots=True)
class SeenCall:
    """One inbox entry, as everybody sees it."""

    sender: str
    """Name of the account; address of a contract."""
    size: int
    """Bytes of the sealed call; 0 for a message or answer, whose size is seen where it was made."""
    receipt: int
    """Bytes of the sealed receipt."""
    writes: Mapping[object, int]
    """Size of each slot written, by whatever names it in this run; 0 is a deletion."""
    events: tuple[int, ...]
    """Sizes, in order; one for each recipient."""
    messages: tuple[tuple[str, int], ...] = ()
    """Target and size of each, in order."""
    fuel: int = 0
    """What it burned in the sandbox, which stands for the time it took; 0 where that was not measured."""


@dataclass(frozen=True, slots=True)
class SeenQuestion:
    """One question, as its gateway and the host of its worker see it. The ledger does not."""

    size: int
    """Bytes of the sealed question."""
    answer: int
    """Bytes of the sealed answer."""
    fuel: int = 0
    """What it burned in the sandbox; 0 where that was not measured."""


@dataclass(frozen=True, slots=True)
class SeenContract:
    """One contract's part of a story."""

    name: str
    calls: tuple[SeenCall, ...]
    opened: tuple[Event, ...]
    """Events that the observer can open."""


class Difference(NamedTuple):
    """Something that tells one run from the other."""

    where: str
    first: str
    second: str


def differences(first: Sequence[SeenContract], second: Sequence[SeenContract]) -> list[Difference]:
    """Return everything that tells the two runs apart; nothing for runs that look alike."""
    names = [[contract.name for contract in run] for run in (first, second)]
    if names[0] != names[1]:
        return [_difference("contracts called", *names)]
    found: list[Difference] = []
    for number, (left, right) in enumerate(zip(first, second, strict=True), 1):
        place = left.name if len(first) == 1 else f"{left.name} ({number})"
        rows: list[tuple[str, object, object]] = [("calls", len(left.calls), len(right.calls))]
        for index, (a, b) in enumerate(zip(left.calls, right.calls, strict=False), 1):
            rows += [
                (f"call {index}: sender", a.sender, b.sender),
                (f"call {index}: bytes sent", a.size, b.size),
                (f"call {index}: bytes of the receipt", a.receipt, b.receipt),
                (f"call {index}: slots written, by size", _sizes(a.writes.values()), _sizes(b.writes.values())),
                (f"call {index}: events, by size", _runs(a.events), _runs(b.events)),
                (f"call {index}: messages, by target and size", _sent(a), _sent(b)),
            ]
            if abs(a.fuel - b.fuel) > NOISE:
                rows.append((f"call {index}: time", _time(a.fuel), _time(b.fuel)))
        rows += [
            ("slots, by the calls that wrote them", _histories(left.calls), _histories(right.calls)),
            ("what the observer can open", list(left.opened), list(right.opened)),
        ]
        found += [_difference(f"{place}, {what}", a, b) for what, a, b in rows if a != b]
    return found


def told_apart(first: SeenQuestion, second: SeenQuestion) -> list[Difference]:
    """Return everything that tells two questions apart; nothing for questions that look alike."""
    rows: list[tuple[str, object, object]] = [
        ("question: bytes sent", first.size, second.size),
        ("question: bytes of the answer", first.answer, second.answer),
    ]
    if abs(first.fuel - second.fuel) > NOISE:
        rows.append(("question: time", _time(first.fuel), _time(second.fuel)))
    return [_difference(what, a, b) for what, a, b in rows if a != b]


def table(found: Sequence[Difference], first: str, second: str) -> str:
    """Return differences for a person's eyes, under the two secrets."""
    rows = [Difference("what an operator sees", first, second), *found]
    cells = [[_cut(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _sizes(sizes: Iterable[int]) -> list[str]:
    counted = Counter(sorted(sizes))
    return [f"{count} x {size}" if size else f"{count} deleted" for size, count in counted.items()]


def _runs(sizes: Iterable[int]) -> list[str]:
    return [f"{len(list(run))} x {size}" for size, run in groupby(sizes)]


def _sent(call: SeenCall) -> list[str]:
    return [f"{size} to {target}" for target, size in call.messages]


def _time(fuel: int) -> str:
    return f"{fuel / FUEL_PER_MS:.1f} ms"


def _histories(calls: Sequence[SeenCall]) -> list[str]:
    """Return the history of every slot: `2 by 1+3` are two slots that calls 1 and 3 wrote."""
    histories: dict[object, list[str]] = {}
    for index, call in enumerate(calls, 1):
        for slot in call.writes:
            histories.setdefault(slot, []).append(str(index))
    counted = Counter("+".join(history) for history in histories.values())
    return [f"{count} by {history}" for history, count in sorted(counted.items())]


def _difference(where: str, first: object, second: object) -> Difference:
    return Difference(where, _shown(first), _shown(second))


def _shown(value: object) -> str:
    return ", ".join(str(item) for item in value) or "none" if isinstance(value, list) else str(value)


def _cut(cell: str) -> str:
    return cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…"
