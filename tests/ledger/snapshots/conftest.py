"""A lived-in ledger, its snapshot, and an empty one beside it that restores it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.housekeeping import Habits, Housekeeper
from keephold.ledger.snapshots.service import SnapshotService
from keephold.ledger.snapshots.shelf import Shelf
from keephold.protocol.governance import CommitteeRules, SetCommittee
from keephold.protocol.transactions import SlotWrite


class Elsewhere:
    """The blocks of another node's engine, as a light client would have verified them."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def block(self, height: int) -> StoredBlock:
        found = self._engine.block(height)
        assert found is not None
        return found  # type: ignore[no-any-return]


@dataclass
class Lived:
    """A node with some life behind it: workers, a contract with slots, calls done and waiting, governance."""

    node: Any
    workers: list[Any]
    contract: Any
    alice: Any
    shelf: Shelf

    def archive(self) -> Archive:
        return Archive(self.node.application, self.node.engine)

    def take(self) -> int:
        """Take a snapshot of the newest block; return its height."""
        height = self.node.application.info().height
        Housekeeper(self.archive(), self.shelf, Habits(snapshot_interval=1)).tidy(height)
        assert self.shelf.heights()[0] == height
        return height


def live(node: Any, new_key: Callable[[str], Any], directory: Path) -> Lived:
    workers = node.enrol("w1", "w2")
    alice = new_key("alice")
    contract = node.deploy(alice)
    (runner,) = [item for item in workers if item.identity in node.contract(contract).workers]
    node.activate(contract, runner)
    for n in range(3):
        node.block(*node.signed(alice, node.call(contract), node.call(contract)))
        node.send(runner, node.result(runner, contract, 2, writes=(SlotWrite(bytes([n + 1]) * 32, b"%d" % n),)))
    node.send(alice, node.govern(SetCommittee(CommitteeRules(3, 2, 1))))
    node.block(*node.signed(alice, node.call(contract), node.call(contract)))
    node.send(runner, node.result(runner, contract, 1))
    node.block(*node.signed(alice, node.call(contract)))
    return Lived(node, workers, contract, alice, Shelf(directory / "shelf"))


@pytest.fixture
def lived(node, new_key, tmp_path) -> Lived:
    return live(node, new_key, tmp_path)


@pytest.fixture
def empty(lived, tmp_path) -> Iterator[LedgerApplication]:
    (tmp_path / "empty").mkdir()
    application = LedgerApplication(lived.node.genesis, tmp_path / "empty")
    yield application
    application.close()


@pytest.fixture
def service(lived, empty, tmp_path) -> SnapshotService:
    """Of the empty ledger, which believes the other node's headers."""
    return SnapshotService(empty, Shelf(tmp_path / "empty" / "shelf"), tmp_path / "empty", Elsewhere(lived.node.engine))
