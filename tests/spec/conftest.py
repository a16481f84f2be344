"""The second implementation, importable by its tests."""

from __future__ import annotations

from types import ModuleType

import pytest
import spec_independent
import spec_independent_chain
import spec_independent_group


@pytest.fixture(scope="session")
def spec() -> ModuleType:
    """Return `independent.py`."""
    return spec_independent


@pytest.fixture(scope="session")
def group() -> ModuleType:
    """Return `independent_group.py`."""
    return spec_independent_group


@pytest.fixture(scope="session")
def chain() -> ModuleType:
    """Return `independent_chain.py`."""
    return spec_independent_chain
