from __future__ import annotations

import dataclasses

import msgspec
import pytest

from keephold.attestation.policy import report_data
from keephold.attestation.reasons import Reason
from keephold.attestation.verify import VerifiedIdentity, unverified_subject, verify
from keephold.protocol.evidence import AllowedMeasurement, HardwareVendor
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild, TdxBuild, measurement_of


def test_an_honest_enclave_gets_its_identity(scene) -> None:
    identity = scene.verify()
    assert identity.claim == scene.claim
    assert identity.level == 1
    assert identity.measurement == measurement_of(scene.build)
    assert identity.vendor == scene.vendor.entry
    assert identity.is_simulated
    assert identity.subject == unverified_subject(scene.evidence())
    assert len(identity.platform) == 32


def test_nobody_else_makes_an_identity(scene) -> None:
    with pytest.raises(TypeError):
        VerifiedIdentity(claim=scene.claim)
    with pytest.raises(TypeError):
        dataclasses.replace(scene.verify(), level=1)


def test_simulation_is_read_from_the_policy_alone(scene) -> None:
    entry = scene.vendor.entry
    hardware = HardwareVendor(
        entry.name, entry.root, entry.tcb_signer, entry.processor_authority, entry.platform_authority
    )
    policy = msgspec.structs.replace(scene.policy, vendors=(hardware,))
    assert not scene.but(policy=policy).verify().is_simulated


@pytest.mark.parametrize(
    ("status", "expected", "accepted"),
    [
        ("UpToDate", 1, 1),
        ("SWHardeningNeeded", 2, 2),
        ("ConfigurationNeeded", 4, 3),
        ("ConfigurationAndSWHardeningNeeded", 4, 3),
        ("OutOfDate", 5, 5),
        ("OutOfDateConfigurationNeeded", 5, 5),
    ],
)
def test_each_status_gets_its_level(scene, status, expected, accepted) -> None:
    shown = scene.but(machine=Machine.named("one", status))
    assert shown.verify().level == expected
    policy = msgspec.structs.replace(scene.policy, accepted_advisories=("DEV-SA-1",))
    assert shown.but(policy=policy).verify().level == accepted


@pytest.mark.parametrize(("status", "reason"), [("Revoked", Reason.REVOKED), ("BelowEveryLevel", Reason.TCB_STATUS)])
def test_a_status_without_a_level_is_refused(scene, refused, status, reason) -> None:
    with refused(reason):
        scene.but(machine=Machine.named("one", status)).verify()


def test_a_gatekeeper_needs_level_one_or_two(scene, refused) -> None:
    claim = msgspec.structs.replace(scene.claim, role="gatekeeper")
    seat = scene.but(claim=claim, policy=scene.vendor.policy((scene.build, "gatekeeper")))
    assert seat.but(machine=Machine.named("one", "SWHardeningNeeded")).verify().level == 2
    with refused(Reason.LEVEL):
        seat.but(machine=Machine.named("one", "OutOfDate")).verify()


def test_code_of_another_role_is_refused(scene, refused) -> None:
    claim = msgspec.structs.replace(scene.claim, role="gatekeeper")
    with refused(Reason.ROLE):
        scene.but(claim=claim).verify()


def test_a_role_that_is_none_is_refused(scene, refused) -> None:
    claim = msgspec.structs.replace(scene.claim, role="auditor")
    with refused(Reason.ROLE):
        scene.but(claim=claim).verify()


def test_other_code_is_refused(scene, refused) -> None:
    other = SgxBuild.named("other") if isinstance(scene.build, SgxBuild) else TdxBuild.named("other")
    with refused(Reason.MEASUREMENT):
        scene.but(policy=scene.vendor.policy((other, "worker"))).verify()


def test_a_delisted_measurement_ends_with_its_handover(scene, refused) -> None:
    entry = AllowedMeasurement(measurement_of(scene.build), "worker", until_ns=scene.now_ns + 1)
    handover = scene.but(policy=msgspec.structs.replace(scene.policy, measurements=(entry,)))
    handover.verify()
    with refused(Reason.MEASUREMENT):
        handover.but(now_ns=scene.now_ns + 1).verify()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("signing_key", b"x" * 32),
        ("encryption_key", b"x" * 1216),
        ("operator", b"x" * 32),
        ("instance", b"x" * 32),
        ("anchor_height", 8),
        ("anchor_hash", b"x" * 32),
        ("role", "gatekeeper"),
    ],
)
def test_a_claim_that_the_quote_does_not_bind_is_refused(scene, refused, field, value) -> None:
    altered = msgspec.structs.replace(scene.claim, **{field: value})
    with refused(Reason.REPORT_DATA):
        scene.but(claim=altered, bound=scene.claim).verify()


