"""The sandbox and the native harness agree, outcome by outcome, whatever is called."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold import Address
from keephold.contract import check
from keephold.contract.dispatch import execute
from keephold.contract.native import MemoryHost

VAULT = """
from keephold import *

class Spend(Record):
    to: str
    sats: Amount
    yes: frozenset[Address] = frozenset()
    note: str | None = None

class Staged(Event):
    id: int
    spend: Spend

class Vault(Contract):
    officers: frozenset[Address] = frozenset()
    spends: Map[int, Spend]
    tags: Map[tuple[Address, bytes], bool]
    count: int = 0

    @call
    def join(self, ctx: Call) -> int:
        self.officers = self.officers | {ctx.sender}
        return len(self.officers)

    @call
    def stage(self, ctx: Call, to: str, sats: Amount, note: str | None = None) -> int:
        require(ctx.sender in self.officers, "forbidden", to)
        self.count += 1
        self.spends[self.count] = Spend(to, sats, frozenset({ctx.sender}), note)
        ctx.emit(Staged(self.count, self.spends[self.count]), to=tuple(sorted(self.officers)))
        return self.count

    @call
    def approve(self, ctx: Call, id: int) -> Spend:
        self.spends[id] = replace(self.spends[id], yes=self.spends[id].yes | {ctx.sender})
        return self.spends[id]

    @call
    def tag(self, ctx: Call, name: bytes, on: bool) -> bytes:
        if on:
            self.tags[ctx.sender, name] = True
        else:
            del self.tags[ctx.sender, name]
        return ctx.random(len(name))

    @call
    def divide(self, ctx: Call, by: int) -> int:
        return 10**30 // by
"""

PEOPLE = [Address(letter * 32).text for letter in (b"a", b"b", b"c")]
ARGUMENTS = st.one_of(
    st.tuples(st.just("join"), st.just([])),
    st.tuples(st.just("stage"), st.tuples(st.text(max_size=8), st.integers(-1, 2**130).map(str))),
    st.tuples(st.just("stage"), st.tuples(st.text(max_size=8), st.integers(0, 9), st.none() | st.text(max_size=3))),
    st.tuples(st.just("approve"), st.tuples(st.integers(0, 3) | st.text(max_size=2))),
    st.tuples(st.just("tag"), st.tuples(st.binary(max_size=3).map(bytes.hex), st.booleans())),
    st.tuples(st.just("divide"), st.tuples(st.integers(-2, 2))),
)


@pytest.fixture(scope="module")
def native():
    return check.load(check.compile_source(VAULT))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.tuples(st.sampled_from(PEOPLE), ARGUMENTS), max_size=6))
def test_they_agree(sandbox, native, call, steps):
    contract = sandbox(VAULT)
    host = MemoryHost()
    for place, (sender, (method, arguments)) in enumerate(steps):
        request = call(method, json.dumps(arguments), sender, seed=bytes([place]) * 32)
        env = {"contract": request.contract, "creator": request.creator, "sender": sender, "seed": request.seed.hex()}
        env |= {"height": request.height, "time_ns": request.time_ns}
        host.events.clear()
        told = json.loads(execute(native, "call", method, request.args_json, json.dumps(env), host))
        outcome = contract.execute(request, _Reader(host.slots))
        assert outcome.status == told["status"]
        assert json.loads(outcome.value_json) == told.get("value")
        assert outcome.code == told.get("code", "")
        assert outcome.line == told.get("line", outcome.line)
        failed = told.get("message", "").partition(":")[0]  # the text after it is CPython's, and differs by version
        assert outcome.detail.startswith(failed) if failed else outcome.detail == told.get("detail", "")
        assert {key: value and value.decode() for key, value in outcome.writes.items()} == host.writes
        expected = [(name, body, tuple(json.loads(audience))) for name, body, audience in host.events]
        assert [(event.name, event.body_json, event.audience) for event in outcome.events] == expected
        host.commit()


class _Reader:
    def __init__(self, slots):
        self._slots = slots

    def read(self, key):
        return self._slots.get(key)


def test_the_execution_process_imports_no_cryptography_and_no_key():
    script = "import sys, keephold.runtime.child; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True, env={})
    loaded = set(ran.stdout.split())
    assert "keephold.runtime.child" in loaded
    for forbidden in (
        "keephold.crypto",
        "keephold.sealing",
        "keephold.runtime.cache",
        "cryptography",
        "rbcl",
        "sr25519",
    ):
        assert not {name for name in loaded if name == forbidden or name.startswith(f"{forbidden}.")}
