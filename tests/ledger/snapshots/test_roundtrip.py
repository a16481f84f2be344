"""What was taken is restored: the same state, the same future, and proofs of everything that still matters."""

from __future__ import annotations

import pytest

from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import Block
from keephold.ledger.engines.statesync import Offered, Taken
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.survey import survey
from keephold.protocol.channel import LetterRecord, Message, id_of
from keephold.protocol.codec import encode
from keephold.protocol.state import letter_path
from keephold.protocol.wire import TransactionsRequest


def restore(service, shelf) -> None:
    (snapshot, *_) = shelf.list()
    assert service.offer(snapshot, snapshot_app_hash(shelf)) is Offered.ACCEPT
    for at in range(snapshot.chunks):
        assert service.apply(at, shelf.load(snapshot.height, at)) is Taken.ACCEPT


def snapshot_app_hash(shelf) -> bytes:
    return next(iter(shelf._manifests.values())).app_hash


def replay(node, application) -> None:
    """Apply the node's blocks that an application misses."""
    for height in range(application.info().height + 1, node.engine.latest() + 1):
        header = node.engine.block(height).signed.header
        application.finalize(Block(height, header.time_ns, header.hash(), node.engine.transactions(height)))
        application.commit()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch) -> None:
    for module in ("content", "shelf", "service"):
        monkeypatch.setattr(f"keephold.ledger.snapshots.{module}.CHUNK_SIZE", 1 << 13)


def test_two_nodes_take_the_same_snapshot_also_after_one_restored_an_earlier_one(lived, empty, service, tmp_path):
    restored_at = lived.take()
    restore(service, lived.shelf)
    lived.node.send(lived.alice, lived.node.call(lived.contract))
    lived.node.block()
    replay(lived.node, empty)
    lived.take()
    other = Shelf(tmp_path / "other")
    assert empty.map.first == restored_at + 1
    height = empty.info().height
    Housekeeper(Archive(empty, lived.node.engine), other, Habits(snapshot_interval=1)).tidy(height)
    assert other.list() == lived.shelf.list()[:1]
    assert other.list()[0].chunks > 3


def test_a_restored_ledger_is_the_same_and_has_the_same_future(lived, empty, service, new_key):
    lived.take()
    restore(service, lived.shelf)
    ours, theirs = empty.map.newest, lived.node.application.map.newest
    assert (ours.height, ours.time_ns, ours.values.root) == (theirs.height, theirs.time_ns, theirs.values.root)
    assert (ours.law, ours.waiting, ours.enacted, ours.attachments) == (
        theirs.law,
        theirs.waiting,
        theirs.enacted,
        theirs.attachments,
    )
    assert {contract: slots.root for contract, slots in ours.slots.items()} == {
        contract: slots.root for contract, slots in theirs.slots.items()
    }
    # A registration anchored below the snapshot, a result on its slots, and a contract: all judged alike.
    node, (runner,) = (
        lived.node,
        [w for w in lived.workers if w.identity in lived.node.contract(lived.contract).workers],
    )
    runner.boot += 1
    raws = [
        *node.signed(runner.keys.signing, node.registration(runner, anchor=node.height - 2)),
        *node.signed(new_key("bob"), node.call(lived.contract)),
    ]
    height, before = node.height + 1, node.application.info()
    outcomes = node.block(*raws)
    stored = node.engine.block(height)
    assert empty.info().app_hash == before.app_hash
    block = Block(height, stored.signed.header.time_ns, stored.signed.header.hash(), tuple(raws))
    assert empty.finalize(block).outcomes == outcomes
    empty.commit()
    assert empty.info().app_hash == node.application.info().app_hash
    assert [outcome.code for outcome in outcomes] == [0, 0]


def test_a_restored_ledger_starts_again_from_its_file(lived, empty, service):
    height = lived.take()
    restore(service, lived.shelf)
    before = empty.info()
    assert (before.height, before.first) == (height, height + 1)
    empty.close()
    again = LedgerApplication(lived.node.genesis, service._path.parent)
    assert again.info() == before
    assert again.is_untouched
    again.close()


