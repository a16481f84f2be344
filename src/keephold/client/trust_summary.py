"""A trust report in five sentences, for somebody who has to decide and not to audit. Pure.

Each sentence is counted off the same sets and parties that the report lists below it, and says nothing of its own: a
goal's sentence gives the size of its smallest sets and of the next larger ones; the worst break is that of the single
party which reaches most, in the words that the report has for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from keephold.client.breaking import Breaking, Broken, Party
from keephold.client.trust_facts import Enclave, TrustFacts
from keephold.client.trust_words import NOT_PROVEN, Alone

_SIZES: Final = 2
"""How many sizes of sets a sentence tells of: the smallest, and the next."""

_NOUNS: Final = {
    "worker": ("operator of a worker", "operators of workers"),
    "gatekeeper": ("operator of a gatekeeper", "operators of gatekeepers"),
    "both": ("operator of a worker and a gatekeeper", "operators of a worker and a gatekeeper each"),
    "governance": ("governance key", "governance keys"),
    "validator": ("validator", "validators"),
    "vendor": ("TEE vendor", "TEE vendors"),
    "machine": ("attested machine that they broke", "attested machines that they broke"),
}


@final
@dataclass(frozen=True, slots=True)
class Summary:
    """A sentence or two on each question."""

    read: str
    """Who can reveal the contract's state: the smallest sets."""
    forge: str
    """Who can have a result believed that the code did not compute."""
    stop: str
    """Who can stop it."""
    worst: str
    """What the worst break of one party exposes."""
    assumed: str
    """What nothing here proves."""

    @property
    def lines(self) -> tuple[str, ...]:
        """The five of them, each with its question."""
        return (
            f"Who can read it:     {self.read}",
            f"Who can forge it:    {self.forge}",
            f"Who can stop it:     {self.stop}",
            f"Worst single break:  {self.worst}",
            f"Taken on trust:      {self.assumed}",
        )


def summary(
    facts: TrustFacts,
    parties: Mapping[Party, tuple[Enclave, ...]],
    breakings: tuple[Breaking, Breaking, Breaking],
    singles: Iterable[Alone],
) -> Summary:
    """Return what the goals (reveal, forge, stop) and the single parties come to."""
    reveal, forge, stop = breakings
    return Summary(
        _takes(reveal, parties),
        _takes(forge, parties),
        _takes(stop, parties),
        _worst(tuple(singles), breakings),
        _assumed(facts),
    )


def _takes(goal: Breaking, parties: Mapping[Party, tuple[Enclave, ...]]) -> str:
    if goal.fewest is None:
        return "Nobody named below, not even all of them together."
    if goal.fewest == 0:
        return "Nobody is needed: it is so already."
    said = []
    for size in sorted({len(item) for item in goal.sets})[:_SIZES]:
        found = [item for item in goal.sets if len(item) == size]
        kinds = _kinds(found, parties, is_complete=goal.is_complete)
        said.append(f"one party alone: {kinds}" if size == 1 else f"{size} parties together: {kinds}")
    return f"{said[0][0].upper()}{'; or '.join(said)[1:]}."


def _kinds(sets: Iterable[Broken], parties: Mapping[Party, tuple[Enclave, ...]], *, is_complete: bool) -> str:
    """Return how many sets of each make-up there are, in the order in which they come."""
    alike = Counter(tuple(sorted(Counter(_kind(party, parties) for party in item).items())) for item in sets)
    said = []
    for make_up, times in alike.items():
        if sum(count for _, count in make_up) == 1:
            said.append(_counted(make_up[0][0], times))
        else:
            least = "" if is_complete else "at least "
            sets_of_it = f" ({least}{times} such sets)" if times > 1 else ""
            said.append(" and ".join(_counted(kind, count) for kind, count in make_up) + sets_of_it)
    return ", ".join(said)


def _kind(party: Party, parties: Mapping[Party, tuple[Enclave, ...]]) -> str:
    if party.kind != "operator":
        return party.kind
    roles = {enclave.role for enclave in parties[party]}
    return roles.pop() if len(roles) == 1 else "both"


def _counted(kind: str, count: int) -> str:
    one, many = _NOUNS[kind]
    return f"{count} {one if count == 1 else many}"


def _worst(singles: tuple[Alone, ...], breakings: tuple[Breaking, Breaking, Breaking]) -> str:
    """Return what the party exposes that reaches most: reading weighs most, then forging, then stopping.

    A vendor, whose word is the hardware of all, always reaches much: beside it the worst of the others is told.
    """

    def weight(item: Alone) -> tuple[object, ...]:
        return (*(goal.goal in item.reaches for goal in breakings), len(item.enclaves))

    if not any(item.reaches for item in singles):
        return "No party can read, forge or stop it alone."
    worst = max(singles, key=weight)
    others = [item for item in singles if item.party.kind != "vendor" and item.reaches]
    told = [worst] if worst.party.kind != "vendor" or not others else [worst, max(others, key=weight)]
    return " Of the others: ".join(f"{item.party.label}. {item.sentence}" for item in told)


def _assumed(facts: TrustFacts) -> str:
    enclaves = tuple(dict.fromkeys((*facts.workers, *facts.departed, *facts.committee.members)))
    doubted = sum(not item.is_verified for item in enclaves)
    levels = sorted({item.level for item in enclaves if item.is_verified})
    simulated = [vendor.name for vendor in facts.vendors if vendor.is_simulated]
    real = [vendor.name for vendor in facts.vendors if not vendor.is_simulated]
    said = []
    if simulated:
        said.append(f"The hardware of {', '.join(simulated)} is SIMULATED: whoever owns the machine reads everything.")
    if real:
        said.append(f"That the hardware of {', '.join(real)} keeps its promise.")
    if levels:
        said.append(
            f"Confidence level {' and '.join(map(str, levels))} (1 is the best); the contract takes workers of "
            f"{facts.level} or better."
        )
    if doubted:
        said.append(f"{doubted} of {len(enclaves)} enclaves do not verify now.")
    said.append(f"That builds and code are honest, and more: {len(NOT_PROVEN)} points below.")
    return " ".join(said)
