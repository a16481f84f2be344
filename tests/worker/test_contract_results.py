"""Results that build on one another: confirmed, refused, adopted from others, or found to contradict the ledger."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from worker_cast import OTHER, Caller
from worker_ledger import Ledger
from worker_scene import Worker, settle, started

from keephold.base.errors import ProofInvalid, StateUnproven
from keephold.protocol.contracts import ContractPolicy
from keephold.worker.orders import Execute, FetchBatch, FetchSlots, Submit


@pytest.fixture
def worker() -> Worker:
    return started()


@pytest.fixture
def alice() -> Caller:
    return Caller(b"a")


def test_results_build_on_unconfirmed_ones_and_are_confirmed_in_order(worker, alice):
    for _ in range(3):
        worker.see(worker.ledger.order(alice.call("inc")))
    assert worker.sandbox.ran == ["inc"] * 3
    assert [body.result.version for body in worker.outbox] == [0, 1, 2]
    assert worker.deliver() == 3
    assert worker.core.readable().state.get("count") == b"3"


def test_questions_see_the_proven_state_only(worker, alice):
    settle(worker, alice.call("inc"))
    worker.see(worker.ledger.order(alice.call("inc")))
    assert worker.outbox
    assert worker.core.readable().state.get("count") == b"1"


def test_a_refused_result_is_rolled_back_with_what_was_built_on_it(worker, alice):
    worker.see(worker.ledger.order(alice.call("inc")))
    worker.see(worker.ledger.order(alice.call("inc")))
    assert len(worker.outbox) == 2
    refused = next(order for order in worker.given if isinstance(order, Submit) and order.body is worker.outbox[0])
    worker.outbox.clear()
    worker.core.failed(refused)
    worker.work()
    assert not worker.outbox  # not at once: the ledger moves first
    for _ in range(2):
        worker.ledger.height += 1
        worker.see()
    assert [body.result.version for body in worker.outbox] == [0, 1]
    assert worker.sandbox.ran == ["inc"] * 4
    assert worker.deliver() == 2


def test_another_workers_result_is_adopted_from_its_writes(alice):
    ledger = Ledger(ContractPolicy(workers=2), (Worker(Ledger()).identity, OTHER))
    fast, slow = Worker(ledger), Worker(ledger, identity=OTHER)
    for each in (fast, slow, fast, slow):
        each.prove()
        ledger.height += 1
    slow.hold = (Execute,)
    calls = ledger.order(alice.call("inc"), alice.call("inc"))
    for each in (fast, slow):
        each.core.block(ledger.ordering(ledger.height - 1), calls, ())
        each.prove()
    (body,) = fast.outbox
    assert ledger.accept(body.result)
    slow.core.block(ledger.ordering(ledger.height), (), ledger.ordered(ledger.height))
    ledger.height += 1
    slow.prove()
    assert slow.core.readable().state.get("count") == b"2"
    assert slow.core.lost_track == 0
    # The job that was under way comes back to nobody.
    (execute,) = slow.held
    slow.core.executed(execute.job, execute.job.run(slow.sandbox))
    slow.work()
    assert not slow.outbox


def test_an_unknown_state_is_downloaded_and_checked_against_its_root(worker, alice):
    settle(worker, alice.call("inc"))
    late = Worker(worker.ledger)
    late.hold = (FetchSlots,)
    late.prove()
    (order,) = late.held
    slots = tuple(worker.ledger.history[order.root])
    for wrong in ((), slots[:-1], ((slots[0][0], slots[1][1]), *slots[1:])):
        with pytest.raises(ProofInvalid):
            late.core.slots(order, wrong)
        late.core.failed(order)
        late.work()
    late.core.slots(order, slots)
    late.work()
    assert late.core.readable().state.get("count") == b"1"


def test_a_worker_catches_up_from_the_middle_of_a_batch(alice):
    ledger = Ledger()
    worker = started(ledger)
    worker.see(ledger.order(*(alice.call("wide:200") for _ in range(8))))
    assert ledger.accept(worker.outbox[0].result)
    assert 0 < ledger.record.done < 8
    ledger.order(alice.call("inc"))
    late = Worker(ledger)
    late.prove()
    while late.outbox:
        assert late.deliver()
    assert ledger.record.done == 9
    assert late.core.readable().state.get("count") == b"1"


def test_a_batch_that_does_not_continue_the_inbox_is_refused(alice):
    ledger = Ledger()
    started(ledger)
    ledger.order(alice.call("inc"), alice.call("inc"))
    good = ledger.batch(1)
    swapped = replace(good.batch, entries=good.batch.entries[::-1])
    late = Worker(ledger)
    late.hold = (FetchBatch,)
    late.prove()
    for bad in (
        good._replace(raws={}),
        good._replace(first=2),
    ):
        with pytest.raises(ProofInvalid):
            late.core.batch(bad)
        late.work()
    # A batch with another order of entries is self-consistent, but the inbox head proves it wrong: nothing leaves.
    late.core.batch(good._replace(batch=swapped))
    late.work()
    assert not late.outbox or not ledger.accept(late.outbox[0].result)


def test_the_ledger_going_back_is_noticed(worker, alice):
    old = worker.ledger.record
    settle(worker, alice.call("inc"))
    worker.ledger.height += 1
    worker.ledger.record = replace(worker.ledger.record, version=0, done=0, state_root=old.state_root)
    with pytest.raises(ProofInvalid):
        worker.prove()


def test_a_state_that_changes_without_a_result_is_noticed(worker, alice):
    settle(worker, alice.call("inc"))
    worker.ledger.height += 1
    worker.ledger.record = replace(worker.ledger.record, state_root=b"q" * 32)
    with pytest.raises(ProofInvalid):
        worker.prove()


def test_a_state_nothing_leads_to_is_not_followed(worker, alice):
    settle(worker, alice.call("inc"))
    worker.ledger.height += 1
    empty = Ledger().record.state_root
    worker.ledger.record = replace(worker.ledger.record, version=2, state_root=empty)
    worker.prove()  # what led there may still come with the stream
    with pytest.raises(StateUnproven):
        worker.see()
    assert worker.core.readable() is None
