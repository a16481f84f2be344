"""A change of key epoch on a worker: drained, sealed anew, resumed from anywhere, and the old keys gone."""

from __future__ import annotations

import gc

import pytest
from msgspec.structs import replace
from worker_cast import CONTRACT, OTHER, PAD, WORKER, Caller, keys
from worker_ledger import Ledger
from worker_scene import Worker, settle, started

from keephold.base.errors import SealBroken
from keephold.base.ids import InstanceId, StateRoot
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.rotation import is_of_epoch
from keephold.protocol.state import Rotation
from keephold.protocol.transactions import PublishKey, SlotWrite, SubmitMigration
from keephold.runtime.outcome import Outcome
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.slot import MigrationContext, SlotContext
from keephold.worker.orders import Execute, FetchKey, FetchSlots, Migrate, Submit


@pytest.fixture
def alice() -> Caller:
    return Caller(b"a")


def stateful(alice: Caller, *, slots: int = 3, ledger: Ledger | None = None) -> Worker:
    """A worker whose contract has state: `slots`, a counter, who was seen, and nonces."""
    worker = started(ledger)
    settle(worker, alice.call("inc"), alice.call(f"wide:{slots}"))
    return worker


def broken_worker_says(ledger: Ledger, writes: tuple[SlotWrite, ...]) -> None:
    """Have an assigned worker, whose keys somebody extracted, sign a result of its own choice."""
    ledger.order(b"\xa0")
    record, last = ledger.record, ledger.results[-1]
    forged = replace(
        last,
        first=record.done + 1,
        count=1,
        head=record.inbox_head,
        version=record.version,
        pre_root=record.state_root,
        root=ledger.slots.update((write.tag, write.value) for write in writes).root,
        receipts=(b"",),
        writes=writes,
    )
    assert ledger.accept(forged)


def go_on(worker: Worker, most: int = 100) -> int:
    """Prove, work and deliver until nothing is left to do; return how many pages and results were accepted."""
    accepted = idle = 0
    for _ in range(most):
        worker.ledger.height += 1
        worker.prove()
        idle = 0 if worker.outbox else idle + 1
        if idle == 2:  # what a publication leads to comes with the next record
            return accepted
        accepted += worker.deliver()
    raise AssertionError("no end")


def plain(worker: Worker, epoch: int) -> dict[str, bytes]:
    """Every slot on the ledger, opened with the keys of an epoch."""
    opened = [keys(epoch=epoch).slots.open(tag, value) for tag, value in worker.ledger.slots]
    return {slot.key: slot.value for slot in opened}


def test_the_same_plaintext_under_other_tags_and_nothing_of_the_old_epoch(alice) -> None:
    worker = stateful(alice)
    before, old = plain(worker, 1), dict(worker.ledger.slots)
    worker.ledger.rotate()
    go_on(worker)
    record = worker.ledger.record
    assert (record.phase, record.epoch) == ("active", 2)
    assert plain(worker, 2) == before
    new = dict(worker.ledger.slots)
    assert not old.keys() & new.keys()
    assert not set(old.values()) & set(new.values())
    assert all(is_of_epoch(value, 2) for value in new.values())
    with pytest.raises(SealBroken):
        plain(worker, 1)


