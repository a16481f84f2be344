"""What attacks are made with: the scenes of other tests, and a network whose validators the test owns."""

from __future__ import annotations

import pytest


@pytest.fixture
def chain(tmp_path):
    """A chain with registrations, a contract, calls and a result, whose validators are the test's to corrupt."""
    from hostile_chain import Scene

    from keephold.testing.local import LocalNetwork

    network = LocalNetwork(tmp_path)
    network.open_node()
    made = Scene(network)
    made.play()
    yield made
    network.kill_node()


@pytest.fixture
def desk(tmp_path):
    """A ledger with a hand crank."""
    from ledger_desk import Desk

    made = Desk(tmp_path)
    yield made
    made.application.close()
