"""Proposals on paper: endorsed key by key, each key once, and never against bytes that somebody changed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from keephold.base.errors import InputError, LedgerRefused
from keephold.client import amending
from keephold.client.governing import Draft, Reading, enact, endorse, history, propose, propose_cancellation, read
from keephold.client.law_words import changes
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.law import verify_history
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    CancelProposal,
    CommitteeRules,
    Constitution,
    Enacted,
    GovernanceRules,
    Proposal,
    SetValidators,
    SignedProposal,
    Timing,
    ValidatorEntry,
    check_proposal,
    sign_proposal,
)

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
KEYS = sorted((SigningKey(SecretBytes(bytes([n]) * 32)) for n in (1, 2, 3)), key=lambda item: item.public)
STRANGER = SigningKey(SecretBytes(b"s" * 32))
OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def genesis() -> Genesis:
    law = Constitution(
        GovernanceRules(tuple(key.public for key in KEYS), 2, 3600 * SECOND),
        AttestationPolicy(vendors=(), measurements=(), quote_window_ns=600 * SECOND),
        CommitteeRules(1, 1, 30 * SECOND),
        Timing(3600 * SECOND, 10 * SECOND, 48 * 3600 * SECOND),
        (ValidatorEntry(OLD, 10),),
    )
    return Genesis("paper", NOW, bytes(32), law, simulated=True)


def connection(genesis: Genesis, *entries: Enacted) -> Any:
    """What proposing asks of a connection: the network and the verified law."""
    law = verify_history(genesis, entries)

    async def told() -> object:
        return law

    follower = SimpleNamespace(law=told, view=SimpleNamespace(time_ns=NOW + SECOND, height=1))
    return SimpleNamespace(network=network_id(genesis), genesis=genesis, follower=follower)


def proposed(desk: Any, powers: dict[bytes, int]) -> Reading:
    return asyncio.run(propose(desk, lambda law: amending.validators(law, powers)))


def powers_of(reading: Reading) -> dict[bytes, int]:
    action = reading.draft.signed.proposal.action
    assert isinstance(action, SetValidators)
    return {entry.public_key: entry.power for entry in action.validators}


def test_it_changes_what_it_names_and_leaves_the_others(genesis):
    desk = connection(genesis)
    assert powers_of(proposed(desk, {NEW: 5})) == {OLD: 10, NEW: 5}
    assert powers_of(proposed(desk, {OLD: 0, NEW: 1})) == {NEW: 1}
    assert powers_of(proposed(desk, {OLD: 7})) == {OLD: 7}


@pytest.mark.parametrize(
    ("powers", "error"), [({NEW: 0}, InputError), ({OLD: 10}, InputError), ({OLD: 0}, LedgerRefused)]
)
def test_what_cannot_be_or_changes_nothing_is_refused_before_anybody_signs(genesis, powers, error):
    with pytest.raises(error):
        proposed(connection(genesis), powers)


def test_a_change_that_waits_for_its_delay_is_built_upon_not_undone(genesis):
    first = proposed(connection(genesis), {NEW: 5})
    for key in KEYS[:2]:
        first = endorse(first, key)
    second = proposed(connection(genesis, Enacted(first.draft.signed, NOW)), {OLD: 7})
    assert (second.draft.signed.proposal.sequence, powers_of(second)) == (2, {OLD: 7, NEW: 5})


def test_endorsements_are_sorted_each_key_once_and_enough_when_the_law_says_so(genesis):
    signed = proposed(connection(genesis), {NEW: 5})
    one = endorse(signed, KEYS[1])
    with pytest.raises(LedgerRefused, match="1 endorsements, 2 needed"):
        check_proposal(one.draft.signed, genesis.law, (), network_id(genesis), 1)
    two = endorse(endorse(one, KEYS[1]), KEYS[0])
    assert [item.key for item in two.draft.signed.endorsements] == [KEYS[0].public, KEYS[1].public]
    check_proposal(two.draft.signed, genesis.law, (), network_id(genesis), 1)


@pytest.mark.parametrize("flaw", ["few", "stranger", "altered"])
def test_what_the_ledger_would_refuse_is_refused_before_it_is_sent(genesis, flaw):
    desk = connection(genesis)
    signed = endorse(proposed(desk, {NEW: 5}), KEYS[0]).draft.signed
    if flaw == "stranger":
        strange = sign_proposal(signed.proposal, STRANGER)
        signed = SignedProposal(signed.proposal, (*signed.endorsements, strange))
    if flaw == "altered":
        other = proposed(desk, {NEW: 6}).draft.signed
        signed = SignedProposal(other.proposal, signed.endorsements)

    async def send() -> None:
        await enact(desk, SimpleNamespace(), signed, 10.0)

    with pytest.raises(LedgerRefused, match="governance"):
        asyncio.run(send())


def test_a_key_that_is_none_of_governance_signs_nothing(genesis):
    with pytest.raises(InputError, match="no governance key"):
        endorse(proposed(connection(genesis), {NEW: 5}), STRANGER)


@pytest.mark.parametrize("flaw", ["network", "number", "history", "stranger", "altered", "lived", "nothing"])
def test_a_file_that_would_be_refused_is_refused_before_it_is_signed(genesis, flaw):
    """Each flaw is put into a genuine draft after its writer was done with it."""
    reading = endorse(proposed(connection(genesis), {NEW: 5}), KEYS[0])
    assert read(genesis, reading.draft) == reading
    signed, past = reading.draft.signed, ()
    proposal = signed.proposal
    match flaw:
        case "network":
            signed = SignedProposal(replace(proposal, network=b"x" * 32), ())
        case "number":
            signed = SignedProposal(replace(proposal, sequence=2), ())
        case "history":
            past = (Enacted(signed, NOW),)  # one endorsement, two needed
            signed = SignedProposal(replace(proposal, sequence=2), ())
        case "stranger":
            signed = SignedProposal(proposal, (sign_proposal(proposal, STRANGER),))
        case "altered":
            signed = SignedProposal(replace(proposal, action=SetValidators((ValidatorEntry(NEW, 1),))),
                                    signed.endorsements)  # fmt: skip
        case "lived":
            signed = SignedProposal(replace(proposal, action=SetValidators(())), ())
        case "nothing":
            signed = SignedProposal(replace(proposal, action=SetValidators(genesis.law.validators)), ())
    with pytest.raises((LedgerRefused, InputError)):
        read(genesis, Draft(signed, past))


def test_a_signer_without_network_sees_the_same_as_the_proposer(genesis):
    first = proposed(connection(genesis), {NEW: 5})
    for key in KEYS[:2]:
        first = endorse(first, key)
    second = proposed(connection(genesis, Enacted(first.draft.signed, NOW)), {NEW: 9})
    offline = read(genesis, decode(encode(second.draft), Draft))
    assert changes(offline.before, offline.after) == (f"validator {NEW.hex()}: power 5 → 9",)


def signed_by_two(reading: Reading) -> Enacted:
    for key in KEYS[:2]:
        reading = endorse(reading, key)
    return Enacted(reading.draft.signed, NOW)


def test_who_cancels_is_shown_all_that_it_takes_back(genesis):
    first = signed_by_two(proposed(connection(genesis), {NEW: 5}))
    second = signed_by_two(proposed(connection(genesis, first), {OLD: 7}))
    desk = connection(genesis, first, second)
    reading = asyncio.run(propose_cancellation(desk, 1))
    assert reading.cancels == (1, 2)
    assert reading.after == genesis.law
    assert read(genesis, decode(encode(reading.draft), Draft)) == reading
    only = asyncio.run(propose_cancellation(desk, 2))
    assert (only.cancels, changes(only.before, only.after)) == ((2,), (f"validator {OLD.hex()}: power 7 → 10",))
    told = history(verify_history(genesis, [first, second, signed_by_two(reading)]))
    assert [item.effective_ns for item in told] == [None, None, NOW]
    for number in (0, 3):
        with pytest.raises(
            InputError, match=rf"proposal {number} does not wait for its delay \(of those that do: 1, 2\)"
        ):
            asyncio.run(propose_cancellation(desk, number))


def test_a_cancellation_of_what_does_not_wait_is_refused_before_it_is_signed(genesis):
    draft = asyncio.run(
        propose_cancellation(connection(genesis, signed_by_two(proposed(connection(genesis), {NEW: 5}))), 1)
    ).draft
    other = Proposal(draft.signed.proposal.network, 2, CancelProposal(bytes(32)))
    with pytest.raises(LedgerRefused, match="nothing by that digest waits"):
        read(genesis, Draft(SignedProposal(other, ()), draft.history))


def test_history_says_what_changed_who_signed_and_from_when(genesis):
    first = proposed(connection(genesis), {NEW: 5})
    for key in KEYS[:2]:
        first = endorse(first, key)
    (item,) = history(verify_history(genesis, [Enacted(first.draft.signed, NOW)]))
    assert item.changes == (f"validator {NEW.hex()} is added with power 5",)
    assert item.signers == tuple(key.public for key in KEYS[:2])
    assert item.effective_ns == NOW + genesis.law.governance.delay_ns
