"""Contracts in use are looked at in turn: all of them, a few at a time, and one that is wrong hides no other."""

from __future__ import annotations

import asyncio
import logging

import pytest
from msgspec.structs import replace

from keephold.base.errors import EncodingError, HeaderInvalid, NodeUnreachable, ProofInvalid, RollbackDetected
from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.crypto.hashing import sha256
from keephold.enclave.vault import ForgetfulVault
from keephold.follower.view import ProvenValues
from keephold.gatekeeper import survey as module
from keephold.gatekeeper.marks import Marks
from keephold.gatekeeper.survey import AT_ONCE, FOUND_AT_ONCE, ROSTERS_AT_ONCE, Survey, survey
from keephold.protocol.codec import encode
from keephold.protocol.contracts import ContractPolicy, contract_id
from keephold.protocol.marks import mark_of
from keephold.protocol.state import ContractRecord, Roll, RollEntry, Roster, contract_path, roll_path, roster_path

NETWORK = NetworkId(bytes(32))
CREATOR, CODE, POLICY = PublicKey(b"o" * 32), b"h" * 32, ContractPolicy()
WORKERS = [PublicKey(bytes([at]) * 32) for at in (1, 2)]


def deployed(nonce: int, version: int = 1) -> tuple[ContractId, ContractRecord]:
    contract = contract_id(NETWORK, CREATOR, nonce, CODE, POLICY)
    root = sha256(b"%d" % version)
    return contract, ContractRecord(CREATOR, nonce, CODE, bytes(32), POLICY, "active", version=version, state_root=root)


class Ledger:
    """What the map holds, and who was asked for."""

    def __init__(self, marks: Marks) -> None:
        self.survey = Survey(marks, NETWORK)
        self.values: dict[bytes, bytes] = {}
        self.height = 10

    def assign(self, worker: PublicKey, *contracts: ContractId) -> None:
        self.values[roll_path("worker")] = encode(Roll(tuple(RollEntry(one, 9) for one in WORKERS)))
        self.values[roster_path(worker)] = encode(Roster(tuple(sorted(contracts))))

    def put(self, contract: ContractId, record: ContractRecord) -> None:
        self.values[contract_path(contract)] = encode(record)

    def step(self) -> tuple[bytes, ...]:
        due = self.survey.due()
        self.height += 1
        values = {path: self.values.get(path) for path in due}
        self.survey.learn(ProvenValues._mint(height=self.height, header_hash=bytes(32), time_ns=1, values=values))
        return due

    def round(self, steps: int = 4) -> None:
        for _ in range(steps):
            self.step()


@pytest.fixture
def marks() -> Marks:
    return Marks(ForgetfulVault())


@pytest.fixture
def ledger(marks) -> Ledger:
    return Ledger(marks)


def test_contracts_are_found_by_the_rosters_of_the_roll(ledger, marks) -> None:
    (one, first), (two, second), (three, third) = (deployed(nonce, version=nonce + 1) for nonce in range(3))
    for contract, record in ((one, first), (two, second), (three, third)):
        ledger.put(contract, record)
    ledger.assign(WORKERS[0], one, two)
    ledger.assign(WORKERS[1], two)
    ledger.round()
    assert marks.of(one) == mark_of(one, first)
    assert marks.of(two) == mark_of(two, second)
    assert marks.of(three) is None  # nobody's
    ledger.put(two, replace(second, version=7))
    ledger.round()
    assert marks.of(two).version == 7


def test_a_contract_that_is_assigned_no_more_is_looked_at_all_the_same(ledger, marks) -> None:
    contract, record = deployed(0, version=3)
    ledger.put(contract, record)
    ledger.assign(WORKERS[0], contract)
    ledger.round()
    ledger.assign(WORKERS[0])
    ledger.put(contract, replace(record, version=4))
    ledger.round()
    assert marks.of(contract).version == 4


def test_each_step_is_bounded_and_all_have_their_turn(ledger, marks) -> None:
    many = [deployed(nonce) for nonce in range(3 * AT_ONCE)]
    for contract, record in many:
        ledger.put(contract, record)
    ledger.assign(WORKERS[0], *(contract for contract, _ in many))
    ledger.round(2)
    steps = [ledger.step() for _ in range(3)]
    assert all(len(due) == len(set(due)) <= AT_ONCE + FOUND_AT_ONCE + ROSTERS_AT_ONCE + 1 for due in steps)
    ledger.round(5)
    assert len(marks) == len(many)
    ledger.round(10)
    # Around and around.
    seen = {path for _ in range(4) for path in ledger.step()}
    assert {contract_path(contract) for contract, _ in many} <= seen


