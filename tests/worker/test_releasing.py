"""A signature exists once the ledger accepted the call that asked for it, for those whom the contract named."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from worker_cast import ABI, CONTRACT, OWNED, PAD, Caller, code
from worker_ledger import Ledger
from worker_scene import Sandbox, Worker, counter, settle, started

from keephold.base.errors import BadKey, EncodingError, StateUnproven
from keephold.chain.sparse import SparseMap
from keephold.contract.address import Address
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.messages import KeyName, Reply
from keephold.runtime import outcome
from keephold.runtime.outcome import CallRequest, Outcome, Requested
from keephold.sealing.owned_keys import verify_owned
from keephold.worker.execution import account_text
from keephold.worker.orders import Execute, FetchSigning
from keephold.worker.reading import Reading
from keephold.worker.releasing import released

KEYED = json.dumps(
    {**json.loads(ABI), "keys": [{"label": "k", "scheme": "ed25519"}, {"label": "c", "scheme": "secp256k1"}]}
).encode()
ALICE, BOB, MALLORY = Caller(b"a"), Caller(b"b"), Caller(b"m")
KEY = outcome.KeyName("ed25519", "k", ("a",))
NOTHING = Reply("rejected", code="not_released")


def signer(call: CallRequest, get) -> Outcome:
    """`sign` asks for the signature under a topic, for Bob; `slot` writes a slot of the contract's own choice."""
    if call.method == "slot":
        key, value = json.loads(call.args_json)
        return Outcome(status="ok", value_json=json.dumps(get(key) is not None), writes={key: value.encode()})
    if call.method != "sign":
        return counter(call, get)
    topic, message = json.loads(call.args_json)
    readers = (account_text(BOB.key.public),)
    return Outcome(status="ok", releases=(Requested(topic, KEY, message.encode(), readers),), writes={"n": b"1"})


def signing(ledger: Ledger | None = None, **hold) -> Worker:
    worker = Worker(ledger or Ledger(), Sandbox(signer))
    worker.code = code(worker.ledger.record.policy, abi=KEYED)
    worker.hold = hold.get("hold", ())
    worker.prove()
    worker.ledger.height += 1
    worker.prove()
    return worker


def sign(topic: str = "t", message: str = "m", caller: Caller = ALICE) -> bytes:
    return caller.call("sign", json.dumps([topic, message]).encode())


def asked(worker: Worker, reader: Caller = BOB, topic: str = "t") -> Reply:
    return released(worker.core.readable(), reader.key.public, json.dumps([topic]).encode())


@pytest.fixture(autouse=True)
def _nonces() -> None:
    for caller in (ALICE, BOB, MALLORY):
        caller.nonce = 0


def test_what_was_accepted_is_signed_for_its_reader() -> None:
    worker = signing()
    settle(worker, sign())
    told = json.loads(asked(worker).value)
    name = KeyName(told["scheme"], told["label"], tuple(told["path"]))
    assert (name, told["message"]) == (KeyName("ed25519", "k", ("a",)), b"m".hex())
    assert bytes.fromhex(told["public"]) == OWNED.public(name)
    verify_owned(name, OWNED.public(name), bytes.fromhex(told["signature"]), b"m")
    assert asked(worker) == asked(worker)


def test_every_worker_submits_the_same_bytes_and_gives_the_same_signature() -> None:
    ledger = Ledger()
    workers = [signing(ledger), signing(ledger)]
    calls = ledger.order(sign())
    for worker in workers:
        worker.core.block(ledger.ordering(ledger.height - 1), calls, ())
        worker.work()
        worker.prove()
    one, other = (worker.outbox[0].result for worker in workers)
    assert one == other
    workers[0].deliver()
    workers[1].see(votes=ledger.ordered(ledger.height - 1))
    assert asked(workers[0]) == asked(workers[1]) != NOTHING


def test_a_result_that_the_ledger_has_not_accepted_yields_nothing() -> None:
    """The simulation attack: the call was executed here, its result lies ready, and the ledger never takes it."""
    worker = signing()
    calls = worker.ledger.order(sign())
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.work()
    worker.prove()
    assert worker.outbox
    assert asked(worker) == NOTHING
    # Further blocks change nothing, until the result is in one.
    worker.ledger.height += 5
    worker.prove()
    assert asked(worker) == NOTHING
    worker.deliver()
    assert asked(worker).outcome == "ok"


def test_what_another_worker_executed_otherwise_and_had_accepted_is_all_that_counts() -> None:
    """Ours asked for a signature; the result that the ledger took did not."""
    ledger = Ledger()
    ours, theirs = signing(ledger), signing(ledger)
    theirs.sandbox = Sandbox(lambda call, get: Outcome(status="rejected", code="no"))
    raw = sign()
    calls = ledger.order(raw)
    for worker in (ours, theirs):
        worker.core.block(ledger.ordering(ledger.height - 1), calls, ())
        worker.work()
        worker.prove()
    (refused,) = ours.outbox
    ours.outbox.clear()
    assert theirs.deliver() == 1
    ours.see(votes=ledger.ordered(ledger.height - 1))
    assert not ledger.accept(refused.result)
    assert ours.core.readable() is not None
    assert asked(ours) == asked(theirs) == NOTHING


def test_a_state_that_no_verified_result_leads_to_is_never_read() -> None:
    """A root from another fork, or of slots mixed by validators: this worker answers nothing, and stops."""
    worker = signing()
    settle(worker, sign("other"))
    elsewhere = SparseMap.empty().update([(b"t" * 32, b"v")])
    record = worker.ledger.record
    worker.ledger.record = replace(record, version=record.version + 1, state_root=elsewhere.root)
    worker.ledger.height += 1
    worker.prove()
    assert worker.core.readable() is None
    with pytest.raises(StateUnproven):
        worker.see()
    assert worker.core.readable() is None


