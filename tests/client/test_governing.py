"""Proposals on paper: endorsed key by key, each key once, and never against bytes that somebody changed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from keephold.base.errors import InputError, LedgerRefused
from keephold.client.governing import change_validators, enact, endorse
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.law import verify_history
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    CommitteeRules,
    Constitution,
    Enacted,
    GovernanceRules,
    SetValidators,
    SignedProposal,
    Timing,
    ValidatorEntry,
    check_proposal,
)

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
KEYS = sorted((SigningKey(SecretBytes(bytes([n]) * 32)) for n in (1, 2, 3)), key=lambda item: item.public)
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
    return SimpleNamespace(network=network_id(genesis), follower=follower)


def propose(desk: Any, powers: dict[bytes, int]) -> SignedProposal:
    return asyncio.run(change_validators(desk, powers))


def powers_of(signed: SignedProposal) -> dict[bytes, int]:
    action = signed.proposal.action
    assert isinstance(action, SetValidators)
    return {entry.public_key: entry.power for entry in action.validators}


def test_it_changes_what_it_names_and_leaves_the_others(genesis):
    desk = connection(genesis)
    assert powers_of(propose(desk, {NEW: 5})) == {OLD: 10, NEW: 5}
    assert powers_of(propose(desk, {OLD: 0, NEW: 1})) == {NEW: 1}
    assert powers_of(propose(desk, {OLD: 7})) == {OLD: 7}


@pytest.mark.parametrize(
    ("powers", "error"), [({NEW: 0}, InputError), ({OLD: 10}, InputError), ({OLD: 0}, LedgerRefused)]
)
def test_what_cannot_be_or_changes_nothing_is_refused_before_anybody_signs(genesis, powers, error):
    with pytest.raises(error):
        propose(connection(genesis), powers)


def test_a_change_that_waits_for_its_delay_is_built_upon_not_undone(genesis):
    first = propose(connection(genesis), {NEW: 5})
    for key in KEYS[:2]:
        first = endorse(first, key)
    second = propose(connection(genesis, Enacted(first, NOW)), {OLD: 7})
    assert (second.proposal.sequence, powers_of(second)) == (2, {OLD: 7, NEW: 5})


def test_endorsements_are_sorted_each_key_once_and_enough_when_the_law_says_so(genesis):
    signed = propose(connection(genesis), {NEW: 5})
    one = endorse(signed, KEYS[1])
    with pytest.raises(LedgerRefused, match="1 endorsements, 2 needed"):
        check_proposal(one, genesis.law, network_id(genesis), 1)
    two = endorse(endorse(one, KEYS[1]), KEYS[0])
    assert [item.key for item in two.endorsements] == [KEYS[0].public, KEYS[1].public]
    check_proposal(two, genesis.law, network_id(genesis), 1)


@pytest.mark.parametrize("flaw", ["few", "stranger", "altered"])
def test_what_the_ledger_would_refuse_is_refused_before_it_is_sent(genesis, flaw):
    desk = connection(genesis)
    signed = endorse(propose(desk, {NEW: 5}), KEYS[0])
    if flaw == "stranger":
        signed = endorse(signed, SigningKey(SecretBytes(b"s" * 32)))
    if flaw == "altered":
        other = propose(desk, {NEW: 6})
        signed = SignedProposal(other.proposal, endorse(signed, KEYS[1]).endorsements)

    async def send() -> None:
        await enact(desk, SimpleNamespace(), signed, 10.0)

    with pytest.raises(LedgerRefused, match="governance"):
        asyncio.run(send())
