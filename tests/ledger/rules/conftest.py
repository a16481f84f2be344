"""What tests of rules share: see `rotation_scene`."""

from __future__ import annotations

from rotation_scene import rotating, stateful, two_workers

__all__ = ["rotating", "stateful", "two_workers"]
