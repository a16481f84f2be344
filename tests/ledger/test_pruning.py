"""What is forgotten is refused by name; what the map still refers to outlives its block."""

from __future__ import annotations

import time

import pytest

from keephold.base.errors import ConfigurationError, NotKept
from keephold.ledger import index
from keephold.ledger.archive import Archive
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.survey import survey
from keephold.programs.history import HistoryConfig, housekeeper
from keephold.protocol.channel import Message, message_number, read_entry
from keephold.protocol.transactions import SlotWrite
from keephold.protocol.wire import BlocksRequest, InboxRequest, Interest, TransactionsRequest

SECOND = 10**9


@pytest.fixture
def keeper(node, tmp_path):
    def make(**habits) -> Housekeeper:
        return Housekeeper(Archive(node.application, node.engine), Shelf(tmp_path / "shelf"), Habits(**habits))

    return make


@pytest.fixture
def life(node, new_key):
    """A worker, a contract, four calls done and one that waits; return contract, sender and all transaction ids."""
    (worker,) = node.enrol("worker")
    alice = new_key("alice")
    contract = node.deploy(alice)
    node.activate(contract, worker)
    done = []
    for n in range(4):
        done.append(node.send(alice, node.call(contract)))
        writes = (SlotWrite(bytes([n + 1]) * 32, b"%d" % n),)
        done.append(node.send(worker, node.result(worker, contract, 1, writes=writes)))
    waiting = node.send(alice, node.call(contract))
    for _ in range(3):
        node.block()
    return contract, alice, done, waiting


def found(node, ids):
    return {item.raw for item in node.reader.transactions(TransactionsRequest(tuple(ids))).found}


def test_what_the_map_refers_to_outlives_its_block_with_its_proofs(node, life, keeper):
    _, _, done, waiting = life
    living = survey(node.network, node.application.map.newest.values).ids
    assert waiting in living
    before = node.reader.transactions(TransactionsRequest(tuple(sorted(living))))
    keeper().prune(node.height - 1)
    assert node.reader.transactions(TransactionsRequest(tuple(sorted(living)))) == before
    assert len(before.found) == len(living)
    assert not found(node, set(done) - living)


def test_what_is_forgotten_is_refused_by_name(node, life, keeper):
    contract, alice, *_ = life
    first = node.height - 1
    keeper().prune(first)
    assert (node.application.info().first, node.engine.first()) == (first, first)
    for ask in (
        lambda: node.reader.frame(first - 1, Interest(contracts=(contract,))),
        lambda: node.reader.frame(first, Interest(receipts=(alice.public,))),
        lambda: node.reader.watch(Interest(custody=True)).check(3),
        lambda: node.reader.inbox(InboxRequest(contract, 1)),
        lambda: node.reader.people.block(first - 1),
    ):
        with pytest.raises(NotKept, match=f"history before block {first} is not kept here") as refusal:
            ask()
        assert refusal.value.first == first
    # Headers stay, and so does what is not so old.
    assert [item.height for item in node.reader.blocks(BlocksRequest(tuple(range(1, first)))).blocks] == [
        *range(1, first)
    ]
    assert node.reader.frame(first, Interest(contracts=(contract,))).height == first
    assert [item.raw for item in node.reader.inbox(InboxRequest(contract, 5)).entries] == [*found(node, [life[3]])]


def test_a_frame_of_headers_alone_is_served_from_the_first_block_on(node, life, keeper):
    keeper().prune(node.height - 1)
    assert [node.reader.frame(height, Interest()).height for height in range(1, node.height)] == [
        *range(1, node.height)
    ]


def test_what_stops_being_referred_to_goes_with_the_next_pruning(node, life, keeper, enclave):
    contract, _, _, waiting = life
    keeper().prune(node.height - 1)
    assert kept(node, waiting) is not None
    worker = enclave("worker")
    node.send(worker, node.result(worker, contract, 1))
    for _ in range(3):
        node.block()
    keeper().prune(node.height - 1)
    assert kept(node, waiting) is None
    assert not found(node, [waiting])


def kept(node, identity):
    return node.application.map.query(lambda reader: index.kept(reader, identity))


def test_a_pruned_ledger_starts_again_and_goes_on(node, life, keeper):
    first = node.height - 1
    keeper().prune(first)
    before = node.application.info()
    node.reopen()
    assert node.application.info() == before
    assert (node.engine.first(), node.application.map.first) == (first, first)
    node.block()


