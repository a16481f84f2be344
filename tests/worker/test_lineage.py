"""Whose word moves a worker: votes of verified workers, a quorum of them, from where it stands, and nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from worker_cast import NETWORK, OTHER, OTHER_KEY, WORKER, Caller, admitted
from worker_ledger import Ledger
from worker_scene import Worker, settle, started

from keephold.base.errors import RollbackDetected, StateUnproven
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.enclave.vault import ForgetfulVault
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.transactions import SubmitResult, sign, transaction_id
from keephold.worker.contract import ContractCore
from keephold.worker.lineage import vote_of
from keephold.worker.marks import Marks
from keephold.worker.orders import Execute, FetchSlots, FetchSteps, FetchVotes, JudgeVotes
from keephold.worker.witnesses import transaction_of

THIRD_KEY = SigningKey(SecretBytes(b"t" * 32))
THIRD = THIRD_KEY.public


@pytest.fixture
def alice() -> Caller:
    return Caller(b"a")


def pair(alice: Caller, policy: ContractPolicy | None = None) -> tuple[Worker, Worker]:
    """Two workers of one contract after a first call; the second one executes nothing and follows."""
    ledger = Ledger(policy or ContractPolicy(workers=2), (WORKER, OTHER, THIRD))
    ledger.enclaves[THIRD] = admitted(THIRD)
    fast = started(ledger)
    slow = Worker(ledger, identity=OTHER)
    slow.hold = (Execute,)
    settle(fast, alice.call("inc"))
    slow.prove()
    assert slow.core.readable() is not None
    return fast, slow


def step(fast: Worker, *raws: bytes) -> int:
    """Have the first worker's next result accepted; return the block that orders its vote."""
    ledger = fast.ledger
    calls = ledger.order(*raws)
    fast.core.block(ledger.ordering(ledger.height - 1), calls, ())
    fast.prove()
    at = ledger.height
    while fast.outbox:
        fast.deliver()
    return at


def show(worker: Worker, at: int) -> None:
    """Let a worker see a block with its votes, then the record that the next header proves."""
    worker.core.block(worker.ledger.ordering(at), (), worker.ledger.ordered(at))
    worker.prove()


def count(worker: Worker) -> bytes | None:
    readable = worker.core.readable()
    return None if readable is None else readable.state.get("count")


def test_a_second_worker_follows_and_judges_a_voter_once_for_each_vote(alice):
    fast, slow = pair(alice)
    slow.given.clear()
    for expected in (b"2", b"3"):
        show(slow, step(fast, alice.call("inc")))
        assert count(slow) == expected
    assert [len(order.votes) for order in slow.given if isinstance(order, JudgeVotes)] == [1, 1]
    assert not [order for order in slow.given if isinstance(order, FetchVotes | FetchSteps | FetchSlots)]
    assert slow.core.lost_track == 0


def test_until_the_voter_is_judged_nothing_runs_and_nothing_is_answered(alice):
    fast, slow = pair(alice)
    slow.hold = (JudgeVotes,)
    at = step(fast, alice.call("inc"))
    fast.ledger.order(alice.call("inc"))
    show(slow, at)
    (order,) = slow.held
    assert slow.core.readable() is None
    assert not [given for given in slow.given if isinstance(given, Execute)]
    slow.hold = (Execute,)
    slow.do(order)
    slow.work()
    assert count(slow) == b"2"


@pytest.mark.parametrize(
    "enclave",
    [
        None,
        admitted(THIRD),
        admitted(WORKER, role="gatekeeper"),
        admitted(WORKER, level=3),
    ],
    ids=["evidence that does not hold", "evidence of another identity", "a gatekeeper", "below the contract's level"],
)
def test_a_result_of_somebody_who_may_not_is_not_followed(alice, enclave):
    fast, slow = pair(alice)
    at = step(fast, alice.call("inc"))
    fast.ledger.enclaves[WORKER] = enclave
    with pytest.raises(StateUnproven):
        show(slow, at)
    assert slow.core.readable() is None
    # Nor by who just booted.
    with pytest.raises(StateUnproven):
        Worker(fast.ledger, identity=OTHER).prove()


def test_the_level_asked_for_is_the_contracts_not_the_one_on_record(alice):
    fast, slow = pair(alice, ContractPolicy(level=1, workers=2))
    at = step(fast, alice.call("inc"))
    fast.ledger.enclaves[WORKER] = admitted(WORKER, level=2)
    fast.ledger.record = replace(fast.ledger.record, policy=ContractPolicy(level=5, workers=2))
    with pytest.raises(StateUnproven):
        show(slow, at)