def test_whoever_is_not_named_is_told_what_is_told_of_nothing() -> None:
    worker = signing()
    settle(worker, sign())
    assert asked(worker, MALLORY) == asked(worker, ALICE) == asked(worker, BOB, "never") == NOTHING


def test_refused_and_failed_calls_ask_for_nothing() -> None:
    def half(call: CallRequest, get) -> Outcome:
        return Outcome(status="failed" if call.method == "sign" else "rejected", code="no")

    worker = signing()
    worker.sandbox = Sandbox(half)
    settle(worker, sign())
    assert asked(worker) == NOTHING


def test_a_later_request_takes_the_place_of_an_earlier_one() -> None:
    worker = signing()
    settle(worker, sign(message="one"), sign("u", "two"), sign(message="three"))
    assert bytes.fromhex(json.loads(asked(worker).value)["message"]) == b"three"
    assert bytes.fromhex(json.loads(asked(worker, topic="u").value)["message"]) == b"two"


@pytest.mark.parametrize("slot", ["t", "s/t", "../s/t", "/s/t", "c/../s/t"])
def test_no_slot_of_the_contracts_own_is_a_request(slot: str) -> None:
    worker = signing()
    forged = json.dumps([slot, "forged"]).encode()
    settle(worker, ALICE.call("slot", forged))
    assert asked(worker) == NOTHING
    settle(worker, sign())
    kept = asked(worker)
    raw = ALICE.call("slot", forged)
    settle(worker, raw)
    assert worker.ledger.reply(raw).value == b"true"  # its own write, made before
    fresh_slot = ALICE.call("slot", json.dumps([slot + "/new", "x"]).encode())
    settle(worker, fresh_slot)
    assert worker.ledger.reply(fresh_slot).value == b"false"
    assert asked(worker) == kept


def test_a_request_outlives_its_key_epoch_and_so_does_the_key() -> None:
    worker = signing()
    settle(worker, sign())
    before = asked(worker)
    worker.ledger.rotate()
    worker.prove()
    while worker.ledger.record.rotation:
        worker.deliver()
        worker.prove()
    assert worker.ledger.record.epoch == 2
    assert asked(worker) == before


def test_a_contract_with_keys_runs_once_they_are_here() -> None:
    worker = signing(hold=(FetchSigning,))
    calls = worker.ledger.order(sign())
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.work()
    assert worker.core.readable() is None
    assert not any(isinstance(order, Execute) for order in worker.given)
    worker.hold = ()
    worker.do(FetchSigning())
    worker.prove()
    while worker.outbox:
        worker.deliver()
    assert asked(worker).outcome == "ok"


def test_a_contract_without_keys_never_asks_for_any() -> None:
    worker = started()
    settle(worker, ALICE.call("inc"))
    assert not any(isinstance(order, FetchSigning) for order in worker.given)
    assert asked(worker) == NOTHING


def test_executions_look_up_declared_keys_only() -> None:
    worker = signing()
    reading = worker.core.readable().reading
    assert reading.public_key(KEY) == OWNED.public(KeyName("ed25519", "k", ("a",)))
    for name in (outcome.KeyName("bip340", "k"), outcome.KeyName("ed25519", "other")):
        with pytest.raises(BadKey):
            reading.public_key(name)
    with pytest.raises(BadKey):
        Reading(reading.state, reading.code, None).public_key(KEY)


@pytest.mark.parametrize("arguments", [b"", b"\xff", b"{}", b"[]", b"[1]", b'["a","b"]', b"null"])
def test_a_question_names_one_topic(arguments: bytes) -> None:
    worker = signing()
    settle(worker, sign())
    with pytest.raises(EncodingError):
        released(worker.core.readable(), BOB.key.public, arguments)


BOBS = (account_text(BOB.key.public),)


@pytest.mark.parametrize(
    "requested",
    [
        Requested("t", KEY, b"m", (Address.contract(CONTRACT).text,)),
        Requested("t", KEY, b"m", ("nobody",)),
        Requested("t", outcome.KeyName("ed25519", "other"), b"m", BOBS),
        Requested("t", outcome.KeyName("secp256k1", "k"), bytes(32), BOBS),
        Requested("t", outcome.KeyName("secp256k1", "c"), bytes(31), BOBS),
    ],
    ids=["a contract reads", "no address", "undeclared label", "undeclared scheme", "no digest"],
)
def test_what_a_broken_sandbox_asks_for_fails_its_own_call(requested: Requested) -> None:
    worker = signing()
    worker.sandbox = Sandbox(lambda call, get: Outcome(status="ok", releases=(requested,)))
    raw = sign()
    settle(worker, raw)
    assert worker.ledger.reply(raw).outcome == "failed"
    assert asked(worker) == NOTHING


def test_a_quorum_that_did_not_agree_released_nothing() -> None:
    worker = signing(Ledger(ContractPolicy(workers=2, quorum=2)))
    calls = worker.ledger.order(sign())
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), calls, ())
    worker.work()
    worker.prove()
    assert len(worker.outbox) == 1  # one vote of two
    worker.ledger.height += 1
    worker.prove()
    assert asked(worker) == NOTHING


def test_requests_are_slots_of_the_contracts_sizes() -> None:
    worker = signing()
    settle(worker, sign(message="x"))
    settle(worker, sign(message="x" * 200))
    first, second = worker.ledger.results
    assert sorted(len(write.value) for write in first.writes) == sorted(len(write.value) for write in second.writes)
    assert all(len(write.value) > PAD[0] for write in first.writes)
