"""What holds for every test: no verdict depends on how fast the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Hypothesis times examples and their generation by the wall clock; a busy machine, or a first run without its caches,
# fails both limits.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