def test_what_the_map_refers_to_is_there_with_its_bytes(lived, empty, service):
    lived.take()
    restore(service, lived.shelf)
    found = survey(empty.network, empty.map.newest.values)
    lived.node.block()
    theirs = lived.node.reader.transactions(TransactionsRequest(tuple(sorted(found.ids)))).found
    assert len(theirs) == len(found.ids) > 5
    assert len(found.waiting) == 2
    for identity in found.ids:
        assert empty.map.query(lambda reader, identity=identity: index.kept(reader, identity)) is not None


def test_only_the_last_few_are_kept_and_the_disk_with_them(lived):
    for _ in range(4):
        lived.node.block()
        lived.take()
    assert len(lived.shelf.heights()) == 2
    again = type(lived.shelf)(lived.shelf._directory)
    assert again.list() == lived.shelf.list()
    assert len(list(lived.shelf._directory.iterdir())) == 4


def test_a_snapshot_that_was_not_finished_is_not_offered(lived):
    height = lived.take()
    (lived.shelf._directory / f"{height}.manifest").unlink()
    again = type(lived.shelf)(lived.shelf._directory)
    assert again.list() == ()
    assert list(lived.shelf._directory.iterdir()) == []


def test_a_damaged_manifest_is_no_snapshot(lived):
    height = lived.take()
    (lived.shelf._directory / f"{height}.manifest").write_bytes(b"damaged")
    assert type(lived.shelf)(lived.shelf._directory).list() == ()


def test_a_chunk_that_is_not_there_is_empty(lived):
    height = lived.take()
    (snapshot,) = lived.shelf.list()
    assert lived.shelf.load(height, snapshot.chunks) == b""
    assert lived.shelf.load(height + 1, 0) == b""


def test_a_message_that_waits_is_restored_and_answered_as_elsewhere(lived, empty, service):
    node, source = lived.node, lived.contract
    runner = next(worker for worker in lived.workers if worker.identity in node.contract(source).workers)
    target = node.deploy(lived.alice, source="another")
    answerer = next(worker for worker in lived.workers if worker.identity in node.contract(target).workers)
    node.activate(target, answerer)
    sent = Message(node.contract(source).done + 1, target, 1, b"sealed", is_answered=True)
    node.send(runner, node.result(runner, source, messages=(sent,)))
    lived.take()
    restore(service, lived.shelf)
    for application in (empty, node.application):
        (row,) = application.map.query(lambda reader: index.inbox(reader, target, 1, 9))
        letter = application.map.newest.record(letter_path(target, 1), LetterRecord)
        assert (row.raw, row.id, row.sender) == (encode(letter.entry), id_of(row.raw), source)
    raws = node.signed(answerer.keys.signing, node.result(answerer, target, receipts=(b"answer",)))
    height = node.height + 1
    node.block(*raws)
    stored = node.engine.block(height)
    empty.finalize(Block(height, stored.signed.header.time_ns, stored.signed.header.hash(), tuple(raws)))
    empty.commit()
    assert empty.info().app_hash == node.application.info().app_hash


def test_two_contracts_that_are_told_the_same_are_both_restored(lived, empty, service):
    """What no contract was there for names who was written to, not who wrote: its bytes may be those of another."""
    node, first = lived.node, lived.contract
    runner = next(worker for worker in lived.workers if worker.identity in node.contract(first).workers)
    second = node.deploy(lived.alice, source="another")
    other = next(worker for worker in lived.workers if worker.identity in node.contract(second).workers)
    node.activate(second, other)
    for _ in range(node.contract(first).done):
        node.send(lived.alice, node.call(second))
        node.send(other, node.result(other, second))
    node.send(lived.alice, node.call(second))
    for worker, contract in ((runner, first), (other, second)):
        nobody = Message(node.contract(contract).done + 1, b"nobody".ljust(32), 0, is_answered=True)
        node.send(worker, node.result(worker, contract, messages=(nobody,)))
    lived.take()
    restore(service, lived.shelf)
    ids = []
    for contract in (first, second):
        last = node.contract(contract).inbox_count
        rows = [
            application.map.query(lambda reader, contract=contract, last=last: index.inbox(reader, contract, last, 1))
            for application in (node.application, empty)
        ]
        assert [(row.id, row.raw) for row in rows[0]] == [(row.id, row.raw) for row in rows[1]]
        ids += [row.id for row in rows[0]]
    assert ids[0] == ids[1]
