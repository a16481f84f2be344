"""From ordered calls to accepted results, through everything a ledger, a host and a caller may do in between."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from worker_cast import ABI, CODE, CONTRACT, INSTANCE, KEYS, NETWORK, OTHER, PAD, REPLY_KEY, WORKER, Caller, keys
from worker_ledger import Ledger
from worker_scene import Sandbox, Worker, settle, started

from keephold.base.errors import ProofInvalid, SealBroken
from keephold.base.ids import PublicKey
from keephold.base.limits import MAX_CALL_OUTPUT, RESULT_BUDGET
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import encode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.messages import CallPlain
from keephold.protocol.transactions import Call, SignedTransaction, sign, transaction_id
from keephold.runtime.outcome import ContractInfo, Outcome
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.event import event_tag, open_event, public_event_key
from keephold.sealing.receipt import open_receipt
from keephold.worker.code import contract_code
from keephold.worker.contract import ContractCore
from keephold.worker.inbox import Ordering
from keephold.worker.orders import FetchBatch, LoadCode
from keephold.worker.readable import Proven
from keephold.worker.state import ContractState


@pytest.fixture
def worker() -> Worker:
    return started()


@pytest.fixture
def alice() -> Caller:
    return Caller(b"a")


def test_a_call_is_executed_and_its_caller_opens_the_reply(worker, alice):
    first, second = alice.call("inc"), alice.call("inc")
    settle(worker, first, second)
    assert worker.ledger.record.done == 2
    assert (worker.ledger.reply(first).value, worker.ledger.reply(second).value) == (b"1", b"2")


def test_rejections_and_failures_are_sealed_and_failures_say_nothing(worker, alice):
    no, bad = alice.call("no"), alice.call("bad")
    settle(worker, no, bad)
    assert worker.ledger.reply(no).code == "no"
    assert worker.ledger.reply(bad) == replace(worker.ledger.reply(bad), outcome="failed", detail="")


def test_execution_starts_with_the_block_but_nothing_leaves_before_its_proof(worker, alice):
    calls = worker.ledger.order(alice.call("inc"))
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.work()
    assert worker.sandbox.ran == ["inc"]
    assert not worker.outbox
    worker.prove()
    assert len(worker.outbox) == 1
    assert worker.sandbox.ran == ["inc"]


def test_a_call_the_rules_refused_leaves_no_trace(worker, alice):
    refused = alice.call("inc")
    ordering = worker.ledger.ordering(worker.ledger.height)
    worker.core.block(ordering, [(transaction_id(refused), refused)], ())
    worker.work()
    assert worker.sandbox.ran == ["inc"]
    worker.ledger.height += 1
    # The next block proves no change of the record: the tentative entry goes, and with it its result.
    worker.core.block(worker.ledger.ordering(worker.ledger.height), (), ())
    worker.work()
    assert not worker.outbox
    accepted = alice.call("inc")
    settle(worker, accepted)
    assert worker.ledger.reply(accepted).value == b"1"


def test_a_wrong_head_is_found_out_and_the_batch_fetched(worker, alice):
    real, invented = alice.call("inc"), Caller(b"e").call("inc")
    calls = worker.ledger.order(real)
    worker.core.block(
        worker.ledger.ordering(worker.ledger.height - 1), [(transaction_id(invented), invented), *calls], ()
    )
    worker.work()
    worker.prove()
    assert [type(order) for order in worker.given].count(FetchBatch) == 1
    while worker.outbox:
        assert worker.deliver()
    assert worker.ledger.record.done == 1
    assert worker.ledger.reply(real).value == b"1"


def forged(call: bytes, victim: Caller) -> bytes:
    """What a colluding ledger could append: somebody else's call under the victim's name."""
    mallory = Caller(b"m")
    context = CallContext(NETWORK, CONTRACT, 1, victim.key.public, 7)
    sealed = seal_call(KEYS.encryption.public, context, CallPlain("inc", b"[]", REPLY_KEY), PAD)
    signed = mallory.signed(sealed, 7)
    del call
    from keephold.protocol.codec import decode

    record = decode(signed, SignedTransaction)
    return encode(replace(record, transaction=replace(record.transaction, sender=victim.key.public)))


def unreadable_entries(alice: Caller) -> dict[str, bytes]:
    good = alice.call("inc")
    flipped = bytearray(alice.call("inc"))
    flipped[400] ^= 1
    elsewhere = CallContext(NETWORK, CONTRACT, 1, alice.key.public, 90)
    moved = seal_call(KEYS.encryption.public, elsewhere, CallPlain("inc", b"[]", REPLY_KEY), PAD)
    return {
        "altered": bytes(flipped),
        "forged": forged(good, alice),
        "another nonce's ciphertext": alice.signed(moved, 91),
        "noise": alice.signed(b"\x01" + bytes(2000), 92),
        "empty": alice.signed(b"", 93),
        "another epoch": alice.call("inc", nonce=94, epoch=2),
        "another contract": sign(NETWORK, alice.key, 95, Call(b"x" * 32, 1, bytes(1200))),
        "no text": alice.call("inc", b"\xff\xfe", nonce=96),
        "no transaction": b"\xa0",
        "another network": sign(b"z" * 32, alice.key, 97, Call(CONTRACT, 1, bytes(1200))),
    }


@pytest.mark.parametrize("which", sorted(unreadable_entries(Caller(b"a"))))
def test_an_unreadable_entry_is_consumed_unexecuted_and_looks_like_any_other(worker, which):
    alice = Caller(b"a")
    entry = unreadable_entries(alice)[which]
    before = worker.ledger.slots.root
    settle(worker, entry)
    assert worker.sandbox.ran == []
    assert worker.ledger.record.done == 1
    assert worker.ledger.slots.root == before
    bob = Caller(b"b")
    rejected = bob.call("no")
    settle(worker, rejected)
    receipts = worker.ledger.receipts
    assert len(receipts[transaction_id(entry)]) == len(receipts[transaction_id(rejected)])
    with pytest.raises(SealBroken):
        worker.ledger.reply(entry)


def test_a_replayed_call_counts_once_even_if_the_ledger_appends_it_again(worker, alice):
    call = alice.call("inc")
    settle(worker, call)
    settle(worker, call)
    settle(worker, alice.call("inc", nonce=0))
    assert worker.sandbox.ran == ["inc"]
    later = alice.call("inc")
    settle(worker, later, later)
    assert worker.sandbox.ran == ["inc", "inc"]
    assert worker.ledger.record.done == 5


def test_a_new_worker_knows_from_the_state_what_was_replayed(worker, alice):
    call = alice.call("inc")
    settle(worker, call)
    successor = started(worker.ledger)
    settle(successor, call)
    assert successor.sandbox.ran == []


def test_two_workers_make_identical_results(alice):
    told = json.dumps([Address.account(b"1" * 32).text, Address.account(b"2" * 32).text]).encode()
    raws = [alice.call("inc"), b"\xa0", alice.call("tell", told), alice.call("no"), alice.call("clear")]
    ledger = Ledger(ContractPolicy(workers=2, quorum=2), (Worker(Ledger()).identity, OTHER))
    one, two = Worker(ledger), Worker(ledger, identity=OTHER)
    for each in (one, two, one, two):
        each.prove()
        ledger.height += 1
    calls = ledger.order(*raws)
    ledger.order(alice.call("inc"))
    for each in (one, two):
        each.core.block(ledger.ordering(ledger.height - 2), calls, ())
        each.prove()
    assert len(one.outbox) == 1  # the next vote waits until a quorum agreed
    assert encode(one.outbox[0].result) == encode(two.outbox[0].result)
    assert one.outbox[0].result.count == 5


def test_events_open_for_their_recipient_and_public_ones_for_everybody(worker, alice):
    bob = PublicKey(b"2" * 32)
    text = Address.account(bob).text
    settle(worker, alice.call("tell", json.dumps([text, text, Address.account(b"1" * 32).text]).encode()))
    events = {event.tag: event for event in worker.ledger.results[0].events}
    assert len(events) == 4
    key = KEYS.event_key(bob)
    assert open_event(key, events[event_tag(key, 1, 0)]).name == "Told"
    assert open_event(key, events[event_tag(key, 1, 1)]).entry == 1
    everybody = public_event_key(NETWORK, CONTRACT, 1)
    assert open_event(everybody, events[event_tag(everybody, 1, 0)]).name == "All"


def test_a_result_ends_at_the_budget_and_the_next_continues(worker, alice):
    raws = [alice.call("wide:200") for _ in range(8)]
    settle(worker, *raws)
    results = worker.ledger.results
    assert len(results) > 1
    assert sum(result.count for result in results) == 8
    assert all(len(encode(result)) < RESULT_BUDGET for result in results)
    assert worker.sandbox.ran == ["wide:200"] * 8


@pytest.mark.parametrize("method", ["big:70000", "wide:400", "wide:4096"])
def test_a_call_with_too_large_an_output_fails_alone(worker, alice, method):
    before, large, after = alice.call("inc"), alice.call(method), alice.call("inc")
    settle(worker, before, large, after)
    assert worker.ledger.reply(large).outcome == "failed"
    assert worker.ledger.reply(after).value == b"2"
    assert all(len(encode(result)) < MAX_CALL_OUTPUT for result in worker.ledger.results)


def test_a_slot_wider_than_the_ledger_takes_fails_its_call_alone(alice):
    wide = ABI.replace(b"4096", b"65536")
    worker = Worker(Ledger(), Sandbox(lambda *_: Outcome(status="ok", writes={"v": b"x" * 65_536})))
    worker.code = contract_code(
        CONTRACT, PublicKey(b"o" * 32), Code("python", b"", "Token", wide), CODE.policy, tells_failures=True
    )
    worker.hold = (LoadCode,)
    worker.prove()
    worker.core.loaded(ContractInfo("Token", wide.decode()))
    worker.work()
    worker.ledger.height += 1
    worker.prove()
    call = alice.call("inc")
    settle(worker, call)
    assert worker.ledger.reply(call).outcome == "failed"
    assert "limits" in worker.ledger.reply(call).detail


def test_no_result_covers_more_than_a_batch(alice, monkeypatch):
    monkeypatch.setattr("keephold.worker.results.MAX_BATCH", 8)
    ledger = Ledger()
    started(ledger)
    ledger.order(*(alice.call("inc") for _ in range(10)))
    late = Worker(ledger)
    late.prove()
    while late.outbox:
        late.deliver()
    assert [result.count for result in ledger.results] == [8, 2]


def test_what_follows_a_refused_output_runs_on_the_state_without_it(alice):
    def doubling(call, get):
        if call.method == "spoil":
            return Outcome(status="ok", value_json='"' + "x" * 70_000 + '"', writes={"v": b"spoiled"})
        return Outcome(status="ok", value_json=json.dumps((get("v") or b"none").decode()), writes={"v": b"fine"})

    worker = started(sandbox=Sandbox(doubling))
    spoil, read = alice.call("spoil"), alice.call("read")
    settle(worker, spoil, read)
    assert worker.ledger.reply(read).value == b'"none"'


def test_an_entry_that_kills_its_process_twice_is_consumed_as_failed(alice):
    worker = started(sandbox=Sandbox(poison=frozenset({"die"})))
    before, die, after = alice.call("inc"), alice.call("die"), alice.call("inc")
    settle(worker, before, die, after)
    assert worker.ledger.reply(die).outcome == "failed"
    assert worker.ledger.reply(after).value == b"2"
    assert worker.sandbox.ran.count("die") == 3  # with the others, then alone, then alone again
    assert worker.sandbox.restarts == 3


def test_a_process_that_dies_once_costs_nobody_his_call(alice):
    worker = started(sandbox=Sandbox(poison=frozenset({"die"}), deaths_left=2))
    first, die = alice.call("inc"), alice.call("die")
    settle(worker, first, die)
    assert worker.ledger.reply(die).value == b"2"


def test_keys_that_differ_from_those_on_record_execute_nothing(alice):
    ledger = Ledger()
    worker = started(ledger)
    ledger.record = replace(ledger.record, encryption_key=keys(b"x" * 32).encryption.public)
    ledger.height += 1
    worker.see(ledger.order(alice.call("inc")))
    worker.prove()
    assert not worker.sandbox.ran
    assert worker.core.readable() is None


def test_a_new_key_epoch_asks_for_a_new_key(worker):
    worker.ledger.height += 1
    worker.ledger.record = replace(worker.ledger.record, epoch=2, phase="keying", publications=())
    worker.prove()
    assert worker.ledger.record.encryption_key == keys(epoch=2).encryption.public


def test_an_unassigned_worker_is_given_nothing_to_do(worker):
    worker.ledger.height += 1
    worker.ledger.record = replace(worker.ledger.record, workers=(OTHER,))
    worker.prove()
    assert not worker.core.is_assigned
    assert worker.core.orders() == []
    assert worker.core.readable() is None


def test_receipts_open_for_their_own_call_only(worker, alice):
    first, second = alice.call("inc"), alice.call("inc")
    settle(worker, first, second)
    receipt = worker.ledger.receipts[transaction_id(first)]
    with pytest.raises(SealBroken):
        open_receipt(SecretBytes(REPLY_KEY), NETWORK, CONTRACT, 1, transaction_id(second), receipt)


def test_slots_of_another_fork_differ_though_their_values_are_equal(alice):
    roots = []
    for fork in (b"one", b"two"):
        worker = started()
        calls = worker.ledger.order(alice.call("inc", nonce=0))
        height = worker.ledger.height - 1
        worker.core.block(Ordering(height, fork.ljust(32), 1), calls, ())
        worker.work()
        worker.prove()
        roots.append({write.value for write in worker.outbox[0].result.writes})
    assert not roots[0] & roots[1]


def test_a_state_that_does_not_open_is_reported_and_not_taken_for_an_unreadable_call(worker, alice, monkeypatch):
    """Else one broken slot would consume a caller's calls in silence."""

    def broken(self, sender):
        raise SealBroken("a slot under other keys")

    monkeypatch.setattr(ContractState, "next_nonce", broken)
    with pytest.raises(SealBroken):
        settle(worker, alice.call("inc"))


def test_another_state_of_a_version_that_was_proven_is_refused_before_there_is_a_position():
    """Nothing is downloaded yet, and no key is here: what was proven once is held against what comes all the same."""
    record = replace(Ledger().record, version=3, done=3, state_root=b"r" * 32)
    core = ContractCore(CONTRACT, NETWORK, WORKER, INSTANCE)
    core.record(Proven(record, 5, b"h" * 32, 1))
    for other in (replace(record, state_root=b"x" * 32), replace(record, version=2)):
        with pytest.raises(ProofInvalid):
            core.record(Proven(other, 6, b"h" * 32, 1))
    core.record(Proven(replace(record, version=4, state_root=b"x" * 32), 6, b"h" * 32, 1))
