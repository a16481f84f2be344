"""What the worker's tests share: see `scene`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# importmode=importlib keeps test modules apart, so that the shared scene needs a name of its own.
_SPEC = importlib.util.spec_from_file_location("worker_scene", Path(__file__).with_name("scene.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
sys.modules["worker_scene"] = _MODULE
_SPEC.loader.exec_module(_MODULE)