def test_a_result_of_a_worker_that_no_record_named_is_not_followed(alice):
    """Registered, attested, good enough; neither assigned as far as is known here, nor its vote accepted anywhere."""
    fast, slow = pair(alice)
    ledger = fast.ledger
    stranger = SigningKey(SecretBytes(b"s" * 32))
    ledger.enclaves[stranger.public] = admitted(stranger.public)
    at = step(fast, alice.call("inc"))
    result = ledger.results[-1]
    ledger.votes = {key: value for key, value in ledger.votes.items() if value[0] != at}
    vote = ledger.vote(result, stranger)
    slow.hold = (FetchVotes,)
    slow.core.block(ledger.ordering(at), (), [vote])
    slow.prove()
    assert count(slow) is None
    assert not [order for order in slow.given if isinstance(order, JudgeVotes) and vote in order.votes]


def test_a_vote_that_its_sender_did_not_sign_is_none(alice):
    fast, slow = pair(alice)
    at = step(fast, alice.call("inc"))
    for identity, (height, vote) in list(fast.ledger.votes.items()):
        if height == at:
            vote.raw = vote.raw[:-1] + bytes([vote.raw[-1] ^ 1])
            fast.ledger.votes[identity] = (height, vote)
    with pytest.raises(StateUnproven):
        show(slow, at)


def test_a_vote_in_another_workers_name_is_none(alice):
    """The bytes are signed, by somebody else than they are filed under."""
    fast, slow = pair(alice)
    at = step(fast, alice.call("inc"))
    raw = sign(NETWORK, SigningKey(SecretBytes(b"s" * 32)), 0, SubmitResult(b"i" * 32, fast.ledger.results[-1]))
    for identity, (height, vote) in list(fast.ledger.votes.items()):
        if height == at:
            vote.raw = raw
            fast.ledger.votes[identity] = (height, vote)
    with pytest.raises(StateUnproven):
        show(slow, at)


# --- quorum ---


def quorum(alice: Caller) -> tuple[Ledger, Worker, int]:
    """A contract whose state wants two votes; the second worker of three did not vote, and the first one did."""
    ledger = Ledger(ContractPolicy(workers=3, quorum=2), (WORKER, OTHER, THIRD))
    ledger.enclaves[THIRD] = admitted(THIRD)
    fast, slow = started(ledger), Worker(ledger, identity=OTHER)
    slow.hold = (Execute,)
    slow.prove()
    at = step(fast, alice.call("inc"))
    return ledger, slow, at


def test_a_quorum_of_votes_for_the_same_is_followed(alice):
    ledger, slow, at = quorum(alice)
    ledger.vote(ledger.results[-1], THIRD_KEY)
    ledger.votes = {key: (at, vote) for key, (_, vote) in ledger.votes.items()}
    show(slow, at)
    assert count(slow) == b"1"


@pytest.mark.parametrize("second", ["nobody", "the same again", "of the same operator", "for something else"])
def test_fewer_votes_than_the_contract_asks_for_move_nobody(alice, second):
    ledger, slow, at = quorum(alice)
    result = ledger.results[-1]
    if second == "the same again":
        ledger.vote(result, SigningKey(SecretBytes(b"w" * 32)))
    if second == "of the same operator":
        ledger.enclaves[THIRD] = admitted(THIRD, operator=bytes(WORKER))
        ledger.vote(result, THIRD_KEY)
    if second == "for something else":
        ledger.vote(replace(result, receipts=(b"other",)), THIRD_KEY)
    ledger.votes = {key: (at, vote) for key, (_, vote) in ledger.votes.items()}
    # Validators say that one vote is enough.
    ledger.record = replace(ledger.record, policy=ContractPolicy(workers=3))
    with pytest.raises(StateUnproven):
        show(slow, at)


# --- what was missed ---


def test_what_was_passed_over_is_fetched_and_followed_step_by_step(alice):
    fast, slow = pair(alice)
    for _ in range(3):
        step(fast, alice.call("inc"))
    slow.core.block(fast.ledger.ordering(fast.ledger.height - 1), (), ())
    slow.prove()
    assert count(slow) == b"4"
    assert slow.core.lost_track == 1
    assert not [order for order in slow.given if isinstance(order, FetchSlots)][1:]


def test_a_node_that_withholds_a_result_stops_the_worker_and_ends_nothing(alice):
    fast, slow = pair(alice)
    hidden = step(fast, alice.call("inc"))
    last = step(fast, alice.call("inc"))
    kept = fast.ledger.votes
    fast.ledger.votes = {key: value for key, value in kept.items() if value[0] != hidden}
    show(slow, last)
    assert count(slow) is None
    fast.ledger.votes = kept
    show(slow, step(fast, alice.call("inc")))
    assert count(slow) == b"4"


def test_votes_that_cannot_be_had_are_asked_for_again(alice):
    fast, _ = pair(alice)
    late = Worker(fast.ledger, identity=OTHER)
    late.hold = (FetchVotes,)
    late.prove()
    for _ in range(2):
        (order,) = late.held
        late.held.clear()
        late.core.failed(order)
        late.work()
    assert not [given for given in late.given if isinstance(given, FetchSlots)]
    late.hold = ()
    late.do(late.held[0])
    late.work()
    assert count(late) == b"1"


