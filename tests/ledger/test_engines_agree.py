"""The same blocks under both engines: the same roots, results, refusals, receipts and frames, byte for byte.

A life is recorded under the embedded engine and played by a CometBFT over the socket to an empty ledger.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keephold.chain.chain_id import chain_id
from keephold.crypto.hashing import sha256
from keephold.follower.view import VerifiedView
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.engine import CometEngine
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.reader import LedgerReader
from keephold.ledger.snapshots.service import Nowhere
from keephold.ledger.snapshots.shelf import Shelf
from keephold.protocol.codec import encode
from keephold.protocol.governance import CommitteeRules, SetCommittee
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import SlotWrite
from keephold.protocol.wire import BlocksRequest, InboxRequest, Interest, SlotsRequest, TransactionsRequest
from keephold.testing.comet.fake import Disk, FakeComet
from keephold.testing.comet.snapshots import NoSnapshots


@pytest.fixture
def life(node, new_key):
    """Enrolments, a contract, calls, results, a refusal, governance; return contract and caller."""
    (worker,) = node.enrol("worker")
    alice = new_key("alice")
    contract = node.deploy(alice)
    node.activate(contract, worker)
    for n in range(3):
        node.block(*node.signed(alice, node.call(contract), node.call(contract)))
        result = node.result(worker, contract, 2, writes=(SlotWrite(bytes([n + 1]) * 32, b"%d" % n),))
        # Admitted twice, as whoever orders does not judge results; the second one is refused in its block.
        outcomes = node.block(*node.signed(worker.keys.signing, result, result))
        assert [item.code for item in outcomes] == [0, Refusal.OUT_OF_ORDER]
    node.send(alice, node.govern(SetCommittee(CommitteeRules(3, 2, 1))))
    node.send(alice, node.call(contract))
    node.block()
    return contract, alice


@pytest.fixture
def under_comet(node, tmp_path: Path) -> Iterator[Callable[[], tuple[LedgerApplication, CometEngine]]]:
    """Play the node's blocks to an empty ledger."""
    opened: list[Any] = []

    def play() -> tuple[LedgerApplication, CometEngine]:
        directory = tmp_path / "comet"
        directory.mkdir()
        heights = range(1, node.engine.latest() + 1)
        disk = Disk([node.engine.block(at) for at in heights], [node.engine.transactions(at) for at in heights])
        application = LedgerApplication(node.genesis, directory)
        founding = Founding(chain_id(node.network), node.genesis.time_ns + 1, application.validators())
        abci, rpc = directory / "abci.sock", directory / "rpc.sock"
        comet = FakeComet(founding, [node.validator_key], abci, rpc, disk)
        engine = CometEngine(
            application,
            directory,
            founding,
            comet,
            abci_socket=abci,
            rpc_socket=rpc,
            snapshots=NoSnapshots(),
            origin=Nowhere(),
        )
        opened.extend([application.close, engine.stop])
        engine.start()
        return application, engine

    yield play
    for close in reversed(opened):
        close()


def collected(engine, node, wait=120.0) -> None:
    deadline = time.monotonic() + wait
    while engine.latest() < node.engine.latest():
        assert engine.failure is None, engine.failure
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_recorded_blocks_lead_to_the_same_state_answers_and_frames(node, life, under_comet):
    contract, alice = life
    application, engine = under_comet()
    collected(engine, node)
    ours, theirs = node.reader, LedgerReader(application, engine)
    # Roots, results, refusals with what they say to people, and events.
    assert application.info() == node.application.info()
    for height in range(1, node.engine.latest() + 1):
        here, there = node.application.recent(height), application.recent(height)
        assert (there.outcomes, there.events, there.changed) == (here.outcomes, here.events, here.changed)
        assert engine.block(height) == node.engine.block(height)
    # Every frame, and every answer, in the same bytes; one client's code accepts both.
    interest = Interest(
        paths=(), contracts=(contract,), receipts=(alice.public,), identities=(alice.public,), custody=True
    )
    views = [VerifiedView(node.genesis), VerifiedView(node.genesis)]
    watches = [ours.watch(interest), theirs.watch(interest)]
    receipts = 0
    for height in range(1, node.engine.latest() + 1):
        first, second = (watch.frame(height) for watch in watches)
        assert encode(first) == encode(second)
        accepted = [view.accept(frame) for view, frame in zip(views, (first, second), strict=True)]
        assert accepted[0] == accepted[1]
        receipts += len(accepted[0].receipts)
    assert receipts == 6
    ids = tuple(sha256(raw) for at in range(1, node.engine.latest() + 1) for raw in node.engine.transactions(at))
    root = node.contract(contract).state_root
    for ask in (
        lambda reader: reader.transactions(TransactionsRequest(ids)),
        lambda reader: reader.inbox(InboxRequest(contract, 1)),
        lambda reader: reader.slots(SlotsRequest(contract, root, bytes(32))),
        lambda reader: reader.blocks(BlocksRequest(tuple(range(1, node.engine.latest() + 1)))),
        lambda reader: reader.governance(),
    ):
        assert encode(ask(ours)) == encode(ask(theirs))
    assert [ours.people.transaction(item) for item in ids] == [theirs.people.transaction(item) for item in ids]


def test_both_take_the_same_snapshot_and_prune_alike(node, life, under_comet, tmp_path):
    application, engine = under_comet()
    collected(engine, node)
    shelves = []
    for number, archive in enumerate((Archive(node.application, node.engine), Archive(application, engine))):
        shelves.append(Shelf(tmp_path / f"shelf{number}"))
        keeper = Housekeeper(archive, shelves[-1], Habits(snapshot_interval=1))
        keeper.tidy(engine.latest())
        keeper.prune(engine.latest() - 1)
    assert shelves[0].list() == shelves[1].list()
    assert len(shelves[0].list()) == 1
    assert application.info() == node.application.info()
    assert (engine.first(), node.engine.first()) == (engine.latest() - 1,) * 2
