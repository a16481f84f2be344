"""What the tests of all examples share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A busy machine, or a first run without its caches, fails limits that are timed by the wall clock.
settings.register_profile("examples", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("examples")