def made_up(count: int) -> list[bytes]:
    return [sha256(b"%d" % at) for at in range(count)]


@pytest.mark.parametrize("what", ["workers", "contracts"])
def test_what_validators_make_up_hides_no_contract(ledger, marks, what: str) -> None:
    """Workers that never were, one of them by the name of a contract; or contracts that never were, on each roster."""
    contract, record = deployed(0, version=1)
    ledger.put(contract, record)
    ledger.assign(WORKERS[0], contract)
    ledger.round()
    if what == "workers":
        crowd = [PublicKey(name) for name in (contract, *made_up(5000))]
        ledger.values[roll_path("worker")] = encode(Roll(tuple(RollEntry(one, 9) for one in crowd)))
    else:
        for worker in WORKERS:
            ledger.assign(worker, *map(ContractId, made_up(5000)))
    ledger.round(2)
    for version in range(2, 6):
        ledger.put(contract, replace(record, version=version))
        ledger.step()
        assert marks.of(contract).version == version


def test_what_was_put_back_is_told_once_and_hides_nothing_else(ledger, marks, caplog) -> None:
    many = [deployed(nonce, version=5) for nonce in range(3)]
    for contract, record in many:
        ledger.put(contract, record)
    ledger.assign(WORKERS[0], *(contract for contract, _ in many))
    ledger.round()
    (back, old), (alien, its), (fine, good) = many
    ledger.put(back, replace(old, version=4))
    ledger.put(alien, replace(its, nonce=9))
    ledger.put(fine, replace(good, version=6))
    ledger.values[roster_path(WORKERS[1])] = b"noise"
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="keephold"):
        ledger.round(8)
    assert {type(error) for error in ledger.survey.wrong.values()} == {RollbackDetected, ProofInvalid, EncodingError}
    told = [line for line in caplog.messages if "rollback_detected" in line]
    assert len(told) == 1
    assert back.hex()[:16] in told[0]
    assert (marks.of(back).version, marks.of(fine).version) == (5, 6)
    # Put right again, it is as before.
    ledger.put(back, replace(old, version=5))
    ledger.put(alien, its)
    ledger.values[roster_path(WORKERS[1])] = encode(Roster())
    with caplog.at_level(logging.WARNING, logger="keephold"):
        ledger.round(8)
    assert not ledger.survey.wrong
    assert any("no longer so: rollback_detected" in line for line in caplog.messages)


def test_a_node_that_lags_is_no_rollback(ledger, marks) -> None:
    contract, record = deployed(0, version=5)
    ledger.put(contract, record)
    ledger.assign(WORKERS[0], contract)
    ledger.round()
    ledger.height = 1
    ledger.put(contract, replace(record, version=4))
    ledger.round(2)
    assert not ledger.survey.wrong
    assert marks.of(contract).version == 5


def test_no_more_contracts_wait_than_are_remembered_and_it_is_told(monkeypatch, ledger, caplog) -> None:
    monkeypatch.setattr(module, "MAX_MARKS", 4)
    ledger.assign(WORKERS[0], *(deployed(nonce)[0] for nonce in range(9)))
    asked = [path for _ in range(9) for path in ledger.step()]
    contracts = {contract_path(deployed(nonce)[0]) for nonce in range(9)}
    assert 1 <= len(contracts & set(asked)) <= 4
    assert sum("4 contracts are remembered" in line for line in caplog.messages) == 1


def test_a_node_that_does_not_answer_properly_ends_nothing(monkeypatch, ledger, caplog) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
    answers = [NodeUnreachable("away"), HeaderInvalid("a fork")]

    class Following:
        """A follower that has nothing yet, then trouble, then an answer."""

        class view:  # noqa: N801 - an attribute
            height = 0

        async def prove(self, paths):
            if answers:
                raise answers.pop(0)
            done.set()
            values = dict.fromkeys(paths)
            return ProvenValues._mint(height=3, header_hash=bytes(32), time_ns=1, values=values)

    done = asyncio.Event()

    async def tell() -> None:
        following = Following()
        task = asyncio.ensure_future(survey(following, ledger.survey))
        await asyncio.sleep(0.01)
        assert len(answers) == 2
        following.view.height = 3
        await asyncio.wait_for(done.wait(), 120)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    with caplog.at_level(logging.WARNING, logger="keephold"):
        asyncio.run(tell())
    assert any("HeaderInvalid" in line for line in caplog.messages)
