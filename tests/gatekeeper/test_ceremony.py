"""The ceremony's journal and its refusals: what is not the first state of a lawful round is not taken part in."""

from __future__ import annotations

import secrets

import pytest
from msgspec.structs import replace

from keephold.base.errors import LedgerRefused, RollbackDetected
from keephold.base.ids import NetworkId, PublicKey
from keephold.crypto.secret import SecretBytes
from keephold.custody.public.opening import open_generation
from keephold.enclave.vault import ForgetfulVault
from keephold.gatekeeper.ceremony import Ceremony, Heard, Opening
from keephold.testing.local import LocalNetwork

MEMBERS = [PublicKey(bytes([n]) * 32) for n in range(1, 4)]
OWN = MEMBERS[0]
PHASE = 30 * 10**9


@pytest.fixture
def law(tmp_path):
    return LocalNetwork(tmp_path, seats=3, threshold=2).genesis.law


def opened(**changes):
    state = open_generation(
        network=NetworkId(bytes(32)), round_number=1, members=MEMBERS, threshold=2, phase_ns=PHASE, time_ns=10**9
    )
    return Opening(replace(state, **changes), height=5)


def ceremony(vault=None) -> Ceremony:
    return Ceremony(vault or ForgetfulVault(), OWN, NetworkId(bytes(32)), secrets.token_bytes)


def test_a_lawful_opening_is_accepted(law) -> None:
    ceremony().check_opening(opened(), law, 10**9)


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1},
        {"quorum": 1},
        {"fewest": 1},
        {"phase_ns": 1},
        {"network": bytes(31) + b"\x01"},
        {"phase": "dealing"},
        {"restarts": 1},
        {"receivers": opened().state.receivers[:2]},
        {"receivers": (replace(opened().state.receivers[0], keys=bytes(32)), *opened().state.receivers[1:])},
        {"purpose": "resharing"},
    ],
)
def test_an_opening_that_is_not_the_laws_or_not_the_first_state(law, changes) -> None:
    with pytest.raises(LedgerRefused):
        ceremony().check_opening(opened(**changes), law, 10**9)


def test_the_journal_is_written_before_anything_is_sent_and_read_again() -> None:
    vault = ForgetfulVault()
    first = ceremony(vault)
    (message,) = first.begin(opened(), 10**9)
    assert vault.holds("ceremony")
    again = ceremony(vault)
    assert again.is_taking_part
    assert again.height == 5
    assert again.pending() == (message,)


def test_without_durable_memory_a_restarted_one_is_silent() -> None:
    ceremony().begin(opened(), 10**9)
    assert ceremony().pending() == ()


def test_a_ledger_that_accepts_what_our_rules_refuse_ends_our_part() -> None:
    vault = ForgetfulVault()
    mine = ceremony(vault)
    (message,) = mine.begin(opened(), 10**9)
    stranger = PublicKey(bytes([9]) * 32)
    assert mine.hear([Heard(6, 2 * 10**9, ((stranger, message),))]) == ()
    assert not mine.is_taking_part
    assert not vault.holds("ceremony")


def test_a_ledger_in_another_state_than_ours_ends_our_part() -> None:
    mine = ceremony()
    mine.begin(opened(), 10**9)
    assert mine.compare(opened().state)
    assert not mine.compare(opened(phase="dealing").state)
    assert mine.pending() == ()


@pytest.mark.parametrize("name", ["ceremony", "share"])
def test_what_we_did_not_write_is_an_attack(name: str) -> None:
    vault = ForgetfulVault()
    vault.write(name, SecretBytes(b"nonsense"))
    with pytest.raises(RollbackDetected):
        ceremony(vault)
