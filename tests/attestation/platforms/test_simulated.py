from __future__ import annotations

from keephold.attestation.platforms.base import SealingPlatform
from keephold.attestation.policy import report_data
from keephold.testing.vendor import Machine, TdxBuild


def test_its_evidence_passes_the_production_verifier(scene) -> None:
    platform = scene.vendor.platform(scene.machine, scene.build)
    evidence = platform.quote(report_data(scene.claim))
    identity = scene.but(quote=evidence.quote).verify()
    assert evidence.vendor == scene.vendor.name
    assert identity.measurement == platform.measurement
    assert identity.is_simulated


def test_the_sealing_key_is_the_machines_the_builds_and_the_contexts(scene) -> None:
    platform = scene.vendor.platform(scene.machine, scene.build)
    key = platform.sealing_key(b"disk")
    assert isinstance(platform, SealingPlatform)
    assert len(key) == 32
    assert key == scene.vendor.platform(scene.machine, scene.build).sealing_key(b"disk")
    assert key != platform.sealing_key(b"cache")
    assert key != scene.vendor.platform(Machine.named("two"), scene.build).sealing_key(b"disk")
    assert key != scene.vendor.platform(scene.machine, TdxBuild.named("update")).sealing_key(b"disk")
