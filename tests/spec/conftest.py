"""The second implementation, importable by its tests."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def spec() -> ModuleType:
    """Return `independent.py`."""
    found = importlib.util.spec_from_file_location("spec_independent", Path(__file__).parent / "independent.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module
