"""Key epochs: who ends them, what is taken meanwhile, and that nothing of an ended one is taken ever after."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from keephold.base.limits import MAX_SEALED_VALUE
from keephold.chain.sparse import SparseMap
from keephold.ledger.rules import assignments, rotation
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.governance import RevokeIdentity, SetAttestation
from keephold.protocol.lines import ContractLine
from keephold.protocol.messages import SealedSlot
from keephold.protocol.refusals import Refusal
from keephold.protocol.rotation import migration_page
from keephold.protocol.state import Departures, Due, Roster, departed_path, departures_path, due_path
from keephold.protocol.transactions import (
    Call,
    KeyRequest,
    Migration,
    PublishKey,
    RefuseCode,
    Rotate,
    SlotWrite,
    SubmitMigration,
)


def slot(name: str, epoch: int) -> SlotWrite:
    """A slot as the ledger sees it: it cannot tell whether it opens, but it reads the epoch."""
    tag = (f"{name}{epoch}".encode() * 32)[:32]
    return SlotWrite(tag, encode(SealedSlot(epoch, bytes(32), name.encode())))


def publish(desk, worker, contract, name="next") -> PublishKey:
    """What a worker says about the keys of the epoch on its way in."""
    epoch = desk.contract(contract).rotation[0].to_epoch
    return replace(desk.publication(worker, contract, name), epoch=epoch)


def page(desk, worker, contract, /, **changes) -> SubmitMigration:
    """The page that an honest worker would submit now."""
    record = desk.contract(contract)
    to_epoch = record.rotation[0].to_epoch if record.rotation else record.epoch + 1
    cursor = record.rotation[0].cursor if record.rotation else bytes(32)
    slots = desk.application.map.newest.slots.get(contract, SparseMap.empty())
    taken = migration_page(slots, cursor, to_epoch)
    writes = [replace(slot("x", to_epoch), tag=bytes([255 - n]) * 32) for n in range(len(taken.slots))]
    fields = {
        "contract": contract,
        "from_epoch": record.epoch,
        "to_epoch": to_epoch,
        "after": cursor,
        "until": taken.until,
        "version": record.version,
        "pre_root": record.state_root,
        "writes": tuple(sorted(writes, key=lambda write: write.tag)),
        "is_last": taken.is_last,
    }
    instance = changes.pop("instance", worker.instance)
    fields |= changes
    changed = [(tag, None) for tag, _ in taken.slots] + [(write.tag, write.value) for write in fields["writes"]]
    return SubmitMigration(instance, Migration(**{"root": slots.update(changed).root, **fields}))


@pytest.fixture
def stateful(token, new_key):
    """A contract with two slots of epoch 1."""
    desk, worker, contract = token
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(worker, desk.result(worker, contract, writes=(slot("a", 1), slot("b", 1))))
    return desk, worker, contract


@pytest.fixture
def rotating(stateful, new_key):
    desk, worker, contract = stateful
    desk.send(new_key("alice"), Rotate(contract))
    return desk, worker, contract


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


@pytest.fixture
def two_workers(desk, new_key):
    """A contract of two workers, rotating."""
    workers = desk.enrol("1", "2")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    desk.activate(contract, *workers)
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(workers[0], desk.result(workers[0], contract, writes=(slot("a", 1), slot("b", 1))))
    desk.send(new_key("alice"), Rotate(contract))
    return desk, workers, contract


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


# --- exclusions ---


def revoke(desk, new_key, worker):
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(worker.identity)))


def departed(desk, worker):
    return (desk.record(departed_path(worker.identity), Roster) or Roster()).contracts


def test_revoked_shut_out_at_once(stateful, new_key):
    desk, worker, contract = stateful
    (other,) = desk.enrol("other")
    revoke(desk, new_key, worker)
    record = desk.contract(contract)
    assert (record.phase, record.workers, record.rotation[0].to_epoch) == ("rotating", (other.identity,), 2)
    assert (record.departed, departed(desk, worker)) == ((), ())
    assert desk.refused(worker, publish(desk, worker, contract)) is Refusal.REVOKED
    assert desk.refused(worker, page(desk, worker, contract)) is Refusal.REVOKED
    desk.send(other, publish(desk, other, contract))
    desk.send(other, page(desk, other, contract))
    assert desk.contract(contract).epoch == 2


def test_lapsed_is_no_exclusion_but_revoked_later_is(stateful, new_key):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    record = desk.contract(contract)
    assert (record.phase, record.workers, record.departed) == ("active", (), (worker.identity,))
    assert departed(desk, worker) == (contract,)
    assert desk.record(departures_path(), Departures) == Departures((worker.identity,))
    desk.enrol("other")
    revoke(desk, new_key, worker)
    assert desk.contract(contract).phase == "rotating"
    assert desk.record(departures_path(), Departures) is None


def test_who_left_before_the_last_change_of_epoch_touches_nothing(stateful, new_key):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    (other,) = desk.enrol("other")
    desk.send(new_key("alice"), Rotate(contract))
    assert departed(desk, worker) == ()
    desk.send(other, publish(desk, other, contract))
    desk.send(other, page(desk, other, contract))
    revoke(desk, new_key, worker)
    record = desk.contract(contract)
    assert (record.phase, record.epoch) == ("active", 2)


def test_demoted_shut_out_where_it_is_not_good_enough(desk, new_key, enclave):
    (worker,) = desk.enrol("w")
    strict = desk.deploy(new_key("alice"), ContractPolicy(level=1), "strict")
    lax = desk.deploy(new_key("alice"), ContractPolicy(level=5), "lax")
    desk.activate(strict, worker)
    desk.activate(lax, worker)
    demoted = enclave("w", boot=1, status="OutOfDate")
    desk.send(demoted, desk.registration(demoted))
    assert (desk.contract(strict).phase, desk.contract(strict).workers) == ("rotating", ())
    assert (desk.contract(lax).phase, desk.contract(lax).workers) == ("active", (worker.identity,))


def test_demoted_after_it_left(desk, new_key, enclave):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"), ContractPolicy(level=1))
    desk.activate(contract, worker)
    desk.block(after_s=3600)
    assert desk.contract(contract).phase == "active"
    demoted = enclave("w", boot=1, status="OutOfDate")
    desk.send(demoted, desk.registration(demoted))
    assert desk.contract(contract).phase == "rotating"


@pytest.mark.parametrize("has_left", [False, True])
def test_delisted_shut_out_even_if_it_left_before(stateful, new_key, has_left):
    desk, _, contract = stateful
    if has_left:
        desk.block(after_s=3600)
        assert desk.contract(contract).phase == "active"
    policy = replace(desk.genesis.law.attestation, measurements=())
    desk.send(new_key("anyone"), desk.govern(SetAttestation(policy)))
    desk.block()
    assert desk.contract(contract).phase == "rotating"


def test_an_epoch_under_which_nothing_is_sealed_ends_at_once(desk, new_key):
    workers = desk.enrol("1", "2")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    desk.send(workers[0], desk.publication(workers[0], contract))
    revoke(desk, new_key, workers[0])
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.publications) == ("keying", 2, ())


def test_excluded_while_it_rotates_the_epoch_on_its_way_in_is_given_up(two_workers, new_key):
    desk, (one, two), contract = two_workers
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract))
    revoke(desk, new_key, one)
    record = desk.contract(contract)
    assert (record.epoch, record.rotation[0].to_epoch, record.rotation[0].publications) == (1, 3, ())
    desk.send(two, publish(desk, two, contract))
    desk.send(two, page(desk, two, contract))
    assert desk.contract(contract).epoch == 3


def test_excluded_after_the_first_page_the_next_epoch_ends_as_soon_as_it_begins(two_workers, new_key, monkeypatch):
    desk, (one, two), contract = two_workers
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 1)
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract))
    desk.send(one, page(desk, one, contract))
    revoke(desk, new_key, one)
    record = desk.contract(contract)
    assert (record.rotation[0].to_epoch, record.rotation[0].again) == (2, True)
    desk.send(two, page(desk, two, contract, writes=()))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.rotation[0].to_epoch) == ("rotating", 2, 3)
    assert not record.rotation[0].again


def test_a_block_ends_a_bounded_number_of_epochs_the_next_ones_the_others(desk, new_key, monkeypatch):
    monkeypatch.setattr(rotation, "MAX_ROTATIONS", 2)
    (worker,) = desk.enrol("w")
    contracts = [desk.deploy(new_key("alice"), source=str(n)) for n in range(5)]
    for contract in contracts:
        desk.activate(contract, worker)
    revoke(desk, new_key, worker)
    phases = [sum(desk.contract(contract).phase == "rotating" for contract in contracts)]
    while desk.record(due_path(), Due) is not None:
        desk.block()
        phases.append(sum(desk.contract(contract).phase == "rotating" for contract in contracts))
    assert phases == [2, 4, 5]


def test_too_many_departures_end_an_epoch(stateful, monkeypatch):
    desk, _, contract = stateful
    monkeypatch.setattr(assignments, "MAX_DEPARTED", 2)
    desk.block(after_s=3600)
    desk.enrol("second")
    assert desk.contract(contract).phase == "active"
    desk.block(after_s=3600)
    record = desk.contract(contract)
    assert (record.phase, record.departed) == ("rotating", ())


def test_a_refused_contract_has_no_epoch_to_end(desk, new_key):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    desk.send(worker, RefuseCode(contract, worker.instance, "no"))
    before = desk.contract(contract)
    revoke(desk, new_key, worker)
    assert desk.contract(contract) == replace(before, departed=())


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
