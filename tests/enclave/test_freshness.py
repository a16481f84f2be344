from __future__ import annotations

import pytest

from keephold.base.errors import NotFresh
from keephold.enclave.freshness import Freshness


def test_an_enclave_starts_mute() -> None:
    with pytest.raises(NotFresh):
        Freshness(10.0).require(0.0)


def test_the_window_runs_from_submission_not_from_sighting() -> None:
    freshness = Freshness(10.0)
    freshness.confirm(submitted=100.0, height=5)
    freshness.require(109.9)
    with pytest.raises(NotFresh):
        freshness.require(110.0)
    assert freshness.height == 5


def test_an_echo_older_than_the_window_frees_nobody() -> None:
    freshness = Freshness(10.0)
    freshness.confirm(submitted=100.0, height=5)  # seen a minute later: the host held it back
    assert not freshness.is_fresh(160.0)


def test_an_older_echo_seen_later_does_not_shorten_the_window() -> None:
    freshness = Freshness(10.0)
    freshness.confirm(submitted=105.0, height=6)
    freshness.confirm(submitted=100.0, height=5)
    assert freshness.is_fresh(114.9)
    assert freshness.height == 6
