"""Whatever officers do, in whatever order: of each signature, the history of what was accepted tells why it may exist.

Nothing here says when a call has to be refused. Each signature that is made is looked up in the history instead: who
voted for it and when, what happened since, and how much had left without delay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from psbts import extracted
from vault import Vault
from vaults import BANK, DELAY, FEE, LIMIT, PERIOD, SECOND, SHOP, STRANGER, coin, payment, policy

from keephold.base.errors import Rejected
from keephold.testing.native import NativeBackend
from keephold.testing.network import Net

NAMES = ("alice", "bob", "carol", "dave")
WHO = st.sampled_from(NAMES)
BACK = st.sampled_from((0, 0, 0, 1, 2))
"""How far behind the newest payment or change."""


class Asked(NamedTuple):
    """A payment: with which coins of the vault, to whom, how much."""

    coins: frozenset[int]
    to: bytes
    sats: int

    @property
    def cost(self):
        return self.sats + FEE


class Done(NamedTuple):
    """A call that was accepted, in its block."""

    method: str
    who: str
    argument: Any
    value: Any
    time_ns: int


class History(RuleBasedStateMachine):
    """Four people, some of whom are officers; policies change on the way."""

    def __init__(self):
        super().__init__()
        self.done: list[Done] = []
        self.at_once: list[tuple[int, Asked]] = []

    @initialize()
    def open(self):
        self.net = Net(NativeBackend(NAMES))
        self.people = {name: self.net.account(name) for name in NAMES}
        self.vault = self.net.deploy(Vault, self.terms(NAMES[:3], 2), sender=self.people["alice"])
        self.rules = [(NAMES[:3], 2)]
        self.script = self.vault.as_(self.people["alice"]).receive()

    def terms(self, officers, quorum):
        return policy(*(self.people[name] for name in officers), quorum=quorum)

    def tries(self, who, method, told, *arguments):
        try:
            value = getattr(self.vault.as_(self.people[who]), method)(*arguments)
        except Rejected:
            return False
        assert who in self.rules[-1][0], f"{who} is no officer"
        self.done.append(Done(method, who, told, value, self.net.block.time_ns))
        return True

    def count(self, method):
        return sum(one.method == method for one in self.done)

    def where(self, method, told):
        return [at for at, one in enumerate(self.done) if one.method == method and told in (one.argument, one.value)]

    def psbt(self, asked):
        return payment([coin(self.script, at) for at in sorted(asked.coins)], asked.sats, to=asked.to)

    # --- what may happen ---

    @rule(
        who=WHO,
        coins=st.sampled_from(((1,), (2,), (1, 2), (3,))),
        to=st.sampled_from((SHOP, SHOP, BANK, STRANGER)),
        sats=st.sampled_from((1, LIMIT, LIMIT, LIMIT + 1)),
    )
    def stage(self, who, coins, to, sats):
        asked = Asked(frozenset(coins), to, sats)
        if self.tries(who, "stage", asked, self.psbt(asked)):
            assert not self.is_frozen()

    @rule(who=WHO, back=BACK)
    def approve(self, who, back):
        number = self.count("stage") - back
        self.tries(who, "approve", number, number)

    @rule(who=WHO, back=BACK, rarely=st.integers(0, 3))
    def cancel(self, who, back, rarely):
        number = self.count("stage") - back
        if not rarely:
            self.tries(who, "cancel", number, number)

    @rule(who=WHO, back=BACK)
    def sign(self, who, back):
        number = self.count("stage") - back
        if self.tries(who, "sign", number, number):
            self.check_signature(number)

    @rule(who=WHO, rarely=st.integers(0, 3))
    def freeze(self, who, rarely):
        if not rarely:
            self.tries(who, "freeze", None)

    @rule(who=WHO, officers=st.permutations(NAMES), count=st.integers(2, 4), quorum=st.integers(1, 2))
    def propose(self, who, officers, count, quorum):
        chosen = tuple(officers[:count]), quorum
        self.tries(who, "propose", chosen, self.terms(*chosen))

    @rule(who=WHO, back=BACK)
    def agree(self, who, back):
        number = self.count("propose") - back
        self.tries(who, "agree", number, number)

    @rule(who=WHO, back=BACK)
    def enact(self, who, back):
        number = self.count("propose") - back
        if self.tries(who, "enact", number, number):
            self.check_enacted(number)

    @rule(seconds=st.sampled_from((DELAY, PERIOD)))
    def wait(self, seconds):
        self.net.warp(seconds)

    @rule(back=BACK, is_patient=st.booleans())
    def all_approve_and_sign(self, back, is_patient):
        for officer in self.rules[-1][0]:
            self.approve(officer, back)
        if is_patient:
            self.wait(DELAY)
        self.sign(self.rules[-1][0][0], back)

    @rule(back=BACK)
    def all_agree_wait_and_enact(self, back):
        for officer in self.rules[-1][0]:
            self.agree(officer, back)
        self.wait(DELAY)
        self.enact(self.rules[-1][0][0], back)

    @rule()
    def the_honest_get_on(self):
        """Whatever happened: with a quorum that wants the same policy again, a payment is signed."""
        officers = self.rules[-1][0]
        self.propose(officers[0], officers, len(officers), self.rules[-1][1])
        self.all_agree_wait_and_enact(0)
        before = self.count("sign")
        self.stage(officers[0], (1, 2), STRANGER, LIMIT)
        self.all_approve_and_sign(0, is_patient=True)
        assert self.count("sign") == before + 1

    # --- what the history has to say ---

    def is_frozen(self):
        freezes = [at for at, one in enumerate(self.done) if one.method == "freeze"]
        ended = [self.where("propose", one.argument)[-1] for one in self.done if one.method == "enact"]
        return bool(freezes) and not any(proposed > freezes[-1] for proposed in ended)

    def agreed(self, method, number, since):
        """Return when the quorum agreed."""
        first: dict[str, int] = {}
        for one in self.done[since:]:
            if one.method == method and one.argument == number:
                first.setdefault(one.who, one.time_ns)
        officers, quorum = self.rules[-1]
        assert first.keys() <= {*officers}
        assert len(first) >= quorum, "no quorum"
        return sorted(first.values())[quorum - 1]

    def check_signature(self, number):
        (staged,) = self.where("stage", number)
        asked, signed = self.done[staged].argument, self.done[-1]
        since = self.done[staged:-1]
        assert not self.is_frozen()
        assert not {one.method for one in since} & {"freeze", "enact"}
        assert not any(one.method in {"cancel", "sign"} and one.argument == number for one in since)
        if signed.time_ns < self.agreed("approve", number, staged) + DELAY * SECOND:
            assert asked.to != STRANGER
            assert asked.sats <= (LIMIT if asked.to == SHOP else 10 * LIMIT)
            self.check_limit(asked, signed.time_ns // (PERIOD * SECOND))
        account = self.people[signed.who]
        topics = [f"payment/{number}/{at}" for at in range(signed.value)]
        extracted(self.psbt(asked), [self.net.released(self.vault, topic, account).signature for topic in topics])

    def check_limit(self, asked, period):
        """Of all that was signed without delay for the same coins, a chain takes one: at worst the dearest."""
        self.at_once.append((period, asked))
        left, dearest = 0, {}
        for when, one in self.at_once:
            more = max(0, one.cost - dearest.get(one.coins, 0))
            dearest[one.coins] = dearest.get(one.coins, 0) + more
            left += more if when == period else 0
        assert left <= 3 * (LIMIT + FEE)

    def check_enacted(self, number):
        (proposed,) = self.where("propose", number)
        assert "enact" not in {one.method for one in self.done[proposed:-1]}
        assert self.done[-1].time_ns >= self.agreed("agree", number, proposed) + DELAY * SECOND
        self.rules.append(self.done[proposed].argument)

    def teardown(self):
        signed = {one.argument for one in self.done if one.method == "sign"}
        for number in range(1, self.count("stage") + 1):
            for account in self.people.values() if number not in signed else ():
                with self.net.rejects("not_released"):
                    self.net.released(self.vault, f"payment/{number}/0", account)


def test_the_history_tells_why_each_signature_may_exist(net):
    if net.snapshot() is None:
        pytest.skip("thousands of calls take long on a ledger")
    run_state_machine_as_test(History, settings=settings(max_examples=25, stateful_step_count=40))
