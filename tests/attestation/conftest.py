from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from _pytest.raises import RaisesExc

from keephold.attestation.policy import report_data
from keephold.attestation.reasons import Reason
from keephold.attestation.roots import intel
from keephold.attestation.verify import VerifiedIdentity, verify
from keephold.base.errors import AttestationRefused
from keephold.base.ids import NetworkId
from keephold.protocol.evidence import AttestationPolicy, Claim, Collateral, CollateralFloor, Evidence, RuntimeEvent
from keephold.testing.vendor import Build, DevelopmentVendor, Machine, SgxBuild, TdxBuild

SECOND = 1_000_000_000
NOW_NS = 1_800_000_000 * SECOND
ONE = Machine.named("one")
NO_FLOOR = CollateralFloor()
NETWORK = NetworkId(b"n" * 32)
QUOTES = Path(__file__).parents[3] / "shared" / "fixtures" / "quotes"


@dataclass(frozen=True)
class Scene:
    """An honest attestation; tests alter one thing and look at the outcome."""

    vendor: DevelopmentVendor
    build: Build
    claim: Claim
    policy: AttestationPolicy
    collateral: Collateral
    machine: Machine = ONE
    floor: CollateralFloor = NO_FLOOR
    network: NetworkId = NETWORK
    now_ns: int = NOW_NS + SECOND
    debug: bool = False
    bound: Claim | None = None
    events: tuple[RuntimeEvent, ...] = ()
    quote: bytes | None = None

    def but(self, **changes: Any) -> Scene:
        return replace(self, **changes)

    def evidence(self) -> Evidence:
        quote = self.quote or self.vendor.quote(
            self.build, report_data(self.bound or self.claim), self.machine, debug=self.debug
        )
        return Evidence(vendor=self.vendor.name, quote=quote, events=self.events)

    def verify(self) -> VerifiedIdentity:
        return verify(
            self.evidence(),
            self.claim,
            self.collateral,
            self.policy,
            self.floor,
            network=self.network,
            now_ns=self.now_ns,
        )


@dataclass(frozen=True)
class Recorded:
    """A quote of real hardware, with the collateral of its day."""

    quote: bytes
    collateral: Collateral
    first_s: int
    last_s: int


def make_scene(vendor: DevelopmentVendor, build: Build) -> Scene:
    claim = Claim(
        network=b"n" * 32,
        role="worker",
        signing_key=b"s" * 32,
        encryption_key=b"e" * 1216,
        operator=b"o" * 32,
        instance=b"i" * 32,
        anchor_height=7,
        anchor_hash=b"a" * 32,
    )
    tee = "sgx" if isinstance(build, SgxBuild) else "tdx"
    collateral = vendor.collateral(now_ns=NOW_NS, tee=tee, advisories=("DEV-SA-1",))
    return Scene(vendor, build, claim, vendor.policy((build, "worker")), collateral)


@pytest.fixture(scope="session")
def vendor() -> DevelopmentVendor:
    return DevelopmentVendor.create()


@pytest.fixture(params=["sgx3", "tdx4", "tdx5"])
def scene(request: pytest.FixtureRequest, vendor: DevelopmentVendor) -> Scene:
    builds = {
        "sgx3": SgxBuild.named("worker"),
        "tdx4": TdxBuild.named("worker"),
        "tdx5": TdxBuild.named("worker", version=5),
    }
    return make_scene(vendor, builds[request.param])


@pytest.fixture
def sgx(vendor: DevelopmentVendor) -> Scene:
    return make_scene(vendor, SgxBuild.named("worker"))


@pytest.fixture
def tdx(vendor: DevelopmentVendor) -> Scene:
    return make_scene(vendor, TdxBuild.named("worker"))


@pytest.fixture
def refused() -> Callable[[Reason], RaisesExc[AttestationRefused]]:
    return lambda reason: pytest.raises(AttestationRefused, check=lambda error: error.reason == reason)


def _recorded(name: str, first_s: int, last_s: int) -> Recorded:
    if not QUOTES.is_dir():
        pytest.skip("recorded quotes are not here")
    fields = json.loads((QUOTES / f"{name}_quote_collateral.json").read_text())
    binary = ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature")
    collateral = Collateral(
        vendor=intel().name, **{key: bytes.fromhex(value) if key in binary else value for key, value in fields.items()}
    )
    return Recorded((QUOTES / f"{name}_quote").read_bytes(), collateral, first_s, last_s)


@pytest.fixture
def real_sgx() -> Recorded:
    return _recorded("sgx", 1750330571, 1752919278)


@pytest.fixture
def real_tdx() -> Recorded:
    return _recorded("tdx", 1750329147, 1752919234)


@pytest.fixture
def intel_policy() -> AttestationPolicy:
    return AttestationPolicy(vendors=(intel(),), measurements=(), quote_window_ns=SECOND)