def test_another_contracts_votes_and_other_transactions_are_no_votes(alice):
    fast, slow = pair(alice)
    result = replace(fast.ledger.results[-1], contract=b"d" * 32)
    slow.core._ground.see(9, [fast.ledger.vote(result, OTHER_KEY)])
    assert not slow.core._ground._lineage.unjudged(0, 9)
    raw = alice.call("inc")
    assert vote_of(transaction_id(raw), raw, transaction_of(raw), 1) is None
    assert transaction_of(b"noise") is None


# --- states that nobody made ---


def test_another_lineage_is_not_stepped_onto_even_when_workers_signed_it(alice):
    """A fork that another enclave followed: genuine votes, from another state than the one known here."""
    fast, slow = pair(alice)
    fork = Ledger(ContractPolicy(workers=2), (WORKER, OTHER, THIRD))
    there = started(fork)
    settle(there, alice.call("clear"))
    at = step(there, alice.call("inc"))
    ledger = fast.ledger
    ledger.votes |= fork.votes
    ledger.record = replace(
        ledger.record,
        version=fork.record.version,
        state_root=fork.record.state_root,
        settled=fork.record.settled,
        done=fork.record.done,
        inbox_count=fork.record.inbox_count,
        inbox_head=fork.record.inbox_head,
    )
    ledger.height = max(ledger.height, fork.height)
    with pytest.raises(StateUnproven):
        show(slow, at)


def test_an_empty_map_at_a_later_version_is_a_state_like_any_other(alice):
    fast, _ = pair(alice)
    forged = replace(fast.ledger.record, state_root=Ledger().record.state_root)
    fast.ledger.record = forged
    with pytest.raises(StateUnproven):
        Worker(fast.ledger, identity=OTHER).prove()
    fast.ledger.record = replace(forged, settled=())
    with pytest.raises(StateUnproven):
        Worker(fast.ledger, identity=OTHER).prove()
    fast.ledger.record = replace(forged, version=0)
    with pytest.raises(StateUnproven):
        Worker(fast.ledger, identity=OTHER).prove()


@pytest.mark.parametrize("change", [{"done": 0}, {"version": 3}, {"inbox_head": b"h" * 32}])
def test_a_genuine_result_vouches_for_its_own_state_only(alice, change):
    fast, _ = pair(alice)
    fast.ledger.record = replace(fast.ledger.record, **change)
    late = Worker(fast.ledger, identity=OTHER)
    with pytest.raises(StateUnproven):
        late.prove()
    assert not [order for order in late.given if isinstance(order, FetchSlots)]


def test_an_inbox_that_does_not_go_on_from_what_the_state_was_made_of_is_refused(alice):
    fast, _ = pair(alice)
    fast.ledger.order(alice.call("inc"))
    first, batch = fast.ledger.batches[-1]
    fast.ledger.batches[-1] = (first, replace(batch, before=b"x" * 32))
    with pytest.raises(StateUnproven):
        Worker(fast.ledger, identity=OTHER).prove()


# --- a restart ---


def test_the_sealed_mark_refuses_an_older_state_and_another_one_of_the_same_version(alice):
    fast, _ = pair(alice)
    ledger, contract = fast.ledger, fast.core.contract
    old = ledger.record
    settle(fast, alice.call("inc"))
    vault = ForgetfulVault()
    marks = Marks(vault)
    marks.keep([(contract, fast.core.position)], 1.0)
    again = Marks(vault)
    again.check(contract, ledger.record)
    again.check(contract, replace(ledger.record, version=99, state_root=b"r" * 32))
    with pytest.raises(RollbackDetected):
        again.check(contract, old)
    with pytest.raises(RollbackDetected):
        again.check(contract, replace(ledger.record, state_root=old.state_root))


def test_marks_only_rise_are_written_once_a_second_and_broken_ones_are_an_attack(alice):
    fast, _ = pair(alice)
    contract, before = fast.core.contract, fast.core.position
    settle(fast, alice.call("inc"))
    vault = ForgetfulVault()
    marks = Marks(vault)
    marks.keep([(contract, before)], 1.0)
    marks.keep([(contract, fast.core.position)], 1.9)
    Marks(vault).check(contract, replace(fast.ledger.record, version=before.version, state_root=before.state.root))
    marks.keep([(contract, fast.core.position)], 2.0)
    marks.keep_now([(contract, before)])
    with pytest.raises(RollbackDetected):
        Marks(vault).check(contract, replace(fast.ledger.record, version=before.version))
    vault.write("states", SecretBytes(b"noise"))
    with pytest.raises(RollbackDetected):
        Marks(vault)


def test_a_core_that_was_told_nothing_wants_nothing():
    core = ContractCore(b"c" * 32, NETWORK, WORKER, b"i" * 32)
    core.voted(FetchVotes(()), ())
    core.judged({})
    assert core.orders() == []
