"""What tests of rules share: see `rotation_scene`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _load(name: str) -> None:
    # importmode=importlib keeps test modules apart, so that a shared scene needs a name of its own.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load("rotation_scene")

stateful = sys.modules["rotation_scene"].stateful
rotating = sys.modules["rotation_scene"].rotating
two_workers = sys.modules["rotation_scene"].two_workers
