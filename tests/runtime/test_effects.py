from __future__ import annotations

import pytest

from keephold.base.limits import MAX_SLOT_KEY, MAX_SLOT_VALUE
from keephold.runtime import effects as host
from keephold.runtime.effects import Effects, HostViolation
from keephold.runtime.outcome import Emitted


@pytest.fixture
def effects(slots):
    return Effects("call", slots)


def test_reads_see_the_writes_before_them(effects, slots):
    slots["a"] = b"1"
    assert effects.call(host.GET, "a", "")[0] == "=1"
    effects.call(host.PUT, "a", "2")
    assert effects.call(host.GET, "a", "")[0] == "=2"
    effects.call(host.DELETE, "a", "")
    assert effects.call(host.GET, "a", "")[0] == ""
    assert effects.writes == {"a": None}
    effects.call(host.EMIT, 'Moved\n["kh1a","kh1b"]', "{}")
    effects.call(host.EMIT, 'Moved\n"public"', "{}")
    assert effects.events == [Emitted("Moved", "{}", ("kh1a", "kh1b")), Emitted("Moved", "{}", "public")]


def test_every_operation_costs_and_more_bytes_cost_more(effects, slots):
    slots["a"] = b"x" * 1000
    costs = [effects.call(operation, "b", "")[1] for operation in (host.GET, host.PUT, host.DELETE, host.LOG)]
    assert min(costs) > 0
    assert effects.call(host.GET, "a", "")[1] > costs[0]
    assert effects.call(host.PUT, "b", "x" * 1000)[1] > costs[1]


VIOLATIONS = [
    (0, "a", ""), (99, "a", ""), (host.GET, "", ""), (host.GET, "k" * (MAX_SLOT_KEY + 1), ""),
    (host.PUT, "", ""), (host.PUT, "é" * (MAX_SLOT_KEY // 2 + 1), ""), (host.PUT, "a", "x" * (MAX_SLOT_VALUE + 1)),
    (host.EMIT, 'a b\n"public"', "{}"), (host.EMIT, "A", "{}"), (host.EMIT, "A\n[]", "{}"),
    (host.EMIT, "A\n[1]", "{}"), (host.EMIT, 'A\n["a","a"]', "{}"), (host.EMIT, 'A\n"private"', "{}"),
    (host.EMIT, "A\n" + "[" * 100_000, "{}"), (host.EMIT, 'A\n"public"', "x" * (MAX_SLOT_VALUE + 1)),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "a", "b"), VIOLATIONS, ids=range(len(VIOLATIONS)))
def test_violations(effects, operation, a, b):
    with pytest.raises(HostViolation):
        effects.call(operation, a, b)
    assert (effects.writes, effects.events) == ({}, [])


@pytest.mark.parametrize("operation", [host.PUT, host.DELETE, host.EMIT])
def test_a_view_has_no_effects(slots, operation):
    with pytest.raises(HostViolation, match="view"):
        Effects("view", slots).call(operation, "a", "{}")


def test_logs_are_bounded(effects):
    for _ in range(host.MAX_LOGS + 5):
        effects.call(host.LOG, "x" * (host.MAX_LOG + 5), "")
    assert len(effects.logs) == host.MAX_LOGS
    assert len(effects.logs[0]) == host.MAX_LOG
