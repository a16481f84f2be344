"""What the worker's tests share: see `scene` and `committee_scene`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _load(name: str, file: str) -> None:
    # importmode=importlib keeps test modules apart, so that a shared scene needs a name of its own.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load("worker_scene", "scene.py")
_load("worker_committee", "committee_scene.py")
_load("worker_story", "story.py")


guest = sys.modules["worker_story"].guest
