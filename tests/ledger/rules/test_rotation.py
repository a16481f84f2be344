"""Key epochs: who ends them, what is taken meanwhile, and that nothing of an ended one is taken ever after."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rotation_scene import page, publish, slot

from keephold.base.limits import MAX_SEALED_VALUE
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.lines import ContractLine
from keephold.protocol.offences import Dissents, dissents_path
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import (
    Call,
    KeyRequest,
    Rotate,
    SlotWrite,
)


def test_from_announcement_to_activation(stateful, new_key):
    desk, worker, contract = stateful
    alice = new_key("alice")
    desk.send(alice, desk.call(contract))
    before = desk.contract(contract)
    desk.send(alice, Rotate(contract))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.rotation[0].to_epoch) == ("rotating", 1, 2)
    assert record.encryption_key == before.encryption_key
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, desk.result(worker, contract, writes=(slot("c", 1),)))
    desk.send(worker, page(desk, worker, contract))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.rotation, record.done, record.version) == ("active", 2, (), 2, 3)
    assert record.encryption_key
    assert record.encryption_key != before.encryption_key
    assert [item.worker for item in record.publications] == [worker.identity]
    slots = dict(desk.application.map.newest.slots[contract])
    assert len(slots) == 3
    assert all(value.startswith(b"\xa3eepoch\x02") for value in slots.values())
    desk.send(alice, desk.call(contract))
    desk.send(worker, desk.result(worker, contract))


def test_a_state_in_pages_survives_a_restart_of_the_ledger_between_them(rotating, monkeypatch):
    desk, worker, contract = rotating
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 1)
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    record = desk.contract(contract)
    assert (record.phase, record.rotation[0].pages, record.rotation[0].cursor) == ("rotating", 1, slot("a", 1).tag)
    again = page(desk, worker, contract, version=record.version - 1)
    assert desk.refused(worker, again) is Refusal.WRONG_PRE_STATE
    desk.reopen()
    desk.send(worker, page(desk, worker, contract, writes=()))
    record = desk.contract(contract)
    assert (record.phase, record.epoch) == ("active", 2)
    assert len(desk.application.map.newest.slots[contract]) == 1


def test_without_state_one_empty_page_is_enough(token, new_key):
    desk, worker, contract = token
    desk.send(new_key("alice"), Rotate(contract))
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    assert (desk.contract(contract).phase, desk.contract(contract).epoch) == ("active", 2)


# --- who, and when ---


def test_only_the_creator_and_only_what_is_active(stateful, desk, new_key):
    desk, worker, contract = stateful
    alice = new_key("alice")
    assert desk.refused(new_key("mallory"), Rotate(contract)) is Refusal.NOT_CREATOR
    assert desk.refused(worker, Rotate(contract)) is Refusal.NOT_CREATOR
    assert desk.refused(alice, Rotate(b"u" * 32)) is Refusal.UNKNOWN_CONTRACT
    desk.send(alice, Rotate(contract))
    assert desk.refused(alice, Rotate(contract)) is Refusal.ROTATING
    waiting = desk.deploy(alice, ContractPolicy(level=1), "keying")
    assert desk.refused(alice, Rotate(waiting)) is Refusal.CONTRACT_NOT_ACTIVE


def test_calls_are_refused_while_it_rotates_and_stale_ones_after(rotating, new_key):
    desk, worker, contract = rotating
    alice = new_key("alice")
    assert desk.refused(alice, Call(contract, 1, b"sealed")) is Refusal.ROTATING
    assert desk.refused(alice, Call(contract, 2, b"sealed")) is Refusal.ROTATING
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    assert desk.refused(alice, Call(contract, 1, b"sealed")) is Refusal.WRONG_EPOCH
    desk.send(alice, Call(contract, 2, b"sealed"))


def test_the_bytes_of_a_call_of_the_ended_epoch_are_dead(stateful, new_key):
    """A node that kept a call can offer it for ever: it was refused once, and is refused under every later state."""
    desk, worker, contract = stateful
    alice, bob = new_key("alice"), new_key("bob")
    (kept,) = desk.signed(bob, desk.call(contract))
    desk.send(alice, Rotate(contract))
    assert [item.code for item in desk.block(kept)] == [Refusal.ROTATING]
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    assert [item.code for item in desk.block(kept)] == [Refusal.WRONG_EPOCH]


def test_a_result_of_the_ended_epoch_is_refused(stateful, new_key):
    desk, worker, contract = stateful
    desk.send(new_key("alice"), Rotate(contract))
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    desk.send(new_key("alice"), desk.call(contract))
    assert desk.refused(worker, desk.result(worker, contract, epoch=1)) is Refusal.WRONG_EPOCH
    assert desk.refused(worker, page(desk, worker, contract)) is Refusal.NOT_ROTATING


# --- migrations that do not fit ---


def test_nothing_is_sealed_anew_before_all_calls_are_consumed(stateful, new_key):
    desk, worker, contract = stateful
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(new_key("alice"), Rotate(contract))
    desk.send(worker, publish(desk, worker, contract))
    assert desk.refused(worker, page(desk, worker, contract)) is Refusal.NOT_DRAINED


def test_nothing_is_sealed_anew_before_the_keys_are_agreed_upon(rotating):
    desk, worker, contract = rotating
    assert desk.refused(worker, page(desk, worker, contract)) is Refusal.NOT_AGREED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"instance": b"i" * 32}, Refusal.SUPERSEDED),
        ({"contract": b"u" * 32}, Refusal.UNKNOWN_CONTRACT),
        ({"from_epoch": 2}, Refusal.WRONG_EPOCH),
        ({"to_epoch": 3}, Refusal.WRONG_EPOCH),
        ({"version": 0}, Refusal.WRONG_PRE_STATE),
        ({"pre_root": b"r" * 32}, Refusal.WRONG_PRE_STATE),
        ({"root": b"r" * 32}, Refusal.RESULT_MALFORMED),
        ({"after": b"a" * 32}, Refusal.OUT_OF_ORDER),
        ({"until": slot("a", 1).tag}, Refusal.OUT_OF_ORDER),
        ({"is_last": False}, Refusal.OUT_OF_ORDER),
        ({"writes": (slot("c", 2), slot("a", 2))}, Refusal.RESULT_MALFORMED),
        ({"writes": (slot("a", 2), slot("a", 2))}, Refusal.RESULT_MALFORMED),
        ({"writes": (slot("a", 2), slot("b", 2), slot("c", 2))}, Refusal.RESULT_MALFORMED),
        ({"writes": (replace(slot("a", 2), tag=bytes(32)),)}, Refusal.RESULT_MALFORMED),
        ({"writes": (slot("a", 1),)}, Refusal.RESULT_MALFORMED),
        ({"writes": (SlotWrite(b"a" * 32, b""),)}, Refusal.RESULT_MALFORMED),
        ({"writes": (SlotWrite(b"a" * 32, slot("a", 2).value + bytes(MAX_SEALED_VALUE)),)}, Refusal.RESULT_MALFORMED),
    ],
)
def test_one_field_altered(rotating, changes, expected):
    desk, worker, contract = rotating
    desk.send(worker, publish(desk, worker, contract))
    assert desk.refused(worker, page(desk, worker, contract, **changes)) is expected


def test_only_assigned_workers_migrate(rotating, new_key):
    desk, worker, contract = rotating
    desk.send(worker, publish(desk, worker, contract))
    (other,) = desk.enrol("other")
    assert desk.refused(other, page(desk, other, contract)) is Refusal.NOT_ASSIGNED
    assert desk.refused(new_key("alice"), page(desk, worker, contract)) is Refusal.NOT_REGISTERED


def test_a_quorum_agrees_on_each_page(desk, new_key):
    workers = desk.enrol("1", "2", "3")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=3, quorum=2))
    one, two, three = sorted(workers, key=lambda item: desk.contract(contract).workers.index(item.identity))
    desk.activate(contract, one, two)
    desk.send(new_key("alice"), Rotate(contract))
    desk.send(one, publish(desk, one, contract))
    assert desk.refused(one, page(desk, one, contract)) is Refusal.NOT_AGREED
    desk.send(two, publish(desk, two, contract))
    desk.send(one, page(desk, one, contract))
    assert desk.contract(contract).phase == "rotating"
    assert desk.refused(one, page(desk, one, contract)) is Refusal.ALREADY_VOTED
    desk.send(three, page(desk, three, contract))
    assert (desk.contract(contract).phase, desk.contract(contract).epoch) == ("active", 2)


def test_a_page_that_a_quorum_outvoted_is_named(desk, new_key):
    workers = desk.enrol("1", "2", "3")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=3, quorum=2))
    one, two, three = workers
    desk.activate(contract, *workers)
    desk.send(new_key("alice"), desk.call(contract))
    for worker in (one, two):
        desk.send(worker, desk.result(worker, contract, writes=(slot("a", 1), slot("b", 1)), version=0))
    desk.send(new_key("alice"), Rotate(contract))
    for worker in workers:
        desk.send(worker, publish(desk, worker, contract))
    said = desk.send(two, page(desk, two, contract, writes=(slot("a lie", 2),)))
    desk.send(one, page(desk, one, contract))
    accepted = desk.send(three, page(desk, three, contract))
    record = desk.contract(contract)
    (named,) = desk.record(dissents_path(two.identity), Dissents).newest
    assert (named.kind, named.version, named.vote, named.accepted) == ("migration", 1, said, accepted)
    assert (record.phase, record.epoch, record.version, record.suspended) == ("active", 2, 2, (two.identity,))
    assert set(record.workers) == {one.identity, three.identity}


# --- keys ---


def test_both_keys_are_asked_for_while_it_rotates_and_the_old_one_never_after(make_desk, new_key):
    desk = make_desk(seats=1, threshold=1)
    desk.committee("g")
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    desk.activate(contract, worker)
    desk.send(new_key("alice"), Rotate(contract))
    desk.send(worker, KeyRequest(worker.instance, (ContractLine(contract, 1), ContractLine(contract, 2))))
    assert desk.refused(worker, KeyRequest(worker.instance, (ContractLine(contract, 3),))) is Refusal.WRONG_EPOCH
    desk.send(worker, publish(desk, worker, contract))
    desk.send(worker, page(desk, worker, contract))
    assert desk.refused(worker, KeyRequest(worker.instance, (ContractLine(contract, 1),))) is Refusal.WRONG_EPOCH
    desk.send(worker, KeyRequest(worker.instance, (ContractLine(contract, 2),)))


def test_only_the_keys_on_their_way_in_are_published(rotating):
    desk, worker, contract = rotating
    assert desk.refused(worker, desk.publication(worker, contract)) is Refusal.WRONG_EPOCH
    desk.send(worker, publish(desk, worker, contract))
    assert desk.refused(worker, publish(desk, worker, contract)) is Refusal.ALREADY_PUBLISHED


def test_a_dispute_before_anything_is_sealed_takes_the_next_epoch(two_workers):
    desk, (one, two), contract = two_workers
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract, "mallory"))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.rotation[0].to_epoch) == ("rotating", 1, 3)
    assert set(record.suspended) == {one.identity, two.identity}
    assert record.rotation[0].publications == ()
    (third,) = desk.enrol("3")
    desk.send(third, publish(desk, third, contract))
    desk.send(third, page(desk, third, contract))
    assert (desk.contract(contract).phase, desk.contract(contract).epoch) == ("active", 3)


def test_a_dissenter_after_the_first_page_is_alone(two_workers, monkeypatch):
    desk, (one, two), contract = two_workers
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 1)
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract))
    desk.send(one, page(desk, one, contract))
    desk.block(after_s=1800)
    one.boot = 1
    desk.send(one, desk.registration(one))
    desk.block(after_s=1801)
    (late,) = desk.enrol("late")
    desk.send(late, publish(desk, late, contract, "mallory"))
    record = desk.contract(contract)
    assert (record.suspended, record.rotation[0].to_epoch, record.workers) == ((late.identity,), 2, (one.identity,))
    desk.send(one, page(desk, one, contract, writes=()))
    assert desk.contract(contract).epoch == 2


def test_who_leaves_before_the_first_page_vouches_for_nothing(two_workers):
    desk, (one, two), contract = two_workers
    desk.send(one, publish(desk, one, contract))
    desk.block(after_s=1800)
    two.boot = 1
    desk.send(two, desk.registration(two))
    desk.block(after_s=1801)
    record = desk.contract(contract)
    assert (record.workers, record.rotation[0].publications) == ((two.identity,), ())


def test_slots_cannot_lie_where_the_cursor_starts(token, new_key):
    desk, worker, contract = token
    desk.send(new_key("alice"), desk.call(contract))
    zero = desk.result(worker, contract, writes=(SlotWrite(bytes(32), b"x"),))
    assert desk.refused(worker, zero) is Refusal.RESULT_MALFORMED


def test_a_page_waits_in_line_by_its_senders_standing_alone(rotating):
    """Computing it costs much, and is left to the block: a page that does not fit is refused there."""
    desk, worker, contract = rotating
    late = page(desk, worker, contract, version=7)
    (raw,) = desk.signed(worker.keys.signing, late)
    assert desk.application.check(raw).code == 0
    (other,) = desk.enrol("other")
    (raw,) = desk.signed(other.keys.signing, page(desk, other, contract))
    assert desk.application.check(raw).code is Refusal.NOT_ASSIGNED
    assert desk.refused(worker, late) is Refusal.NOT_AGREED
