"""A network in one process, with three gatekeepers of which two make a key."""

from __future__ import annotations

import pytest

from keephold.testing.local import LocalNetwork


@pytest.fixture
def network(tmp_path) -> LocalNetwork:
    return LocalNetwork(tmp_path, seats=3, threshold=2)
