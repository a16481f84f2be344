"""What the worker's tests share: see `scene` and `committee_scene`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from keephold.crypto.secret import SecretBytes
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache


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


@pytest.fixture(scope="session")
def guest():
    with CompiledCache(cache_directory() / "tests", SecretBytes(b"k" * 32)).guest(guest_artefact()) as compiled:
        yield compiled
