"""G11. Whatever a contract does it does to itself: the next call on the same worker succeeds."""

from __future__ import annotations

import cbor2
import pytest
from worker_cast import CONTRACT, Caller
from worker_scene import Sandbox, counter, settle, started

from keephold.base.errors import EncodingError, SandboxError
from keephold.base.limits import (
    MAX_BATCH,
    MAX_CALL_OUTPUT,
    MAX_EFFECTS,
    MAX_EVENTS,
    MAX_SLOT_VALUE,
    MAX_WRITES,
)
from keephold.protocol.codec import decode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.transactions import SignedTransaction
from keephold.runtime.effects import Effects, HostViolation
from keephold.runtime.outcome import Emitted, Outcome
from keephold.worker.code import contract_code


def abusive(call, get) -> Outcome:
    """Outcomes that a guest might talk its process into, each beyond what a result can carry."""
    match call.method:
        case "huge":
            return Outcome(status="ok", value_json='"' + "x" * (2 * MAX_CALL_OUTPUT) + '"', writes={"big": b"1"})
        case "no address":
            return Outcome(status="ok", writes={"w": b"1"}, events=(Emitted("Told", "{}", ("not an address",)),))
        case "long name":
            return Outcome(status="ok", writes={"w": b"1"}, events=(Emitted("T" * 300, "{}", "public"),))
        case "surrogate":
            return Outcome(status="rejected", code="\ud800", detail="\ud800")
        case _:
            return counter(call, get)


@pytest.mark.parametrize("abuse", ["huge", "no address", "long name", "surrogate"])
def test_an_outcome_that_no_result_can_carry_fails_its_own_call(abuse: str) -> None:
    worker, alice, eve = started(sandbox=Sandbox(abusive)), Caller(b"a"), Caller(b"e")
    before, bad, after = alice.call("inc"), eve.call(abuse), alice.call("inc")
    settle(worker, before, bad, after)
    assert worker.ledger.record.done == 3
    assert worker.ledger.reply(bad).outcome == "failed"
    assert (worker.ledger.reply(before).value, worker.ledger.reply(after).value) == (b"1", b"2")


def test_a_call_that_kills_its_process_each_time_blocks_nobody() -> None:
    sandbox = Sandbox(poison=frozenset({"bomb"}))
    worker, alice, eve = started(sandbox=sandbox), Caller(b"a"), Caller(b"e")
    raws = [alice.call("inc"), eve.call("bomb"), alice.call("inc"), eve.call("bomb"), alice.call("inc")]
    settle(worker, *raws)
    assert [worker.ledger.reply(raw).outcome for raw in raws] == ["ok", "failed", "ok", "failed", "ok"]
    assert worker.ledger.reply(raws[-1]).value == b"3"
    # The next batch runs as if nothing had been.
    last = alice.call("inc")
    settle(worker, last)
    assert worker.ledger.reply(last).value == b"4"


def test_a_view_has_no_effect_whatever_it_asks_for() -> None:
    effects = Effects("view", type("Empty", (), {"read": lambda self, key: None})())
    for operation in (2, 3, 4):
        with pytest.raises(HostViolation):
            effects.call(operation, "k", '"public"')
    assert (effects.writes, effects.events) == ({}, [])


@pytest.mark.parametrize(
    ("operations", "word"),
    [
        ([(2, f"k{n}", "1") for n in range(MAX_WRITES + 1)], "slots"),
        ([(2, f"k{n}", "x" * MAX_SLOT_VALUE) for n in range(MAX_EFFECTS // MAX_SLOT_VALUE)], "together"),
        ([(4, 'Told\n"public"', "{}")] * (MAX_EVENTS + 1), "events"),
        ([(2, "k", "x" * (MAX_SLOT_VALUE + 1))], "bytes"),
    ],
)
def test_the_host_counts_by_itself_what_one_call_writes(operations, word: str) -> None:
    """The guest shares its interpreter with the contract: what it counted does not matter."""
    effects = Effects("call", type("Empty", (), {"read": lambda self, key: None})())
    for operation in operations[:-1]:
        effects.call(*operation)
    with pytest.raises(HostViolation, match=word):
        effects.call(*operations[-1])


def test_no_object_is_built_from_a_tag() -> None:
    """A compiled regular expression, a date, a decimal: refused where the tag is read, not after it was built."""
    for tag, content in ((35, "(a+)+$"), (4, [1, 2]), (1, 1), (0, "2026-01-01T00:00:00Z"), (37, b"x" * 16)):
        with pytest.raises(EncodingError, match=f"semantic tag {tag}"):
            decode(cbor2.dumps(cbor2.CBORTag(tag, content)), SignedTransaction)


def test_bytes_nested_as_deep_as_they_fit_are_refused_not_a_crash() -> None:
    for raw in (b"\x81" * 100_000, b"\xa1\x61a" * 30_000, b"\xc1" * 1000, b"\x9f" * 1000, b""):
        with pytest.raises(EncodingError):
            decode(raw, SignedTransaction)


def test_an_interface_made_to_exhaust_its_readers_is_refused() -> None:
    pads = (b"[1e400]", b"[-1]", b"[4096,512]", b"[true]")
    for abi in (b"[" * 100_000, b"\xff", *(b'{"methods":{},"pad":' + pad + b"}" for pad in pads)):
        with pytest.raises(SandboxError):
            contract_code(CONTRACT, b"o" * 32, Code("python", b"", "T", abi), ContractPolicy(), tells_failures=False)


def test_a_flood_of_calls_in_one_block_is_taken_in_batches() -> None:
    worker, eve = started(), Caller(b"e")
    calls = worker.ledger.order(*(eve.call("inc") for _ in range(MAX_BATCH)))
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), [*calls, *calls], ())
    worker.work()
    worker.prove()
    while worker.outbox:
        assert all(body.result.count <= MAX_BATCH for body in worker.outbox)
        worker.deliver()
    assert worker.ledger.record.done == MAX_BATCH
