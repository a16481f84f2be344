"""Offences of validators: recorded once, bounded, and without any effect."""

from __future__ import annotations

import pytest

from keephold.base.limits import MAX_OFFENCES
from keephold.chain.validators import Validator
from keephold.ledger.engines.base import Block, Offence
from keephold.protocol.governance import ValidatorEntry
from keephold.protocol.offences import Offences, offences_path

KEY = b"\x07" * 32
ADDRESS = Validator(KEY, 10).address


@pytest.fixture
def court(make_desk):
    desk = make_desk(validators=(ValidatorEntry(KEY, 10),))

    def prove(*offences: Offence):
        desk.time_ns += 10**9
        block = Block(desk.height + 1, desk.time_ns, bytes(32), (), offences)
        finalized = desk.application.finalize(block)
        desk.application.commit()
        return finalized

    desk.prove = prove
    desk.offences = lambda: desk.record(offences_path(), Offences) or Offences()
    return desk


def offence(height: int = 1, address: bytes = ADDRESS, kind: str = "duplicate_vote") -> Offence:
    return Offence(kind, address, height, 5, 10)


def test_who_did_what_where_is_recorded_under_the_root(court):
    before = court.root
    court.prove(offence())
    (item,) = court.offences().newest
    assert (item.kind, item.validator, item.public_key) == ("duplicate_vote", ADDRESS, KEY)
    assert (item.height, item.time_ns, item.power, item.recorded) == (1, 5, 10, 1)
    assert court.root != before


def test_nothing_follows_by_itself(court):
    finalized = court.prove(offence())
    assert finalized.validator_updates == ()
    assert court.application.map.newest.law == court.genesis.law


def test_the_same_again_is_the_same(court):
    court.prove(offence(), offence())
    root = court.root
    court.prove(offence())
    assert court.offences().count == 1
    assert court.root == root


def test_another_height_kind_or_validator_is_another(court):
    court.prove(offence(), offence(2), offence(kind="light_client_attack"), offence(address=bytes(20)))
    assert court.offences().count == 4
    assert [item.public_key for item in court.offences().newest] == [KEY, KEY, KEY, b""]


def test_the_newest_are_kept_and_all_are_counted(court):
    court.prove(*(offence(height) for height in range(1, MAX_OFFENCES + 4)))
    recorded = court.offences()
    assert recorded.count == MAX_OFFENCES + 3
    assert [item.height for item in recorded.newest] == [*range(4, MAX_OFFENCES + 4)]


def test_a_block_without_evidence_changes_nothing(court):
    court.prove()
    assert court.record(offences_path(), Offences) is None
