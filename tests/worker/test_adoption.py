"""Results of other workers are followed to the proven root, whichever of those seen were accepted."""

from __future__ import annotations

from msgspec.structs import replace
from worker_scene import Caller, Ledger, Worker, settle, started

from keephold.protocol.transactions import Result
from keephold.worker.adoption import adopt, is_at


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
        replace(result, writes=result.writes[:1]) for result in ledger.results if len(result.writes) > 1
    ]
    seen = [*noise, *ledger.results, *ledger.results]
    for record in records:
        found = adopt(worker.core._progress.base, record, seen)
        assert is_at(found, record)
        assert (found.version, found.done) == (record.version, record.done)


def test_results_that_wrote_nothing_are_steps_too():
    worker, records = history((b"\xa0",), (b"\xa1",), (Caller(b"a").call("inc"),))
    found = adopt(worker.core._progress.base, records[-1], worker.ledger.results)
    assert found.version == 3


def test_without_the_result_that_was_accepted_there_is_no_way():
    alice = Caller(b"a")
    worker, records = history((alice.call("inc"),), (alice.call("inc"),))
    assert adopt(worker.core._progress.base, records[-1], worker.ledger.results[1:]) is None
    assert adopt(worker.core._progress.base, replace(records[-1], state_root=b"q" * 32), worker.ledger.results) is None
