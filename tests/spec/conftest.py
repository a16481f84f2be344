"""The second implementation, importable by its tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    found = importlib.util.spec_from_file_location(f"spec_{name}", Path(__file__).parent / f"{name}.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def spec() -> ModuleType:
    """Return `independent.py`."""
    return _load("independent")


@pytest.fixture(scope="session")
def group() -> ModuleType:
    """Return `independent_group.py`."""
    return _load("independent_group")


@pytest.fixture(scope="session")
def chain() -> ModuleType:
    """Return `independent_chain.py`."""
    return _load("independent_chain")
