"""Who runs what is written in three places; whatever happens, they agree, and every policy is kept."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId, PublicKey
from keephold.chain.sparse import SparseMap
from keephold.crypto.entity import EntityKeys
from keephold.crypto.secret import SecretBytes
from keephold.ledger import rules
from keephold.ledger.overlay import Overlay, State
from keephold.ledger.rules import registrations, roll, rotation
from keephold.ledger.rules.assignments import offer
from keephold.ledger.rules.context import BlockContext, Deployed, is_live
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import (
    ContractRecord,
    Departures,
    Due,
    Registration,
    Roll,
    Roster,
    Waiting,
    contract_path,
    departed_path,
    departures_path,
    due_path,
    registration_path,
    roll_path,
    roster_path,
    waiting_path,
)
from keephold.protocol.transactions import (
    Body,
    Deploy,
    Migration,
    PublishKey,
    RefuseCode,
    Rotate,
    SubmitMigration,
    Transaction,
)

WORKERS = [hashlib.sha256(b"worker %d" % n).digest() for n in range(5)]
CREATOR = hashlib.sha256(b"creator").digest()
NETWORK = b"n" * 32
HOUR = 3600 * 10**9
KEYS = [EntityKeys(SecretBytes(bytes([n]) * 32)) for n in range(2)]
workers = st.sampled_from(range(len(WORKERS)))
contracts = st.integers(0, 2)


class Assignments(RuleBasedStateMachine):
    """Workers come, go, fall out with one another; contracts are deployed and refused."""

    law: ClassVar[Any] = None

    @initialize()
    def begin(self) -> None:
        self.time_ns = HOUR
        self.state = Overlay(State(0, HOUR, SparseMap.empty(), {}, {}, (), type(self).law))
        self.contracts: list[ContractId] = []
        self.nonces: dict[bytes, int] = {}
        self.boots = 0
        self.epochs: dict[bytes, int] = {}
        for who in range(len(WORKERS)):
            self.register(who, 1, who, who)
        self.deploy(3, 3, 1)
        self.deploy(2, 2, 2)

    @property
    def block(self) -> BlockContext:
        return BlockContext(NETWORK, 1, self.time_ns, lambda _: None)

    def apply(self, sender: bytes, body: Body) -> tuple[object, ...]:
        nonce = self.nonces.get(sender, 0)
        self.state = Overlay(self.state.settle(1, self.time_ns)[0])
        try:
            applied = rules.apply(self.state, self.block, Transaction(NETWORK, sender, nonce, body), bytes(32))
        except LedgerRefused:
            return ()
        self.nonces[sender] = nonce + 1
        return applied.events

    def registration(self, who: int) -> Registration | None:
        return self.state.find(registration_path(PublicKey(WORKERS[who])), Registration)

    @rule(who=workers, level=st.integers(1, 3), operator=st.integers(0, 4), platform=st.integers(0, 4))
    def register(self, who: int, level: int, operator: int, platform: int) -> None:
        before = self.registration(who)
        if before is not None and before.status == "revoked":
            return
        self.boots += 1
        registration = Registration(
            identity=WORKERS[who],
            role="worker",
            operator=bytes([operator]) * 32,
            instance=self.boots.to_bytes(32, "big"),
            encryption_key=bytes(1216),
            transaction=bytes(32),
            level=level,
            measurement=bytes(32),
            platform=bytes([platform]) * 32,
            vendor="v",
            collateral=bytes(32),
            judged_by=bytes(32),
            height=1,
            lease_ns=self.time_ns + HOUR,
        )
        self.state.put(registration_path(PublicKey(WORKERS[who])), registration)
        roll.enrol(self.state, registration)
        registrations._revise(self.state, self.block, registration)
        offer(self.state, self.block, registration)

    @rule(level=st.integers(1, 3), count=st.integers(1, 3), quorum=st.integers(1, 3))
    def deploy(self, level: int, count: int, quorum: int) -> None:
        if quorum > count or len(self.contracts) > 5:
            return
        source = b"%d" % len(self.contracts)
        events = self.apply(CREATOR, Deploy(Code("python", source, "C", b""), ContractPolicy(level, count, quorum)))
        self.contracts += [ContractId(event.contract) for event in events if isinstance(event, Deployed)]

    @rule(hours=st.sampled_from([0.3, 0.6, 1.1]))
    def time_passes(self, hours: float) -> None:
        self.time_ns += int(hours * HOUR)
        roll.lapse(self.state, self.block)

    @rule(who=workers, rarely=st.integers(0, 7))
    def revoke(self, who: int, rarely: int) -> None:
        if not rarely:
            roll.revoke(self.state, self.block, WORKERS[who])

    @rule(nth=st.integers(0, 2), which=contracts, said=st.sampled_from([0, 0, 1]))
    def publish(self, nth: int, which: int, said: int) -> None:
        contract, registration = self.assigned(nth, which)
        if contract is None or registration is None:
            return
        keys = KEYS[said]
        body = PublishKey(
            contract,
            open_epochs(self.record(contract))[-1],
            registration.instance,
            keys.signing.public,
            keys.encryption.public,
        )
        self.apply(registration.identity, body)

    @rule(nth=st.integers(0, 2), which=contracts, rarely=st.integers(0, 7))
    def refuse(self, nth: int, which: int, rarely: int) -> None:
        contract, registration = self.assigned(nth, which)
        if not rarely and contract is not None and registration is not None:
            self.apply(registration.identity, RefuseCode(contract, registration.instance, "no"))

    @rule(which=contracts)
    def rotate(self, which: int) -> None:
        if self.contracts:
            self.apply(CREATOR, Rotate(self.contracts[-1 - which % len(self.contracts)]))

    @rule(nth=st.integers(0, 2), which=contracts)
    def migrate(self, nth: int, which: int) -> None:
        contract, registration = self.assigned(nth, which)
        record = None if contract is None else self.record(contract)
        if contract is None or record is None or registration is None or not record.rotation:
            return
        to_epoch, cursor = record.rotation[0].to_epoch, record.rotation[0].cursor
        root = record.state_root
        page = Migration(contract, record.epoch, to_epoch, cursor, cursor, record.version, root, root, is_last=True)
        self.apply(registration.identity, SubmitMigration(registration.instance, page))

    @rule()
    def a_block_begins(self) -> None:
        rotation.start_due(self.state)

    def assigned(self, nth: int, which: int) -> tuple[ContractId | None, Registration | None]:
        """The nth worker of one of the newest contracts."""
        if not self.contracts:
            return None, None
        contract = self.contracts[-1 - which % len(self.contracts)]
        chosen = self.record(contract).workers
        if not chosen:
            return None, None
        return contract, self.state.find(registration_path(PublicKey(chosen[nth % len(chosen)])), Registration)

    def record(self, contract: ContractId) -> ContractRecord:
        record = self.state.find(contract_path(contract), ContractRecord)
        assert record is not None
        return record

    @invariant()
    def three_places_agree(self) -> None:
        rosters = {worker: self.state.get(roster_path(PublicKey(worker)), Roster()).contracts for worker in WORKERS}
        assert all(list(roster) == sorted(set(roster)) for roster in rosters.values())
        for contract in self.contracts:
            record = self.record(contract)
            assert set(record.workers) == {worker for worker, roster in rosters.items() if contract in roster}
            wants = record.phase != "refused" and len(record.workers) < record.policy.workers
            assert (contract in self.state.get(waiting_path(), Waiting()).contracts) == wants

    @invariant()
    def the_roll_is_who_is_live(self) -> None:
        enrolled = {entry.identity for entry in self.state.get(roll_path("worker"), Roll()).entries}
        found = [self.registration(who) for who in range(len(WORKERS))]
        assert enrolled == {item.identity for item in found if item is not None and item.status == "live"}

    @invariant()
    def who_left_is_known_on_both_sides(self) -> None:
        left = {worker: self.state.get(departed_path(PublicKey(worker)), Roster()).contracts for worker in WORKERS}
        for contract in self.contracts:
            assert set(self.record(contract).departed) == {who for who, gone in left.items() if contract in gone}
        expected = tuple(sorted(worker for worker, gone in left.items() if gone))
        assert self.state.get(departures_path(), Departures()).workers == expected

    @invariant()
    def the_excluded_hold_no_key_of_an_epoch_that_goes_on(self) -> None:
        due = self.state.get(due_path(), Due()).contracts
        for contract in self.contracts:
            record = self.record(contract)
            epoch = record.rotation[0].to_epoch if record.rotation else record.epoch
            assert epoch >= self.epochs.get(contract, 1)
            self.epochs[contract] = epoch
            for who in record.departed:
                found = self.registration(WORKERS.index(who))
                assert found is not None
                assert found.status != "revoked" or contract in due or record.phase == "refused"

    @invariant()
    def policies_are_kept(self) -> None:
        for contract in self.contracts:
            record = self.record(contract)
            assigned = [
                self.state.find(registration_path(PublicKey(worker)), Registration) for worker in record.workers
            ]
            assert not set(record.workers) & set(record.suspended)
            assert len(record.workers) <= record.policy.workers
            for item in assigned:
                assert item is not None
                assert is_live(item, self.block)
                assert item.level <= record.policy.level
            if record.policy.quorum > 1:
                assert len({item.operator for item in assigned if item}) == len(assigned)
                assert len({item.platform for item in assigned if item}) == len(assigned)

    @invariant()
    def phases_follow(self) -> None:
        for contract in self.contracts:
            record = self.record(contract)
            agreed = [item for item in record.publications if item.worker in record.workers]
            if record.phase == "waiting":
                assert not record.workers
            if record.phase == "keying":
                assert record.workers
                assert len(agreed) < min(2, len(record.workers))
            assert (record.phase == "rotating") == bool(record.rotation)
            for coming in record.rotation:
                assert coming.to_epoch > record.epoch
                assert len({item.digest for item in coming.publications}) <= 1
                assert bool(coming.encryption_key) >= bool(coming.publications)
            if record.phase in ("active", "keying", "rotating"):
                assert len({item.digest for item in record.publications}) <= 1
            assert (record.phase in ("active", "rotating")) <= bool(record.encryption_key)
            assert bool(record.encryption_key) == bool(record.publications)


def test_assignments_hold_together(make_desk):
    Assignments.law = make_desk().genesis.law
    machine = Assignments.TestCase
    machine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
    machine().runTest()