def test_calls_go_on_in_the_next_epoch_on_the_same_state(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    go_on(worker)
    assert worker.core.lost_track == 0
    raw = alice.call("inc", epoch=2)
    settle(worker, raw)
    assert worker.ledger.reply(raw, 2).value == b"2"
    assert FetchSlots not in [type(order) for order in worker.given]


def test_a_call_sealed_to_the_old_epoch_is_unreadable_in_the_next(alice) -> None:
    """A ledger that breaks its rules and appends one: it opens nothing and changes nothing."""
    worker = stateful(alice)
    worker.ledger.rotate()
    go_on(worker)
    before = dict(worker.ledger.slots)
    settle(worker, alice.call("inc", epoch=1))
    assert worker.ledger.record.done == 3
    assert dict(worker.ledger.slots) == before


def test_the_inbox_drains_under_the_old_keys_before_a_slot_is_touched(alice) -> None:
    worker = stateful(alice)
    late = alice.call("inc")
    worker.ledger.order(late)
    worker.ledger.rotate()
    worker.given.clear()
    go_on(worker)
    kinds = [type(order) for order in worker.given if isinstance(order, Execute | Migrate)]
    assert kinds == [Execute, Migrate]
    # Its receipt is of the epoch that it was sealed to, and so is its randomness.
    assert worker.ledger.reply(late, 1).value == b"2"
    assert worker.ledger.record.epoch == 2


def test_randomness_is_of_the_epoch_that_the_call_was_sealed_to(alice) -> None:
    worker = started()
    seeds = []

    def watch(call, get):
        seeds.append(call.seed)
        return Outcome(status="ok")

    worker.sandbox.behaviour = watch
    first = worker.ledger.order(alice.call("inc"))
    worker.ledger.rotate()
    go_on(worker)
    raw = alice.call("inc", epoch=2)
    second = worker.ledger.order(raw)
    go_on(worker)
    assert seeds == [keys().entropy(first[0][0]), keys(epoch=2).entropy(second[0][0])]


def test_two_workers_make_the_same_pages(alice, monkeypatch) -> None:
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 2)
    ledger = Ledger(ContractPolicy(workers=2), (WORKER, OTHER))
    one = stateful(alice, ledger=ledger)
    two = Worker(ledger, identity=OTHER)
    ledger.rotate()
    for worker in (one, two):
        worker.prove()
    ledger.height += 1
    pages = 0
    while ledger.record.epoch == 1:
        for worker in (one, two):
            worker.prove()
        assert one.outbox
        assert [body.migration for body in one.outbox] == [body.migration for body in two.outbox]
        two.outbox.clear()
        pages += one.deliver()
    assert pages > 2
    assert one.core.lost_track == 0


def test_a_worker_that_was_not_there_goes_on_behind_the_cursor(alice, monkeypatch) -> None:
    """Killed after any page, with everything in memory: the next boot finds the rest of the work on the ledger."""
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 2)
    worker = stateful(alice)
    before = plain(worker, 1)
    worker.ledger.rotate()
    boots = 0
    while worker.ledger.record.epoch == 1:
        worker.prove()
        worker.ledger.height += 1
        worker.prove()
        worker.deliver()
        worker = Worker(worker.ledger)
        boots += 1
    assert boots > 2
    assert plain(worker, 2) == before
    raw = alice.call("inc", epoch=2)
    worker.ledger.order(raw)
    go_on(worker)
    assert worker.ledger.reply(raw, 2).value == b"2"


def test_pages_of_another_worker_are_adopted(alice, monkeypatch) -> None:
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 2)
    ledger = Ledger(ContractPolicy(workers=2), (WORKER, OTHER))
    fast = stateful(alice, ledger=ledger)
    slow = Worker(ledger, identity=OTHER)
    slow.prove()
    ledger.rotate()
    slow.hold = (Migrate,)
    pages = 0
    while ledger.record.epoch == 1:
        fast.prove()
        slow.prove()
        at = ledger.height
        pages += fast.deliver()
        slow.core.block(ledger.ordering(at), (), ledger.ordered(at))
        slow.prove()
    assert pages > 2
    ledger.height += 1
    slow.prove()
    assert slow.core.lost_track == 0
    assert slow.core.readable().state.get("count") == b"1"


