"""What breaking one party exposes, in words; the rule for messages; and what no proof shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from keephold.client.breaking import Breaking, Party
from keephold.client.trust_facts import Enclave, TrustFacts

NOT_PROVEN: Final = (
    (
        "That the allowed measurements are honest code: build it yourself and compare; whoever wrote a build that "
        "leaks needs to break nothing."
    ),
    (
        "That the contract's code keeps its secrets: its hash is proven and its source is public, read it. What a call "
        "shows by its size and the slots it touches is public."
    ),
    "Who owns a key: two operators, validators or governance keys may be one person.",
    (
        "That those in the committee's record hold the shares: enclaves check that when the committee is formed or "
        "handed on, and its key ceremony is argued, not proven here."
    ),
    (
        "Who kept a key: the holders of ended epochs are proven, whether one was broken is not. Such a key opens what "
        "was sealed under its epoch, for ever; the keys that the contract owns do not rotate at all."
    ),
    "That hardware keeps its promise: a vendor's root is where every proof here ends.",
)
"""Plainly."""

NOT_COUNTED: Final = (
    (
        "Answers to questions: they are sealed, not signed. Whoever has the contract's key and carries the question "
        "(its node or gateway) can answer it, without any worker."
    ),
    "A past: validators who all collude can show a worker that just started the state as t gatekeepers saw it last.",
    (
        "Pauses: the creator may end the key epoch, and calls wait meanwhile; a node may refuse to serve you, and "
        "another one serves."
    ),
)
"""What falls short of the three goals."""

MESSAGES: Final = (
    (
        "Each direction between two contracts has keys of its own, one for each pair of their key epochs. The ledger "
        "keeps no list of pairs: what once went between two stays in past blocks, which no proof shows to be all. So "
        "this is the rule for every contract that this one sends to or hears from; it may send to any, and any to it."
    ),
    (
        "Who can read them: whoever can reveal the state of either of the two. So every set above suffices, and every "
        "set of the other contract does (`keephold trust` names them). Who left in an earlier epoch reads what was "
        "still sent under that epoch, too."
    ),
    (
        "Who can forge one that this contract sends: whoever can forge a result of this contract; or who holds the "
        "other contract's key, with more than two thirds of the validators' power."
    ),
    (
        "Who can forge one that comes to it: whoever can forge a result of the sender; or who holds this contract's "
        "key, with more than two thirds of the validators' power. Answers go the same way."
    ),
    "Who can withhold one for ever: more than two thirds of the validators' power.",
)
"""Who can read or forge messages between two contracts, and their answers. From `gatekeeper.lines` (who is told a
channel's key: the workers of either end), `ledger.rules.messages` (what arrives: what an accepted result carried)."""

_SECOND: Final = 10**9
_UNITS: Final = (("day", 86_400 * _SECOND), ("hour", 3_600 * _SECOND), ("minute", 60 * _SECOND), ("second", _SECOND))


def duration(nanoseconds: int) -> str:
    """Return a duration in its largest whole unit."""
    for word, size in _UNITS:
        if nanoseconds >= size:
            count = nanoseconds / size
            return f"{count:.3g} {word}{'' if count == 1 else 's'}"
    return "no delay" if nanoseconds == 0 else "less than a second"


@final
@dataclass(frozen=True, slots=True)
class Alone:
    """What one party can do if it breaks and nobody else does."""

    party: Party
    enclaves: tuple[Enclave, ...]
    reaches: tuple[str, ...]
    """Of the three goals."""
    sentence: str


def alone(
    facts: TrustFacts, party: Party, enclaves: tuple[Enclave, ...], breakings: tuple[Breaking, Breaking, Breaking]
) -> Alone:
    """Return what breaking this party exposes."""
    reaches = tuple(item.goal for item in breakings if item.is_reached_by((party,)))
    parts = {
        "operator": _operator,
        "governance": _governance,
        "validator": _validator,
        "vendor": _vendor,
        "machine": _nothing,
    }[party.kind](facts, party, enclaves)
    verdict = f"Alone it can {', '.join(reaches)}." if reaches else "Alone it can neither reveal, nor forge, nor stop."
    return Alone(party, enclaves, reaches, f"{parts} {verdict}")


def _operator(facts: TrustFacts, party: Party, enclaves: tuple[Enclave, ...]) -> str:
    workers = [item for item in enclaves if item in facts.workers]
    left = [item for item in enclaves if item in facts.departed]
    seats = [item for item in enclaves if item in facts.committee.members]
    coming = [item for item in enclaves if item in facts.committee.successors and item not in seats]
    said = []
    if workers:
        identities = {item.identity for item in workers}
        others = {
            held.contract
            for exposure in facts.exposures
            if exposure.worker in identities
            for held in exposure.held
            if held.contract != facts.contract and not held.ended
        }
        past = sorted(
            {
                held.epoch
                for exposure in facts.exposures
                if exposure.worker in identities
                for held in exposure.held
                if held.contract == facts.contract and held.ended
            }
        )
        owned = sorted(
            {
                key
                for exposure in facts.exposures
                if exposure.worker in identities
                for signing in exposure.signing
                if signing.contract == facts.contract
                for key in signing.keys
            }
        )
        also = f", and {len(others)} other contract{'' if len(others) == 1 else 's'} assigned to it" if others else ""
        said.append(
            f"As {_labels(workers)}: state, calls, answers and messages of epoch {facts.epoch}{also}; it has "
            f"{len(workers)} of {facts.quorum} votes that make a result."
        )
        if past:
            epochs = f"epoch{'' if len(past) == 1 else 's'} {', '.join(map(str, past))}"
            said.append(f"What was sealed under {epochs}, which ended, if it kept the key.")
        if owned:
            said.append(f"It signs with the contract's own keys for ever, for they do not rotate: {', '.join(owned)}.")
    if left:
        said.append(
            f"As {_labels(left)}, not assigned any more: what is sealed under epoch {facts.epoch}, or under the next "
            "one while it changes, if it had the key."
        )
    if seats:
        count, need = len(seats), facts.committee.threshold
        less = (
            "every key of every contract"
            if 0 < need <= count
            else f"the network pepper, and {count} of {need} shares: no contract's key"
        )
        said.append(f"As {_labels(seats)}: {less}.")
    if coming:
        said.append(f"As {_labels(coming)}: a share of the next sharing, once it is done.")
    if party.names and any(bytes.fromhex(name) in facts.governance.keys for name in party.names):
        said.append(_governance(facts, party, enclaves))
    return " ".join(said)


def _governance(facts: TrustFacts, _: Party, __: tuple[Enclave, ...]) -> str:
    law = facts.governance
    return (
        f"One of {len(law.keys)} governance keys, of which {law.threshold} amend the law: measurements, vendors, "
        f"validators and thresholds after {duration(law.delay_ns)}, revocations at once."
    )


def _validator(facts: TrustFacts, party: Party, _: tuple[Enclave, ...]) -> str:
    total = sum(item.power for item in facts.validators)
    power = sum(item.power for item in facts.validators if item.public_key.hex() in party.names)
    said = f"{power} of {total} of the power that orders transactions: no key, no state. "
    if 3 * power > 2 * total:
        return said + (
            "It orders, delays and refuses as it likes, assigns workers among those that are attested, and can show a "
            "worker that just started the state as t gatekeepers saw it last."
        )
    return said + "With others it can delay and refuse."


def _vendor(facts: TrustFacts, party: Party, _: tuple[Enclave, ...]) -> str:
    relying = [
        item for item in (*facts.workers, *facts.committee.members) if item.is_verified and item.vendor in party.names
    ]
    said = f"{len(relying)} of the enclaves here rest on its root, and more can be registered under it."
    if any(item.is_simulated and item.name in party.names for item in facts.vendors):
        return said + " It SIMULATES hardware: whoever owns the machine reads its file, and with it everything."
    return said


def _nothing(_: TrustFacts, __: Party, ___: tuple[Enclave, ...]) -> str:
    return "A machine outside."


def _labels(enclaves: list[Enclave]) -> str:
    return " and ".join(item.label for item in enclaves)