def test_a_crash_between_index_and_blocks_promises_nothing_that_is_gone(node, life, keeper, monkeypatch):
    first = node.height - 1
    monkeypatch.setattr(node.engine, "prune", lambda below: None)
    keeper().prune(first)
    monkeypatch.undo()
    node.reopen()
    with pytest.raises(NotKept):
        node.reader.frame(first - 1, Interest(custody=True))
    node.block()
    Housekeeper(Archive(node.application, node.engine), Shelf(node.directory / "s"), Habits()).prune(first + 1)
    assert node.engine.first() == first + 1


def test_the_window_is_block_time(node, life, keeper):
    for _ in range(70):
        node.block(after_s=10)
    keeper(window_ns=100 * SECOND).tidy(node.height)
    first = node.application.map.first
    times = {at: node.engine.block(at).signed.header.time_ns for at in (first - 1, first)}
    assert times[first - 1] < node.time_ns - 100 * SECOND <= times[first]


def test_the_newest_block_is_never_pruned(node, life, keeper):
    keeper().prune(node.height + 5)
    assert node.application.map.first == node.height
    assert not node.application.is_untouched
    node.reopen()
    node.block()


def test_a_window_that_somebody_may_still_need_is_refused(node, tmp_path):
    shelf = Shelf(tmp_path / "shelf")
    with pytest.raises(ConfigurationError, match="keep_hours: at least 48"):
        housekeeper(HistoryConfig(keep_hours=47), node.application, node.engine, shelf)
    assert housekeeper(HistoryConfig(keep_hours=48), node.application, node.engine, shelf)
    assert housekeeper(HistoryConfig(), node.application, node.engine, shelf)


def test_housekeeping_follows_the_blocks_and_survives_what_fails(node, life, tmp_path, caplog):
    shelf = Shelf(tmp_path / "file" / "shelf")
    (tmp_path / "file").write_bytes(b"no directory can be made here")
    keeper = Housekeeper(Archive(node.application, node.engine), shelf, Habits(snapshot_interval=1))
    keeper.start()
    node.block()
    _wait(lambda: "housekeeping after block" in caplog.text)
    (tmp_path / "file").unlink()
    node.block()
    _wait(lambda: node.height in shelf.heights())
    keeper.stop()


def _wait(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_message_that_waits_outlives_its_block_and_one_that_is_answered_does_not(node, new_key, keeper):
    (worker,) = node.enrol("worker")
    source, target = (node.deploy(new_key("alice"), source=name) for name in ("a", "b"))
    for contract in (source, target):
        node.activate(contract, worker)
    node.send(new_key("alice"), node.call(source))
    sent = Message(1, target, 1, b"sealed")
    node.send(worker, node.result(worker, source, messages=(sent, sent)))
    node.send(worker, node.result(worker, target, receipts=(b"",)))
    for _ in range(3):
        node.block()
    keeper().prune(node.height - 1)
    (entry,) = node.reader.inbox(InboxRequest(target, 2)).entries
    assert read_entry(entry.raw).number == message_number(1, 1)
    node.send(worker, node.result(worker, target, receipts=(b"",)))
    for _ in range(3):
        node.block()
    keeper().prune(node.height - 1)
    assert node.application.map.query(lambda reader: index.inbox(reader, target, 1, 9)) == []


def test_pruning_reads_no_more_of_the_history_that_stays_than_of_the_one_that_goes(node, life, keeper):
    """Every statement finds its rows by an index: what a look costs does not rise with the window."""
    statements = set()
    connections = [node.application.map._writer, node.application.map._reader]
    for connection in connections:
        connection.exec_trace = lambda _, statement, __: bool(statements.add(statement)) or True
    keeper().prune(node.height - 1)
    for connection in connections:
        connection.exec_trace = None
    assert any("DELETE FROM result" in statement for statement in statements)
    plans = {
        (statement, str(step[3]))
        for statement in statements
        if statement.startswith(("SELECT", "DELETE", "UPDATE"))
        for step in connections[0].execute(
            f"EXPLAIN QUERY PLAN {statement}", tuple(bytes(32) for _ in range(statement.count("?")))
        )
    }
    # `history` has one row. Blocks whose content went are none that the partial index names.
    large = {*index.TABLES} - {"history"}
    assert not [(said, step) for said, step in plans if step.startswith("SCAN") and step.split()[1] in large]
    assert [step for said, step in plans if said.startswith("SELECT height FROM block")] == [
        "SEARCH block USING INDEX block_with_ids (height<?)"
    ]