def test_nothing_is_sealed_anew_to_keys_that_others_did_not_publish(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    wrong = keys(b"x" * 32, epoch=2)
    worker.ledger.publish(PublishKey(CONTRACT, 2, b"", wrong.signing.public, wrong.encryption.public), WORKER)
    go_on(worker)
    assert worker.ledger.record.epoch == 1
    assert Migrate not in [type(order) for order in worker.given]


def test_a_refused_page_is_made_again_after_a_pause(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    worker.prove()
    worker.ledger.height += 1
    worker.prove()
    (body,) = worker.outbox
    assert isinstance(body, SubmitMigration)
    worker.outbox.clear()
    worker.core.failed(Submit(body))
    worker.core.failed(Submit(replace(body, migration=replace(body.migration, version=0))))
    worker.work()
    assert not worker.outbox
    go_on(worker)
    worker.ledger.height += 9
    go_on(worker)
    assert worker.ledger.record.epoch == 2


def test_a_page_leaves_again_in_the_name_of_a_new_instance(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    worker.prove()
    worker.ledger.height += 1
    worker.prove()
    worker.core.renew(InstanceId(b"j" * 32))
    worker.work()
    first, second = worker.outbox
    assert (first.migration, second.instance) == (second.migration, b"j" * 32)


def test_a_slot_that_no_enclave_sealed_holds_nothing_up(alice) -> None:
    worker = stateful(alice)
    before = plain(worker, 1)
    forged = keys(b"x" * 32).slots.seal("c/forged", b"1", bytes(32), PAD)
    writes = tuple(SlotWrite(*slot) for slot in sorted([forged, (b"\x01" * 32, b"noise")]))
    broken_worker_says(worker.ledger, writes)
    worker.see(votes=worker.ledger.ordered(worker.ledger.height))
    worker.ledger.height += 1
    worker.ledger.rotate()
    go_on(worker)
    assert plain(worker, 2) == before


def test_questions_are_answered_while_it_drains_not_while_slots_are_of_two_epochs(alice, monkeypatch) -> None:
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 2)
    worker = stateful(alice)
    worker.ledger.rotate()
    worker.prove()
    assert worker.core.readable().keys.epoch == 1
    worker.ledger.height += 1
    worker.prove()
    worker.deliver()
    assert worker.core.readable() is None
    go_on(worker)
    assert worker.core.readable().keys.epoch == 2
    assert worker.core.readable().state.get("count") == b"1"


def test_an_epoch_given_up_on_its_way_in_leaves_no_keys_behind(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    worker.prove()
    worker.ledger.record = replace(worker.ledger.record, rotation=(Rotation(3),))
    go_on(worker)
    assert [order.epoch for order in worker.given if isinstance(order, FetchKey)] == [1, 2, 3]
    assert worker.ledger.record.epoch == 3
    assert worker.core.epochs == (3,)


def test_keys_of_an_epoch_that_is_not_on_record_are_not_kept(alice) -> None:
    worker = stateful(alice)
    worker.ledger.rotate()
    worker.prove()
    go_on(worker)
    worker.core.keyed(keys(epoch=1))
    worker.core.keyed(keys(epoch=3))
    assert worker.core.readable().keys.epoch == 2
    assert worker.core._epochs.coming is None


def of_epoch_one() -> int:
    gc.collect()
    return sum(isinstance(item, ContractKeys) and item.epoch == 1 for item in gc.get_objects())


def test_with_the_old_epoch_its_keys_are_gone_from_memory(alice) -> None:
    elsewhere = of_epoch_one()
    worker = stateful(alice)
    assert of_epoch_one() == elsewhere + 1
    worker.ledger.rotate()
    go_on(worker)
    worker.given.clear()
    assert of_epoch_one() == elsewhere


def test_a_page_meets_no_nonce_of_a_result() -> None:
    """Same version, root and third part: the contexts differ, for their labels do."""
    root = StateRoot(b"r" * 32)
    page = MigrationContext(1, root, b"h" * 32).digest()
    assert page != SlotContext(1, root, b"h" * 32, b"").digest()
    assert page != SlotContext(1, root, b"h" * 32, b"b" * 32).digest()
    others = {
        MigrationContext(2, root, b"h" * 32).digest(),
        MigrationContext(1, StateRoot(b"s" * 32), b"h" * 32).digest(),
        MigrationContext(1, root, b"i" * 32).digest(),
    }
    assert page not in others
    assert len(others) == 3


def test_equal_values_show_in_neither_epoch_as_equal() -> None:
    old, new = keys().slots, keys(epoch=2).slots
    context = MigrationContext(1, StateRoot(b"r" * 32), bytes(32)).digest()
    tag, sealed = new.seal("c/a", b"1", context, PAD)
    again = new.seal("c/b", b"1", context, PAD)
    assert (tag, sealed) == new.seal("c/a", b"1", context, PAD)
    assert not {tag, sealed} & {*again, *old.seal("c/a", b"1", context, PAD)}
