"""What holds for every test: no verdict depends on how fast the machine is, and what tests share can be imported.

`--import-mode=importlib` keeps test modules apart, however they are named; so a module that several of them import
needs a name of its own. `SHARED` gives it one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

from keephold.runtime.artefact import cache_directory

# Hypothesis times examples and their generation by the wall clock; a busy machine, or a first run without its caches,
# fails both limits.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TESTS = Path(__file__).parent
SHARED = {
    "client_paper": "client/paper.py",
    "faults_aftermath": "faults/aftermath.py",
    "faults_colony": "faults/colony.py",
    "faults_disks": "faults/disks.py",
    "follower_blocks": "follower/blocks.py",
    "follower_histories": "follower/histories.py",
    "gatekeeper_asking": "gatekeeper/asking.py",
    "gatekeeper_relay": "gatekeeper/relay.py",
    "hostile_chain": "follower/conftest.py",
    "hostile_colluding": "hostile/colluding.py",
    "hostile_custody": "custody/conftest.py",
    "ledger_desk": "ledger/desk.py",
    "programs_law": "programs/law.py",
    "resharing_court": "ledger/rules/court.py",
    "rotation_scene": "ledger/rules/rotation_scene.py",
    "spec_independent": "spec/independent.py",
    "spec_independent_chain": "spec/independent_chain.py",
    "spec_independent_group": "spec/independent_group.py",
    "spec_vectors": "spec/vectors.py",
    "worker_cast": "worker/cast.py",
    "worker_committee": "worker/committee_scene.py",
    "worker_ledger": "worker/paper_ledger.py",
    "worker_scene": "worker/scene.py",
    "worker_story": "worker/story.py",
}
"""Files by the name under which they are imported."""


class Shared(MetaPathFinder):
    """Finds the modules of `SHARED`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = SHARED.get(fullname)
        return None if file is None else spec_from_file_location(fullname, TESTS / file)


if not any(isinstance(finder, Shared) for finder in sys.meta_path):
    sys.meta_path.append(Shared())


@pytest.fixture(scope="module")
def lasting_home() -> Iterator[None]:
    """The simulated machines of tests outlive the tests, as the compiled guest does that is sealed to them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEPHOLD_HOME", str(cache_directory() / "test-home"))
        yield
