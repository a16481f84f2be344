"""Nothing that strangers send is believed, and nothing changes before all of it held."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec.structs import replace as with_fields

from keephold.base.errors import UnavailableError
from keephold.crypto.hashing import sha256
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Block
from keephold.ledger.engines.statesync import Offered, Snapshot, Taken
from keephold.ledger.snapshots.content import (
    FORMAT,
    Actions,
    Headers,
    Kept,
    Leaf,
    Leaves,
    Manifest,
    Slots,
    chunked,
)
from keephold.ledger.snapshots.service import Nowhere, SnapshotService
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.snapshots.take import pages
from keephold.protocol.codec import encode
from keephold.protocol.wire import LocatedTransaction, Slot, TransactionResult


@pytest.fixture
def genuine(lived):
    """The pages of a snapshot of the newest block."""
    return list(pages(lived.archive(), lived.node.application.map.newest))


def announced(lived, made) -> tuple[Snapshot, list[bytes]]:
    """A snapshot of these pages, announced by somebody who computed every hash anew."""
    chunks = list(chunked(made))
    newest = lived.node.application.map.newest
    manifest = Manifest(lived.node.network, newest.height, newest.values.root, tuple(sha256(chunk) for chunk in chunks))
    return Snapshot(newest.height, FORMAT, len(chunks), manifest.hash(), encode(manifest)), chunks


def outcome(service, lived, made) -> Taken:
    snapshot, chunks = announced(lived, made)
    assert service.offer(snapshot, lived.node.root) is Offered.ACCEPT
    for index, chunk in enumerate(chunks[:-1]):
        assert service.apply(index, chunk) is Taken.ACCEPT
    return service.apply(len(chunks) - 1, chunks[-1])


def altered(genuine, kind, change):
    """The pages, with the first one of a kind changed, or left out."""
    at = next(at for at, page in enumerate(genuine) if isinstance(page, kind))
    page = change(genuine[at])
    return [*genuine[:at], *([] if page is None else [page]), *genuine[at + 1 :]]


def test_the_genuine_one_is_accepted(service, lived, genuine, empty):
    assert outcome(service, lived, genuine) is Taken.ACCEPT
    assert empty.info().app_hash == lived.node.root


ALTERATIONS = {
    "a leaf changed": (Leaves, lambda p: with_fields(p, leaves=(Leaf(p.leaves[0].path, b"\xa0"), *p.leaves[1:]))),
    "a leaf left out": (Leaves, lambda p: with_fields(p, leaves=p.leaves[1:])),
    "a leaf given twice": (Leaves, lambda p: with_fields(p, leaves=(p.leaves[0], *p.leaves))),
    "a slot changed": (Slots, lambda p: with_fields(p, slots=(Slot(p.slots[0].tag, b"x"), *p.slots[1:]))),
    "no slots": (Slots, lambda _: None),
    "slots of nobody": (Slots, lambda p: with_fields(p, contract=bytes(32))),
    "an action left out": (Actions, lambda _: None),
    "no headers": (Headers, lambda _: None),
    "another newest header": (Headers, lambda p: with_fields(p, headers=p.headers[1:])),
    "too few headers": (Headers, lambda p: with_fields(p, headers=p.headers[:2])),
    "a gap in headers": (Headers, lambda p: with_fields(p, headers=(p.headers[0], *p.headers[2:]))),
    "a transaction left out": (Kept, lambda p: with_fields(p, transactions=p.transactions[1:])),
    "a transaction of another block": (Kept, lambda p: with_fields(p, ids=tuple(bytes(32) for _ in p.ids))),
    "a transaction out of its place": (
        Kept,
        lambda p: with_fields(
            p, transactions=tuple(with_fields(item, index=item.index + 1) for item in p.transactions)
        ),
    ),
    "fewer results than transactions": (Kept, lambda p: with_fields(p, results=())),
    "a block from later": (Kept, lambda p: with_fields(p, height=p.height + 1000)),
}


@pytest.mark.parametrize("name", sorted(ALTERATIONS))
def test_a_snapshot_that_is_not_the_state_asked_for_is_refused_whole(service, lived, genuine, empty, name):
    before = empty.info()
    kind, change = ALTERATIONS[name]
    assert outcome(service, lived, altered(genuine, kind, change)) is Taken.REJECT_SNAPSHOT
    assert empty.info() == before
    assert not service._path.exists()
    # Another one may still do.
    assert outcome(service, lived, genuine) is Taken.ACCEPT


def test_its_own_block_is_what_its_header_commits_to(service, lived, genuine):
    own = genuine[-1]
    more = with_fields(own, ids=(*own.ids, bytes(32)), results=(*own.results, own.results[0]))
    assert outcome(service, lived, [*genuine[:-1], more]) is Taken.REJECT_SNAPSHOT


def test_every_transaction_that_the_map_refers_to_has_to_be_there_and_no_other(service, lived, genuine):
    for at, page in enumerate(genuine):
        if isinstance(page, Kept):
            for without in range(len(page.transactions)):
                left = (*page.transactions[:without], *page.transactions[without + 1 :])
                made = [*genuine[:at], with_fields(page, transactions=left), *genuine[at + 1 :]]
                assert outcome(service, lived, made) is Taken.REJECT_SNAPSHOT
    kept = {page.height for page in genuine if isinstance(page, Kept)}
    blocks = ((at, lived.node.engine.transactions(at)) for at in range(1, lived.node.height) if at not in kept)
    height, raws = next((at, raws) for at, raws in blocks if raws)
    ids, located = tuple(map(sha256, raws)), tuple(LocatedTransaction(at, raw) for at, raw in enumerate(raws))
    more = Kept(height, ids, tuple(TransactionResult() for _ in ids), located)
    assert outcome(service, lived, [*genuine, more]) is Taken.REJECT_SNAPSHOT


def test_bytes_that_are_no_pages_are_refused(service, lived):
    for junk in (b"\xff" * 100, b"\x00\x00\x00\x01\xa0", b"\x00\x00\x00\x09\xa0"):
        manifest = Manifest(lived.node.network, lived.node.height, lived.node.root, (sha256(junk),))
        snapshot = Snapshot(lived.node.height, FORMAT, 1, manifest.hash(), encode(manifest))
        assert service.offer(snapshot, lived.node.root) is Offered.ACCEPT
        assert service.apply(0, junk) is Taken.REJECT_SNAPSHOT


def test_a_chunk_that_is_not_the_promised_one_is_fetched_again(service, lived, genuine, empty):
    snapshot, chunks = announced(lived, genuine)
    service.offer(snapshot, lived.node.root)
    for wrong in (b"", chunks[0] + b"x", chunks[0][:-1], bytes(len(chunks[0]))):
        assert service.apply(0, wrong) is Taken.REFETCH
    assert service.apply(len(chunks), chunks[0]) is Taken.REFETCH
    assert empty.info().height == 0
    assert service.apply(0, chunks[0]) is Taken.ACCEPT
    assert empty.info().height == snapshot.height


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("height", 1),
        ("chunks", 9),
        ("hash", bytes(32)),
        ("metadata", b"\xa0"),
        ("metadata", b""),
    ],
)
def test_an_announcement_that_contradicts_itself_is_refused(service, lived, genuine, field, value):
    snapshot, _ = announced(lived, genuine)
    assert service.offer(replace(snapshot, **{field: value}), lived.node.root) is Offered.REJECT
    assert service.apply(0, b"") is Taken.ABORT


def test_another_format_is_refused_as_such(service, lived, genuine):
    snapshot, _ = announced(lived, genuine)
    assert service.offer(replace(snapshot, format=FORMAT + 1), lived.node.root) is Offered.REJECT_FORMAT


def test_another_app_hash_or_network_is_refused(service, lived, genuine):
    snapshot, _ = announced(lived, genuine)
    assert service.offer(snapshot, bytes(32)) is Offered.REJECT
    manifest = Manifest(bytes(32), snapshot.height, lived.node.root, (bytes(32),))
    other = Snapshot(snapshot.height, FORMAT, 1, manifest.hash(), encode(manifest))
    assert service.offer(other, lived.node.root) is Offered.REJECT


def test_a_ledger_with_blocks_of_its_own_restores_nothing(lived, tmp_path):
    service = SnapshotService(lived.node.application, lived.shelf, tmp_path, lived.node.engine)
    lived.take()
    (snapshot,) = lived.shelf.list()
    assert service.offer(snapshot, lived.node.root) is Offered.ABORT


def test_a_restored_ledger_may_be_restored_again_until_its_first_block(service, lived, genuine, empty):
    assert outcome(service, lived, genuine) is Taken.ACCEPT
    assert outcome(service, lived, genuine) is Taken.ACCEPT
    height = empty.info().height + 1
    empty.finalize(Block(height, lived.node.time_ns + 10**9, bytes(32), ()))
    empty.commit()
    snapshot, _ = announced(lived, genuine)
    assert service.offer(snapshot, lived.node.root) is Offered.ABORT


def test_without_nodes_to_ask_nothing_is_restored(lived, genuine, empty, tmp_path):
    service = SnapshotService(empty, Shelf(tmp_path / "none"), tmp_path, Nowhere())
    snapshot, _ = announced(lived, genuine)
    assert service.offer(snapshot, lived.node.root) is Offered.ABORT
    with pytest.raises(UnavailableError):
        Nowhere().block(1)


def test_what_an_earlier_run_gathered_is_removed(lived, genuine, empty, tmp_path):
    (tmp_path / "incoming").write_bytes(b"half a snapshot")
    SnapshotService(empty, Shelf(tmp_path / "none"), tmp_path, Nowhere())
    assert not (tmp_path / "incoming").exists()


def test_a_crash_while_it_is_put_in_place_leaves_the_ledger_empty(service, lived, genuine, empty, monkeypatch):
    """The process dies after everything was written and before it was committed."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("keephold.ledger.index.begin", die)
    with pytest.raises(KeyboardInterrupt):
        outcome(service, lived, genuine)
    monkeypatch.undo()
    assert empty.info().height == 0
    empty.close()
    again = LedgerApplication(lived.node.genesis, service._path.parent)
    assert (again.info().height, again.info().first) == (0, 1)
    again.close()
