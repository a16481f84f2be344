"""Whatever officers do, in whatever order: a signature exists exactly where quorum, delay, limits and nonce allow it.

The machine keeps its own books, and compares: what the wallet does succeeds if and only if the books allow it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from judge import checksummed, sender
from wallets import DELAY, FEE, LIMIT, PERIOD, SECOND, policy, unsigned

from custody import Custody, assembled
from keephold.base.errors import Rejected
from keephold.testing.native import NativeBackend
from keephold.testing.network import Net

NAMES = ("alice", "bob", "carol", "dave")
WHO = st.sampled_from(NAMES)
BACK = st.sampled_from((0, 0, 0, 1, 2))
"""How far behind the newest payment or change."""


@dataclass
class Asked:
    """A payment or a change, in the machine's books."""

    era: int
    yes: set[str] = field(default_factory=set)
    ready: int | None = None
    done: bool = False
    nonce: int = 0
    value: int = 0
    officers: tuple[str, ...] = ()
    quorum: int = 0


class Officers(RuleBasedStateMachine):
    """Three officers of four people, two needed; policies change on the way."""

    @initialize()
    def open(self):
        self.net = Net(NativeBackend(NAMES))
        self.people = {name: self.net.account(name) for name in NAMES}
        self.officers, self.quorum = NAMES[:3], 2
        self.wallet = self.net.deploy(Custody, 1, self.policy(), sender=self.people["alice"])
        self.payments: dict[int, Asked] = {}
        self.changes: dict[int, Asked] = {}
        self.freezes = self.revision = self.nonce = 0
        self.frozen, self.thaw = False, set()
        self.spent: dict[int, int] = {}
        self.signatures: dict[int, bytes] = {}

    def policy(self):
        return policy(*(self.people[name] for name in self.officers), quorum=self.quorum)

    def does(self, allowed, who, method, *arguments):
        """Do it; it works if and only if the books allow it. Return whether it did."""
        try:
            value = getattr(self.wallet.as_(self.people[who]), method)(*arguments)
        except Rejected as refused:
            if allowed:
                raise AssertionError(f"{method}{arguments} by {who}: {refused}") from refused
            return False, None
        assert allowed, f"{method}{arguments} by {who}"
        return True, value

    @property
    def now(self):
        return self.net.block.time_ns

    def vote(self, asked, who):
        asked.yes.add(who)
        if asked.ready is None and len(asked.yes & set(self.officers)) >= self.quorum:
            asked.ready = self.now + DELAY * SECOND

    def is_live(self, number):
        payment = self.payments.get(number)
        era = self.freezes + self.revision
        return payment is not None and not self.frozen and payment.era == era and not payment.done

    @rule(who=WHO, ahead=st.sampled_from((0, 0, 0, 1, -1)), value=st.sampled_from((0, LIMIT // 2, LIMIT, LIMIT + 1)))
    def stage(self, who, ahead, value):
        nonce = max(0, self.nonce + ahead)
        allowed = who in self.officers and not self.frozen and value <= LIMIT and nonce >= self.nonce
        worked, number = self.does(allowed, who, "stage", unsigned(nonce=nonce, value=value))
        if worked:
            self.payments[number] = Asked(self.freezes + self.revision, nonce=nonce, value=value)

    @rule(who=WHO, back=BACK)
    def approve(self, who, back):
        number = len(self.payments) - back
        if self.does(who in self.officers and self.is_live(number), who, "approve", number)[0]:
            self.vote(self.payments[number], who)

    @rule(who=WHO, back=BACK)
    def sign(self, who, back):
        number = len(self.payments) - back
        payment = self.payments.get(number, Asked(-1))
        period = (self.now + 10**6) // (PERIOD * SECOND)  # the call's own block
        cost = payment.value + FEE
        allowed = (
            who in self.officers
            and self.is_live(number)
            and payment.ready is not None
            and self.now + 10**6 >= payment.ready
            and payment.nonce == self.nonce
            and self.spent.get(period, 0) + cost <= 3 * (LIMIT + FEE)
        )
        worked, topic = self.does(allowed, who, "sign", number)
        if not worked:
            return
        payment.done = True
        self.spent[period] = self.spent.get(period, 0) + cost
        released = self.net.released(self.wallet, topic, self.people[who])
        raw = assembled(unsigned(nonce=payment.nonce, value=payment.value), released.signature)
        assert sender(raw) == checksummed(self.wallet.ethereum_address())
        assert payment.nonce not in self.signatures
        self.signatures[payment.nonce] = released.signature
        self.nonce += 1

    @rule(who=WHO, rarely=st.integers(0, 3))
    def freeze(self, who, rarely):
        if not rarely and self.does(who in self.officers, who, "freeze")[0]:
            self.frozen, self.thaw = True, set()
            self.freezes += 1

    @rule(who=WHO)
    def unfreeze(self, who):
        if self.does(who in self.officers and self.frozen, who, "unfreeze")[0]:
            self.thaw.add(who)
            if len(self.thaw) >= self.quorum:
                self.frozen, self.thaw = False, set()

    @rule(who=WHO, officers=st.permutations(NAMES), count=st.integers(2, 4), quorum=st.integers(1, 3))
    def propose(self, who, officers, count, quorum):
        chosen = tuple(officers[:count])
        terms = policy(*(self.people[name] for name in chosen), quorum=quorum)
        worked, number = self.does(who in self.officers and quorum <= count, who, "propose", terms)
        if worked:
            self.changes[number] = Asked(self.revision, officers=chosen, quorum=quorum)

    @rule(who=WHO, back=BACK)
    def agree(self, who, back):
        number = len(self.changes) - back
        change = self.changes.get(number, Asked(-1))
        if self.does(who in self.officers and change.era == self.revision, who, "agree", number)[0]:
            self.vote(change, who)

    @rule(who=WHO, back=BACK)
    def enact(self, who, back):
        number = len(self.changes) - back
        change = self.changes.get(number, Asked(-1))
        is_due = change.ready is not None and self.now + 10**6 >= change.ready
        if self.does(who in self.officers and change.era == self.revision and is_due, who, "enact", number)[0]:
            self.officers, self.quorum = change.officers, change.quorum
            self.revision += 1
            self.thaw = set()

    @rule(value=st.sampled_from((0, LIMIT)), is_patient=st.booleans(), is_frozen_between=st.booleans())
    def pay(self, value, is_patient, is_frozen_between):
        self.stage(self.officers[0], 0, value)
        for officer in self.officers:
            self.approve(officer, 0)
        if is_frozen_between:
            self.freeze(self.officers[0], 0)
            self.all_unfreeze()
        if is_patient:
            self.wait(DELAY)
        self.sign(self.officers[-1], 0)

    @rule(officers=st.permutations(NAMES), count=st.integers(2, 4), quorum=st.integers(1, 2))
    def elect(self, officers, count, quorum):
        self.propose(self.officers[0], officers, count, quorum)
        self.all_agree_wait_and_enact(0)

    @rule(back=BACK)
    def all_approve_wait_and_sign(self, back):
        for officer in self.officers:
            self.approve(officer, back)
        self.wait(DELAY)
        self.sign(self.officers[-1], back)

    @rule(back=BACK)
    def all_agree_wait_and_enact(self, back):
        for officer in self.officers:
            self.agree(officer, back)
        self.wait(DELAY)
        self.enact(self.officers[0], back)

    @rule()
    def all_unfreeze(self):
        for officer in self.officers:
            self.unfreeze(officer)

    @rule(seconds=st.sampled_from((DELAY, PERIOD)))
    def wait(self, seconds):
        self.net.warp(seconds)

    @invariant()
    def one_signature_for_each_nonce(self):
        assert list(self.signatures) == list(range(self.nonce))


def test_a_signature_exists_exactly_where_the_books_allow_it(net):
    if net.snapshot() is None:
        pytest.skip("thousands of calls take long on a ledger")
    run_state_machine_as_test(Officers, settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
