"""A batch in its process: opened and drafted while it runs, bounded in memory, and the same results however it went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worker_cast import CODE, KEYS, Caller
from worker_scene import Sandbox

from keephold.base.errors import ExecutionCrashed, OutcomesMiscounted
from keephold.base.ids import HeaderHash, Height, StateRoot
from keephold.chain.sparse import EMPTY_ROOT
from keephold.protocol.transactions import transaction_id
from keephold.worker import execution
from keephold.worker.execution import Job
from keephold.worker.inbox import Entry, Ordering
from keephold.worker.results import Built, Position
from keephold.worker.running import CRASHED
from keephold.worker.state import Opened, downloaded

HERE = Ordering(Height(9), HeaderHash(b"h" * 32), 1)
START = Position(0, 0, downloaded(StateRoot(EMPTY_ROOT), (), Opened(KEYS.slots)))


def batch(methods: list[str]) -> tuple[Entry, ...]:
    """One block's entries, all of one sender; `junk` opens for nobody."""
    alice = Caller(b"a")
    raws = [alice.signed(b"junk", 10**6) if method == "junk" else alice.call(method) for method in methods]
    return tuple(
        Entry(index, transaction_id(raw), raw, HERE, index.to_bytes(32, "big")) for index, raw in enumerate(raws, 1)
    )


def carried_out(entries: tuple[Entry, ...], sandbox) -> list[Built]:
    """What the jobs of one batch come to, one after the other, as `Progress` gives them."""
    built: list[Built] = []
    while (done := built[-1].last if built else 0) < len(entries):
        after = built[-1].after if built else START
        found = Job(1, KEYS, CODE, entries[done:], after).run(sandbox)
        assert found
        built += found
    return built


class Watched(Sandbox):
    """Says how many of a batch's entries were opened when each outcome was there."""

    def execute(self, calls, store):
        ahead = []
        for outcome in super().execute((ahead.append(1) or call for call in calls), store):
            yield outcome
            self.opened.append(len(ahead))


def test_entries_are_opened_while_those_before_them_run_and_not_sooner() -> None:
    sandbox = Watched()
    sandbox.opened = []
    carried_out(batch(["inc"] * 5), sandbox)
    assert sandbox.opened == [1, 2, 3, 4, 5]


def test_a_job_ends_with_its_eighth_result_and_the_batch_goes_on(monkeypatch) -> None:
    entries = batch(["wide:200"] * 60)
    sandbox = Sandbox()
    first = Job(1, KEYS, CODE, entries, START).run(sandbox)
    assert len(first) == execution.MOST_RESULTS == 8
    assert len(sandbox.ran) < len(entries)
    in_parts = carried_out(entries, Sandbox())
    monkeypatch.setattr(execution, "MOST_RESULTS", 1000)
    whole = Job(1, KEYS, CODE, entries, START).run(Sandbox())
    assert len(whole) > 8
    assert [built.result for built in in_parts] == [built.result for built in whole]


class Miscounting(Sandbox):
    """Tells what `miscounted` makes of the outcomes, instead of one for each call."""

    def __init__(self, miscounted) -> None:
        super().__init__()
        self.miscounted = miscounted

    def execute(self, calls, store):
        return self.miscounted(super().execute(calls, store))


@pytest.mark.parametrize(
    "miscounted",
    [
        pytest.param(lambda told: (outcome for at, outcome in enumerate(told) if at != 1), id="one-is-left-out"),
        pytest.param(lambda told: (outcome for each in told for outcome in (each, each)), id="each-twice"),
        pytest.param(lambda told: iter([*told][:-1]), id="the-last-is-left-out"),
        pytest.param(lambda told: iter([*told, CRASHED]), id="one-more-than-calls"),
        pytest.param(lambda _: iter(()), id="nothing-is-taken"),
    ],
)
def test_outcomes_that_are_not_one_for_each_call_end_the_job(miscounted) -> None:
    sandbox = Miscounting(miscounted)
    with pytest.raises(OutcomesMiscounted):
        Job(1, KEYS, CODE, batch(["inc"] * 4), START).run(sandbox)
    assert sandbox.restarts == 0


def test_outcomes_are_counted_though_the_job_has_its_last_result() -> None:
    sandbox = Miscounting(lambda told: (outcome for at, outcome in enumerate(told) if at != 1))
    with pytest.raises(OutcomesMiscounted):
        Job(1, KEYS, CODE, batch(["wide:200"] * 60), START).run(sandbox)


class Mortal(Sandbox):
    """Dies before the calls that `dies` says, counted over all that it runs; outcomes before a death are there."""

    def __init__(self, dies: frozenset[int]) -> None:
        super().__init__()
        self.dies = dies
        self.count = 0

    def execute(self, calls, store):
        def watched():
            for call in calls:
                self.count += 1
                if self.count in self.dies:
                    raise ExecutionCrashed("killed")
                yield call

        yield from super().execute(watched(), store)


METHODS = st.lists(
    st.sampled_from(["inc", "no", "bad", "clear", "big:70000", "wide:5", "junk"]), min_size=1, max_size=12
)


@given(st.lists(METHODS, min_size=1, max_size=12), st.frozensets(st.integers(1, 24).map(lambda at: 3 * at), max_size=4))
def test_deaths_of_the_process_change_no_result(methods, dies) -> None:
    """Never the same entry alone twice in a row: that one would be consumed as failed, which is another test's."""
    entries = batch(methods)
    undisturbed = [built.result for built in carried_out(entries, Sandbox())]
    assert [built.result for built in carried_out(entries, Mortal(dies))] == undisturbed


def test_what_had_an_outcome_is_not_run_again_when_the_process_dies() -> None:
    sandbox = Mortal(frozenset({4}))
    carried_out(batch(["inc", "no", "clear", "bad"]), sandbox)
    assert sandbox.ran == ["inc", "no", "clear", "bad"]
    assert sandbox.restarts == 1