def test_a_claim_for_another_network_is_refused(scene, refused) -> None:
    with refused(Reason.NETWORK):
        scene.but(network=b"m" * 32).verify()


def test_a_debuggable_enclave_is_refused(scene, refused) -> None:
    with refused(Reason.DEBUG):
        scene.but(debug=True).verify()


def test_a_revoked_machine_is_refused(scene, refused) -> None:
    tee = scene.verify().subject.tee
    revoking = scene.vendor.collateral(now_ns=scene.now_ns, tee=tee, revoked=[scene.machine])
    with refused(Reason.REVOKED):
        scene.but(collateral=revoking).verify()
    scene.but(collateral=revoking, machine=Machine.named("two")).verify()


def test_a_revoked_machine_is_refused_by_the_library_too(scene, refused, monkeypatch) -> None:
    tee = scene.verify().subject.tee
    revoking = scene.vendor.collateral(now_ns=scene.now_ns, tee=tee, revoked=[scene.machine])
    monkeypatch.setattr("keephold.attestation.quotes.unverified_serial", lambda chain: 0)
    with refused(Reason.SIGNATURE):
        scene.but(collateral=revoking).verify()


def test_another_vendors_quote_is_refused(scene, refused) -> None:
    other = DevelopmentVendor.create()
    with refused(Reason.SIGNATURE):
        scene.but(quote=other.quote(scene.build, report_data(scene.claim), scene.machine)).verify()


def test_an_unknown_vendor_is_refused(scene, refused) -> None:
    with refused(Reason.VENDOR):
        scene.but(policy=msgspec.structs.replace(scene.policy, vendors=())).verify()


def test_collateral_of_the_other_tee_is_refused(sgx, tdx, refused) -> None:
    for scene, other in ((sgx, tdx), (tdx, sgx)):
        with refused(Reason.COLLATERAL_MISMATCH):
            scene.but(collateral=other.collateral).verify()


def test_collateral_of_other_processors_is_refused(sgx, refused) -> None:
    for changes in ({"fmspc": b"other!"}, {"authority": "platform"}):
        with refused(Reason.COLLATERAL_MISMATCH):
            sgx.but(collateral=sgx.vendor.collateral(now_ns=sgx.now_ns, **changes)).verify()


def test_tcb_info_of_another_provisioning_enclave_is_refused(sgx, refused) -> None:
    with refused(Reason.PCE_ID):
        sgx.but(collateral=sgx.vendor.collateral(now_ns=sgx.now_ns, pce_id=b"\x00\x01")).verify()


def test_collateral_outside_its_window_is_refused(scene, refused) -> None:
    for now_ns in (scene.now_ns - 2_000_000_000, scene.now_ns + 31 * 86_400 * 1_000_000_000):
        with refused(Reason.COLLATERAL_WINDOW):
            scene.but(now_ns=now_ns).verify()


def test_trailing_bytes_make_no_other_identity(scene) -> None:
    quote = scene.evidence().quote
    assert scene.but(quote=quote + b"trailing").verify() == scene.but(quote=quote).verify()


def test_a_machine_is_one_platform_whatever_it_runs(sgx, tdx) -> None:
    assert sgx.verify().platform == tdx.verify().platform
    assert sgx.verify().platform != sgx.but(machine=Machine.named("two")).verify().platform


@pytest.mark.parametrize("size", [0, 1, 47, 48, 431, 432, 1000])
def test_a_truncated_quote_is_refused(scene, refused, size) -> None:
    with refused(Reason.MALFORMED):
        scene.but(quote=scene.evidence().quote[:size] or b"\0").verify()


def test_a_quote_longer_than_any_is_refused(scene, refused) -> None:
    with refused(Reason.MALFORMED):
        scene.but(quote=scene.evidence().quote + bytes(16 << 10)).verify()


def test_versions_that_are_not_understood_are_refused(scene, refused) -> None:
    quote = scene.evidence().quote
    for version in (0, 1, 2, 6, 0xFFFF):
        with refused(Reason.MALFORMED):
            scene.but(quote=version.to_bytes(2, "little") + quote[2:]).verify()


def test_a_second_name_for_a_root_makes_no_second_platform(sgx) -> None:
    entry = msgspec.structs.replace(sgx.vendor.entry, name="alias")
    policy = msgspec.structs.replace(sgx.policy, vendors=(sgx.vendor.entry, entry))
    renamed = msgspec.structs.replace(sgx.collateral, vendor="alias")
    evidence = msgspec.structs.replace(sgx.evidence(), vendor="alias")
    identity = verify(evidence, sgx.claim, renamed, policy, sgx.floor, network=sgx.network, now_ns=sgx.now_ns)
    assert identity.platform == sgx.verify().platform
