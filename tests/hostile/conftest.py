"""What attacks are made with: the scenes of other tests, and a network whose validators the test owns."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def _load(name: str, *path: str) -> None:
    # importmode=importlib keeps test modules apart, so that a shared scene needs a name of its own.
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, TESTS.joinpath(*path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load("worker_scene", "worker", "scene.py")
_load("worker_story", "worker", "story.py")
_load("worker_committee", "worker", "committee_scene.py")
_load("worker_service", "worker", "story.py")
_load("hostile_chain", "follower", "conftest.py")
_load("hostile_desk", "ledger", "conftest.py")
_load("hostile_custody", "custody", "conftest.py")


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
    from hostile_desk import Desk

    made = Desk(tmp_path)
    yield made
    made.application.close()
