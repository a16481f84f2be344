"""What the worker's tests share: see `scene` and `committee_scene`."""

from __future__ import annotations

from worker_story import guest

__all__ = ["guest"]
