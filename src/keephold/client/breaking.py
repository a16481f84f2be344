"""Smallest sets of parties whose breaking reaches a goal. Arithmetic only; what the goals are is argued in `trust`.

A `Threshold` is met by parties that weigh `need` together, a `Way` when all its thresholds are, a goal when one of its
ways is. A set is *minimal* if it reaches the goal and no set inside it does. Whoever breaks more, breaks that too: so
the minimal sets say all there is to say.

Thresholds of one way share no party, so what one needs never pays for another, and the fewest of a way is a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from typing import Final, Literal, final

MOST_SETS: Final = 128
"""Sets listed for each way: 8 of 16 seats alone have 12 870."""

PartyKind = Literal["operator", "governance", "validator", "vendor", "machine"]


@final
@dataclass(frozen=True, slots=True, order=True)
class Party:
    """Somebody, or something, that breaks as one: named by kind and by public keys or names."""

    kind: PartyKind
    names: tuple[str, ...]
    """Sorted; more than one where operators share hardware."""

    @property
    def label(self) -> str:
        """For people; keys are cut to 16 characters."""
        if self.kind == "machine":
            return "an attested machine of theirs, broken"
        shown = " + ".join(name if self.kind == "vendor" else name[:16] for name in self.names)
        return {"governance": "governance key", "vendor": "TEE vendor"}.get(self.kind, self.kind) + f" {shown}"


Broken = frozenset[Party]


@final
@dataclass(frozen=True, slots=True)
class Threshold:
    """Parties that weigh `need` together. A need of 0 is met by nobody at all: what it asks for happened already."""

    weights: Mapping[Party, int]
    """Each at least 1."""
    need: int

    def is_met(self, broken: Iterable[Party]) -> bool:
        """Say whether these parties suffice."""
        return sum(self.weights.get(party, 0) for party in set(broken)) >= self.need

    def fewest(self) -> int | None:
        """Return the smallest number of parties that suffices; None if all together do not."""
        heaviest = sorted(self.weights.values(), reverse=True)
        reached = accumulate(heaviest, initial=0)
        return next((count for count, total in enumerate(reached) if total >= self.need), None)

    def minimal(self) -> Iterator[Broken]:
        """Yield every minimal set, one of the smallest first.

        Parties join in order of falling weight, and a set ends with the one that reaches `need`. That one is its
        lightest; without it, or a heavier one in its place, the need is not reached: so the set is minimal.
        """
        ordered = sorted(self.weights, key=lambda party: (-self.weights[party], party))
        rest = list(accumulate((self.weights[party] for party in reversed(ordered)), initial=0))[::-1]

        def choose(start: int, total: int, chosen: tuple[Party, ...]) -> Iterator[Broken]:
            if total >= self.need:
                yield frozenset(chosen)
                return
            for index in range(start, len(ordered)):
                if total + rest[index] < self.need:
                    return
                party = ordered[index]
                yield from choose(index + 1, total + self.weights[party], (*chosen, party))

        return choose(0, 0, ())


@final
@dataclass(frozen=True, slots=True)
class Way:
    """One way to a goal: all thresholds together."""

    how: str
    """A sentence: who, and what they do."""
    needs: tuple[Threshold, ...]

    def __post_init__(self) -> None:
        parties = list(chain.from_iterable(need.weights for need in self.needs))
        if len(parties) != len(set(parties)):
            raise ValueError("two thresholds of one way share a party")

    def is_open_to(self, broken: Iterable[Party]) -> bool:
        """Say whether whoever broke these parties can go this way."""
        return all(need.is_met(broken) for need in self.needs)

    def fewest(self) -> int | None:
        """Return the smallest number of parties that suffices; None if the way is closed to all together."""
        counts = [need.fewest() for need in self.needs]
        return None if None in counts else sum(count for count in counts if count is not None)

    def minimal(self, most: int = MOST_SETS) -> tuple[Broken, ...]:
        """Return the minimal sets, at most `most` of them, one of the smallest first."""
        sets: list[Broken] = [frozenset()]
        for need in self.needs:
            found = list(islice(need.minimal(), most))
            sets = [left | right for left in sets for right in found][:most]
        return tuple(sets)


@final
@dataclass(frozen=True, slots=True)
class Breaking:
    """All ways to one goal, and what they come to."""

    goal: str
    ways: tuple[Way, ...]
    """Those that anybody can go, the cheapest first."""
    sets: tuple[Broken, ...]
    """Minimal ones, the smallest first; the empty one alone if the goal is reached already."""
    is_complete: bool
    """False if a way has more sets than are listed."""

    @property
    def fewest(self) -> int | None:
        """How many parties it takes; None if there is no way."""
        return len(self.sets[0]) if self.sets else None

    @property
    def smallest(self) -> tuple[Broken, ...]:
        """The sets of that size."""
        return tuple(item for item in self.sets if len(item) == self.fewest)

    def is_reached_by(self, broken: Iterable[Party]) -> bool:
        """Say whether breaking these parties suffices."""
        return any(way.is_open_to(broken) for way in self.ways)


def breaking(goal: str, ways: Iterable[Way], most: int = MOST_SETS) -> Breaking:
    """Return the minimal sets of parties over all ways to a goal."""
    costs = [(way.fewest(), way) for way in ways]
    by_cost = sorted(((cost, way) for cost, way in costs if cost is not None), key=lambda item: item[0])
    passable = [way for _, way in by_cost]
    found = [way.minimal(most + 1) for way in passable]
    candidates = sorted({item for sets in found for item in sets[:most]}, key=lambda item: (len(item), sorted(item)))
    # Every goal is monotone: a set is minimal if it does not do without any one of its parties.
    minimal = tuple(
        item for item in candidates if not any(way.is_open_to(item - {party}) for party in item for way in passable)
    )
    return Breaking(goal, tuple(passable), minimal, all(len(sets) <= most for sets in found))
