"""Whom one has to trust with a contract: what follows from facts that proofs and evidence show. Pure.

**Who breaks as one.** Enclaves that share an operator or a platform: whoever owns the machine reaches what runs on it,
and whoever owns an operator's key runs all of his. The relation is closed under steps (A shares an operator with B, B a
platform with C), which makes parties larger and sets smaller than they may be: too suspicious, never too trusting. A
governance key that is an operator's key too belongs to that operator's party. Two keys of one person are two parties
here: nothing on a ledger shows who owns a key.

**(a) Reveal the state**: get the ContractKey of an epoch under which state is sealed.

1. *One party with a worker that is assigned, or left in this epoch*: its enclave may hold the key. How many must agree
   on a result does not matter: one reads.
2. *t seats*: t shares and the pepper, which each gatekeeper holds, make every key of every contract. Fewer learn
   nothing. Once a resharing is done, so do as many of the successors as the next sharing asks for.
3. *Governance's threshold of keys, after its delay*: allows a measurement of its own, revokes whoever is assigned, and
   has its code assigned; gatekeepers, who do as the law says, release keys to it.
4. *More than two thirds of the validators' power, and one attested machine that they broke*: assignment is the
   validators' word, so they assign it. Validators alone reveal nothing: gatekeepers and clients judge evidence
   themselves.
5. *A TEE vendor that the law names*: signs a quote for no hardware and registers that as a worker, which is assigned
   once a seat falls free.

**(b) Forge a result**: have content believed that the code did not compute. It must be sealed under the key, and be
ordered as an assigned worker's.

1. *q of the assigned workers*, q the quorum: identical bytes of q workers are accepted.
2. *Whoever reveals by 1 or 2, with more than two thirds of the validators' power*: clients take receipts under the
   validators' headers, sealed under the contract's key, and do not check who signed the result. Workers do
   (`worker.lineage`), and stop. A quorum does not bind validators who all collude with a holder of the key.
3. Governance, a vendor, and validators with a broken machine, as above. Without keys validators can put *older*
   genuine slots back, and nothing else: a past, not a forgery. It is said of them, and not counted here.

**(c) Stop it**, for as long as those who do it go on:

1. *A third of the validators' power*: no block is signed.
2. *So many assigned workers that fewer than q are left*: one that keeps its lease and is silent is not replaced. While
   keys are being agreed upon, a single one suffices: it disputes them, or refuses the code.
3. *So many gatekeepers that fewer than t are left*: no key is released, and the contract ends with the next restart of
   its workers.
4. *Governance's threshold of keys*: revokes every enclave, without delay.
5. *A TEE vendor*: calls its hardware out of date or revoked, until 2 or 3.

Only enclaves whose evidence verifies now count as able to work; everybody who may hold a key counts as able to leak it:
a lapsed lease does not erase a share. What falls short of the three is in `NOT_COUNTED`, what no proof shows in
`NOT_PROVEN`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, final

from keephold.client.breaking import Breaking, Party, Threshold, Way, breaking
from keephold.client.trust_facts import Enclave, TrustFacts
from keephold.client.trust_summary import Summary, summary
from keephold.client.trust_words import MESSAGES, NOT_COUNTED, NOT_PROVEN, Alone, alone, duration

REVEAL: Final = "reveal the contract's state"
FORGE: Final = "forge a result"
STOP: Final = "stop the contract"

MACHINE: Final = Party("machine", ())
"""Hardware that anybody can buy, whose owner extracted what its enclave holds."""

_ENDED: Final = frozenset({"refused", "suspended"})


@final
@dataclass(frozen=True, slots=True)
class TrustReport:
    """Who could read, forge or stop, and why that is believed. Made by `trust_report`."""

    facts: TrustFacts
    parties: Mapping[Party, tuple[Enclave, ...]]
    """Who breaks as one, with the enclaves that break with each."""
    reveal: Breaking
    forge: Breaking
    stop: Breaking
    alone: tuple[Alone, ...]
    """What breaking each single party exposes."""
    summary: Summary
    """All of it in five sentences."""
    messages: tuple[str, ...] = MESSAGES
    """Who can read or forge messages with other contracts: a rule, for which pairs there are is not proven."""
    not_counted: tuple[str, ...] = NOT_COUNTED
    not_proven: tuple[str, ...] = NOT_PROVEN

    @property
    def is_simulated(self) -> bool:
        """Whether anything here rests on a development vendor: then nothing is kept from the owner of the machine."""
        return any(vendor.is_simulated for vendor in self.facts.vendors)


def trust_report(facts: TrustFacts) -> TrustReport:
    """Return what follows from the facts."""
    enclaves = (*facts.workers, *facts.departed, *facts.committee.members, *facts.committee.successors)
    groups = _groups(enclaves, facts.governance.keys)
    parties = {party: tuple(dict.fromkeys(e for e in enclaves if groups[e.operator] == party)) for party in
               sorted(set(groups.values()))}  # fmt: skip
    reveal, forge, stop = _reveal(facts, groups), _forge(facts, groups), _stop(facts, groups)
    breakings = (breaking(REVEAL, reveal), breaking(FORGE, forge), breaking(STOP, stop))
    everyone = dict(parties)
    everyone |= {_validator(item.public_key): () for item in facts.validators}
    everyone |= {Party("vendor", (item.name,)): () for item in facts.vendors}
    singles = tuple(alone(facts, party, held, breakings) for party, held in everyone.items())
    return TrustReport(facts, everyone, *breakings, singles, summary(facts, everyone, breakings, singles))


def _groups(enclaves: Iterable[Enclave], governance: Iterable[bytes]) -> dict[bytes, Party]:
    """Return the party of each operator and governance key: connected by operator or platform."""
    found = tuple(enclaves)
    leader: dict[bytes, bytes] = {}

    def top(node: bytes) -> bytes:
        while leader.setdefault(node, node) != node:
            node = leader[node]
        return node

    for enclave in found:
        top(b"operator" + enclave.operator)
        if enclave.platform:
            leader[top(b"platform" + enclave.platform)] = top(b"operator" + enclave.operator)
    operators = {enclave.operator for enclave in found}
    names: dict[bytes, list[str]] = {}
    for operator in sorted(operators):
        names.setdefault(top(b"operator" + operator), []).append(operator.hex())
    groups = {operator: Party("operator", tuple(names[top(b"operator" + operator)])) for operator in operators}
    return groups | {key: Party("governance", (key.hex(),)) for key in governance if key not in operators}


def _validator(key: bytes) -> Party:
    return Party("validator", (key.hex(),))


def _seats(enclaves: Iterable[Enclave], groups: Mapping[bytes, Party], need: int) -> Threshold:
    """Each enclave weighs one for its party."""
    counted = {enclave.identity: groups[enclave.operator] for enclave in enclaves}
    return Threshold(Counter(counted.values()), need)


def _power(facts: TrustFacts, need: int) -> Threshold:
    return Threshold({_validator(item.public_key): item.power for item in facts.validators}, need)


def _ordering(facts: TrustFacts) -> Threshold:
    """More than two thirds of the power: these sign whatever header they like."""
    return _power(facts, 2 * sum(item.power for item in facts.validators) // 3 + 1)


def _law(facts: TrustFacts, groups: Mapping[bytes, Party]) -> Threshold:
    return Threshold(Counter(groups[key] for key in facts.governance.keys), facts.governance.threshold)


def _any_vendor(facts: TrustFacts) -> Threshold:
    return Threshold({Party("vendor", (item.name,)): 1 for item in facts.vendors}, 1)


def _holders(facts: TrustFacts, groups: Mapping[bytes, Party]) -> list[tuple[str, Threshold]]:
    """Return who can have the key without asking anybody ((a) 1 and 2)."""
    found = [("a worker that holds its key", _seats((*facts.workers, *facts.departed), groups, 1))]
    committee = facts.committee
    if committee.threshold:
        shares = f"{committee.threshold} of {len(committee.members)} gatekeepers, whose shares make every key"
        found.append((shares, _seats(committee.members, groups, committee.threshold)))
    if committee.next_threshold:
        shares = f"{committee.next_threshold} of the next gatekeepers, once they have their shares"
        found.append((shares, _seats(committee.successors, groups, committee.next_threshold)))
    return found


def _outside(facts: TrustFacts, groups: Mapping[bytes, Party], then: str) -> list[Way]:
    """Return the ways of those who hold no key and have one given to them ((a) 3 to 5, (b) 3)."""
    law, delay = facts.governance, duration(facts.governance.delay_ns)
    return [
        Way(
            f"{law.threshold} of {len(law.keys)} governance keys: allow a measurement of their own, which is in force "
            f"after {delay}, revoke the workers, and {then}.",
            (_law(facts, groups),),
        ),
        Way(
            f"More than two thirds of the validators' power, with an attested machine that they broke: assign it, and "
            f"{then}.",
            (_ordering(facts), Threshold({MACHINE: 1}, 1)),
        ),
        Way(
            f"A TEE vendor: quotes for no hardware, registered as workers; once they are assigned, {then}.",
            (_any_vendor(facts),),
        ),
    ]


def _reveal(facts: TrustFacts, groups: Mapping[bytes, Party]) -> list[Way]:
    holders = [Way(f"Break {what}.", (need,)) for what, need in _holders(facts, groups)]
    return [*holders, *_outside(facts, groups, "read")]


def _forge(facts: TrustFacts, groups: Mapping[bytes, Party]) -> list[Way]:
    voting = _seats(facts.workers, groups, facts.quorum)
    quorum = [Way(f"Break {facts.quorum} of {len(facts.workers)} assigned workers: they sign the same.", (voting,))]
    ordered = [
        Way(
            f"Break {what}, and more than two thirds of the validators' power: they order it.", (need, _ordering(facts))
        )
        for what, need in _holders(facts, groups)
    ]
    return [*quorum, *ordered, *_outside(facts, groups, "write")]


def _stop(facts: TrustFacts, groups: Mapping[bytes, Party]) -> list[Way]:
    total = sum(item.power for item in facts.validators)
    able = [enclave for enclave in facts.workers if enclave.is_verified]
    sitting = [enclave for enclave in facts.committee.members if enclave.is_verified]
    spare = max(0, len(able) - facts.quorum + 1)
    if facts.phase != "active":
        spare = 0 if facts.phase in _ENDED else min(spare, 1)
    shares = max(0, len(sitting) - facts.committee.threshold + 1) if facts.committee.threshold else 0
    law = facts.governance
    return [
        Way("A third of the validators' power: sign no block.", (_power(facts, -(-total // 3)),)),
        Way("Workers: stay silent until fewer are left than must agree.", (_seats(able, groups, spare),)),
        Way(
            "Gatekeepers: release nothing; the contract ends with the next restart of its workers.",
            (_seats(sitting, groups, shares),),
        ),
        Way(
            f"{law.threshold} of {len(law.keys)} governance keys: revoke every enclave, at once.",
            (_law(facts, groups),),
        ),
        *(
            Way(f"A TEE vendor: call the hardware of the {who} out of date, or revoke it.", (_relying(those, need),))
            for who, those, need in (("workers", able, spare), ("gatekeepers", sitting, shares))
        ),
    ]


def _relying(enclaves: Iterable[Enclave], need: int) -> Threshold:
    return Threshold(Counter(Party("vendor", (enclave.vendor,)) for enclave in enclaves), need)
