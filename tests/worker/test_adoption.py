"""Results of other workers are followed to the proven root, whichever of those seen were accepted."""

from __future__ import annotations

from msgspec.structs import replace
from worker_cast import Caller
from worker_ledger import Ledger
from worker_scene import Worker, settle, started

from keephold.protocol.state import inbox_head
from keephold.protocol.transactions import Result
from keephold.worker.adoption import adopt, is_at


def unknown(_: int) -> bytes | None:
    return None


def head_at(ledger: Ledger):
    heads = {}
    for first, batch in ledger.batches:
        head = batch.before
        for at, entry in enumerate(batch.entries, first):
            heads[at] = head = inbox_head(head, at, entry, batch.height)
    return heads.get


def history(*batches: tuple[bytes, ...]) -> tuple[Worker, list]:
    """Return a worker at the start, and the ledger after each batch."""
    worker = started()
    start = worker.core._progress.base
    records = []
    for batch in batches:
        settle(worker, *batch)
        records.append(worker.ledger.record)
    worker.core._progress.base = start
    return worker, records


def test_any_number_of_results_is_followed_and_refused_ones_are_passed_over():
    alice = Caller(b"a")
    worker, records = history(*((alice.call("inc"),) for _ in range(5)))
    ledger: Ledger = worker.ledger
    noise: list[Result] = [
        altered
        for result in ledger.results
        for altered in (
            replace(result, writes=result.writes[1:]),
            replace(result, first=result.first + 1),
            replace(result, pre_root=b"p" * 32),
            replace(result, root=b"r" * 32),
            replace(result, head=b"h" * 32),
        )
    ]
    seen = [*noise, *ledger.results, *ledger.results]
    for record in records:
        found = adopt(worker.core._progress.base, record, seen, head_at(ledger))
        assert is_at(found, record)
        assert (found.version, found.done) == (record.version, record.done)


def test_results_that_wrote_nothing_are_steps_too():
    worker, records = history((b"\xa0",), (b"\xa1",), (Caller(b"a").call("inc"),))
    found = adopt(worker.core._progress.base, records[-1], worker.ledger.results, unknown)
    assert found.version == 3


def test_without_the_result_that_was_accepted_there_is_no_way():
    alice = Caller(b"a")
    worker, records = history((alice.call("inc"),), (alice.call("inc"),))
    base, results = worker.core._progress.base, worker.ledger.results
    assert adopt(base, records[-1], results[1:], unknown) is None
    assert adopt(base, replace(records[-1], state_root=b"q" * 32), results, unknown) is None


def test_a_step_is_taken_only_if_its_values_lead_to_the_root_that_it_names():
    worker, records = history((Caller(b"a").call("inc"),))
    base, (result,) = worker.core._progress.base, worker.ledger.results
    assert is_at(adopt(base, records[0], [result], unknown), records[0])
    swapped = (replace(result.writes[0], value=result.writes[1].value), *result.writes[1:])
    for altered in (replace(result, writes=swapped), replace(result, writes=result.writes[1:])):
        assert altered.root == records[0].state_root
        assert adopt(base, records[0], [altered], unknown) is None
        # Not even where validators go along.
        led = base.state.apply(altered.writes).root
        assert adopt(base, replace(records[0], state_root=led), [altered], unknown) is None


def test_a_result_is_for_exactly_the_entries_known_here():
    worker, records = history((Caller(b"a").call("inc"),))
    base, results = worker.core._progress.base, worker.ledger.results
    assert adopt(base, records[0], results, head_at(worker.ledger)) is not None
    assert adopt(base, records[0], results, lambda _: b"x" * 32) is None
