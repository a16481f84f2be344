"""Desks for the ledger's tests: see `desk`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ledger_desk import Desk, Enclave, Node, key

from keephold.base.ids import ContractId
from keephold.crypto.signing import SigningKey


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(**options: Any) -> Desk:
        directory = tmp_path / str(len(desks))
        directory.mkdir()
        desks.append(Desk(directory, **options))
        return desks[-1]

    yield make
    for desk in desks:
        desk.application.close()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.engine.stop()
    made.application.close()


@pytest.fixture
def node_class() -> type[Node]:
    return Node


@pytest.fixture
def new_key() -> Callable[[str], SigningKey]:
    return key


@pytest.fixture
def enclave() -> Callable[..., Enclave]:
    return Enclave


@pytest.fixture
def token(desk: Desk) -> tuple[Desk, Enclave, ContractId]:
    """A desk with one worker that runs one active contract."""
    (worker,) = desk.enrol("worker")
    contract = desk.deploy(key("alice"))
    desk.activate(contract, worker)
    return desk, worker, contract
