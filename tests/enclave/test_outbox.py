"""The outbox against a model of the ledger: every body is accepted once or refused, through lost bytes and restarts."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from keephold.enclave.outbox import RESEND_SECONDS, WINDOW, Outbox
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Echo, transaction_id


def sign(nonce: int, body: Echo) -> bytes:
    return nonce.to_bytes(4, "big") + body.nonce


def nonce_of(raw: bytes) -> int:
    return int.from_bytes(raw[:4], "big")


def body(number: int) -> Echo:
    return Echo(number.to_bytes(32, "big"))


def ready(count: int, nonce: int = 0) -> tuple[Outbox, list[bytes]]:
    outbox = Outbox(sign)
    for number in range(count):
        outbox.put(body(number))
    assert outbox.due(0.0) == []
    outbox.account(nonce, 1)
    return outbox, outbox.due(0.0)


def test_nothing_is_signed_before_the_nonce_is_proven() -> None:
    _, raws = ready(3, nonce=7)
    assert [nonce_of(raw) for raw in raws] == [7, 8, 9]


def test_what_is_ordered_and_counted_is_accepted() -> None:
    outbox, raws = ready(2)
    assert outbox.ordered([transaction_id(raws[0]), bytes(32)], 5)
    outcomes, unclear = outbox.account(1, 6)
    assert [(outcome.ticket, outcome.height, outcome.refusal) for outcome in outcomes] == [(1, 5, None)]
    assert unclear == []


def test_the_same_bytes_are_offered_again_after_a_while_and_after_a_lost_node() -> None:
    outbox, raws = ready(2)
    assert outbox.due(RESEND_SECONDS / 2) == []
    assert outbox.due(RESEND_SECONDS) == raws
    outbox.lost()
    assert outbox.due(RESEND_SECONDS) == raws


def test_a_refusal_by_the_ledger_is_told_and_the_rest_is_signed_anew() -> None:
    outbox, raws = ready(2)
    outbox.ordered([transaction_id(raws[0]), transaction_id(raws[1])], 5)
    assert outbox.has_undecided(6)
    _, unclear = outbox.account(0, 6)
    assert unclear == [transaction_id(raw) for raw in raws]
    assert outbox.due(1.0) == []
    found = {unclear[0]: (5, int(Refusal.LEASE_LAPSED)), unclear[1]: (5, int(Refusal.BAD_NONCE))}
    (outcome,) = outbox.located(unclear, found)
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "lease_lapsed"
    outbox.account(0, 7)
    (again,) = outbox.due(1.0)
    assert (nonce_of(again), again[4:]) == (0, body(1).nonce)


def test_a_refusal_by_the_nodes_check_is_told() -> None:
    outbox, raws = ready(2)
    (outcome,) = outbox.advised(raws, [int(Refusal.SUPERSEDED), 0], ["", ""])
    assert outcome.refusal is not None
    assert outcome.refusal.reason == "superseded"
    assert outbox.needs_account


def test_not_now_is_no_refusal() -> None:
    outbox, raws = ready(2)
    assert outbox.advised(raws, [int(Refusal.QUOTA), int(Refusal.INBOX_FULL)], ["", ""]) == []
    assert outbox.due(RESEND_SECONDS) == raws


def test_a_nonce_taken_by_a_former_life_is_found_or_signed_anew() -> None:
    outbox, raws = ready(1)
    outbox.advised(raws, [int(Refusal.BAD_NONCE)], [""])
    _, unclear = outbox.account(3, 9)
    assert unclear == [transaction_id(raws[0])]
    assert outbox.located(unclear, {}) == []
    outbox.account(3, 10)
    (again,) = outbox.due(1.0)
    assert nonce_of(again) == 3


def test_an_older_proof_changes_nothing() -> None:
    outbox, raws = ready(2)
    outbox.ordered([transaction_id(raws[0])], 5)
    outbox.account(1, 6)
    assert outbox.account(0, 3) == ([], [])
    assert outbox.due(RESEND_SECONDS) == [raws[1]]


@given(st.integers(WINDOW, 4 * WINDOW))
def test_the_window_is_bounded(count: int) -> None:
    _, raws = ready(count)
    assert len(raws) == WINDOW


class Model(RuleBasedStateMachine):
    """A ledger with a mempool that it may forget, refusing some bodies, and a stream that may skip blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(sign)
        self.now = 0.0
        self.height = 1
        self.nonce = 0
        self.mempool: list[bytes] = []
        self.ordered: dict[bytes, tuple[int, int]] = {}
        self.tickets: dict[int, bytes] = {}
        self.done: dict[int, bool] = {}
        self.accepted: list[bytes] = []
        self.unclear: list[bytes] = []
        self.count = 0

    @rule(refused=st.booleans())
    def put(self, refused: bool) -> None:
        self.count += 1
        item = Echo(bytes([refused]) + self.count.to_bytes(31, "big"))
        self.tickets[self.outbox.put(item)] = item.nonce

    @rule(loses=st.booleans())
    def submit(self, loses: bool) -> None:
        self.now += 0.6
        raws = self.outbox.due(self.now)
        if loses:
            self.outbox.lost()
            return
        expected = self.nonce + len(self.mempool)
        codes = []
        for raw in raws:
            known = self.ordered.get(transaction_id(raw))
            if raw in self.mempool or known is not None:
                codes.append(known[1] if known else 0)
            elif nonce_of(raw) == expected:
                self.mempool.append(raw)
                expected += 1
                codes.append(0)
            else:
                codes.append(int(Refusal.BAD_NONCE))
        self.tell(self.outbox.advised(raws, codes, [""] * len(raws)))

    @rule()
    def forget(self) -> None:
        self.mempool.clear()

    @rule(seen=st.booleans(), take=st.integers(0, 5))
    def block(self, seen: bool, take: int) -> None:
        before = self.nonce
        self.height += 1
        taken, self.mempool = self.mempool[:take], self.mempool[take:]
        for raw in taken:
            code = 0 if nonce_of(raw) == self.nonce else int(Refusal.BAD_NONCE)
            if not code and raw[4]:
                code = int(Refusal.NOT_ASSIGNED)
            if not code:
                self.nonce += 1
                self.accepted.append(raw[4:])
            self.ordered[transaction_id(raw)] = (self.height, code)
        if any(self.ordered[transaction_id(raw)][1] for raw in taken):
            self.mempool.clear()
        if not seen:
            self.outbox.needs_account = True
            return
        self.outbox.ordered([transaction_id(raw) for raw in taken], self.height)
        self.height += 1
        if self.nonce != before:
            self.account()
        if self.outbox.has_undecided(self.height):
            self.outbox.needs_account = True

    @precondition(lambda self: self.outbox.needs_account)
    @rule()
    def account(self) -> None:
        outcomes, unclear = self.outbox.account(self.nonce, self.height)
        self.tell(outcomes)
        if unclear:
            found = {item: self.ordered[item] for item in unclear if item in self.ordered}
            self.tell(self.outbox.located(unclear, found))
            outcomes, again = self.outbox.account(self.nonce, self.height)
            self.tell(outcomes)
            assert not again

    def tell(self, outcomes) -> None:
        for outcome in outcomes:
            assert outcome.ticket not in self.done
            self.done[outcome.ticket] = outcome.refusal is None

    @invariant()
    def outcomes_are_true(self) -> None:
        for ticket, was_accepted in self.done.items():
            assert was_accepted == (self.tickets[ticket] in self.accepted), self.tickets[ticket]

    def teardown(self) -> None:
        """Left alone with an honest node, everything comes to an end."""
        for _ in range(200):
            if self.outbox.is_idle:
                return
            self.now += RESEND_SECONDS
            if self.outbox.needs_account:
                self.account()
            self.submit(loses=False)
            self.block(seen=True, take=5)
        raise AssertionError("not idle")


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
