"""Quotes of real hardware through the production path. Their report data binds nothing of ours, which is step 5."""

from __future__ import annotations

import pytest

from keephold.attestation.collateral import verify_collateral
from keephold.attestation.levels import level
from keephold.attestation.policy import measurement
from keephold.attestation.quotes import examine, parse
from keephold.attestation.reasons import Reason
from keephold.attestation.roots import intel
from keephold.attestation.verify import verify
from keephold.base.errors import AttestationRefused
from keephold.protocol.evidence import AttestationPolicy, CollateralFloor, Evidence

pytestmark = pytest.mark.fixtures
SECOND = 1_000_000_000
SIGNATURE = 4 + 64 + 64


def findings(recorded, policy, now_s, quote=None):
    judge = verify_collateral(recorded.collateral, policy, CollateralFloor(), now_ns=now_s * SECOND)
    return examine(parse(quote or recorded.quote, "intel"), judge.encoded, judge.vendor.root, now_s=now_s)


def attempt(recorded, policy, scene, now_s, quote=None):
    evidence = Evidence(vendor="intel", quote=quote or recorded.quote)
    network = scene.claim.network
    return verify(
        evidence, scene.claim, recorded.collateral, policy, CollateralFloor(), network=network, now_ns=now_s * SECOND
    )


def test_sgx_is_level_four_or_three_with_its_advisories_accepted(real_sgx, intel_policy) -> None:
    for now_s in (real_sgx.first_s, real_sgx.last_s):
        found = findings(real_sgx, intel_policy, now_s)
        assert found.status == "ConfigurationAndSWHardeningNeeded"
        assert level(found.status, found.advisories, ()) == 4
        assert level(found.status, found.advisories, ("INTEL-SA-00289",)) == 4
        assert level(found.status, found.advisories, ("INTEL-SA-00289", "INTEL-SA-00615")) == 3
        assert bytes.fromhex(found.report.report_data).startswith(b"Hello, world!")


def test_tdx_is_level_one(real_tdx, intel_policy) -> None:
    for now_s in (real_tdx.first_s, real_tdx.last_s):
        found = findings(real_tdx, intel_policy, now_s)
        assert level(found.status, found.advisories, ()) == 1
        assert len(measurement(found.report)) == 32


def test_inside_the_window_only_the_claim_is_missing(real_sgx, real_tdx, intel_policy, sgx, refused) -> None:
    for recorded in (real_sgx, real_tdx):
        for now_s in (recorded.first_s, recorded.last_s):
            with refused(Reason.REPORT_DATA):
                attempt(recorded, intel_policy, sgx, now_s)
        for now_s in (recorded.first_s - 1, recorded.last_s + 1):
            with refused(Reason.COLLATERAL_WINDOW):
                attempt(recorded, intel_policy, sgx, now_s)


def test_the_library_alone_agrees_on_the_window(real_sgx, real_tdx) -> None:
    for recorded in (real_sgx, real_tdx):
        quote = parse(recorded.quote, "intel")
        for now_s in (recorded.first_s - 1, recorded.last_s + 1):
            with pytest.raises(AttestationRefused):
                examine(quote, recorded.collateral, intel().root, now_s=now_s)


def test_collateral_of_the_other_machine_is_refused(real_sgx, real_tdx, intel_policy, sgx, refused) -> None:
    with refused(Reason.COLLATERAL_MISMATCH):
        attempt(real_tdx, intel_policy, sgx, real_sgx.first_s, quote=real_sgx.quote)


def test_under_the_development_root_nothing_real_passes(real_sgx, sgx, refused) -> None:
    with refused(Reason.VENDOR):
        attempt(real_sgx, sgx.policy, sgx, real_sgx.first_s)


def test_under_intels_root_nothing_of_the_development_vendor_passes(scene, refused) -> None:
    policy = AttestationPolicy(
        vendors=(intel(),), measurements=scene.policy.measurements, quote_window_ns=scene.policy.quote_window_ns
    )
    with refused(Reason.VENDOR):
        scene.but(policy=policy).verify()


@pytest.mark.parametrize("name", ["real_sgx", "real_tdx"])
def test_no_signed_byte_can_be_flipped(request, name, intel_policy) -> None:
    recorded = request.getfixturevalue(name)
    judge = verify_collateral(recorded.collateral, intel_policy, CollateralFloor(), now_ns=recorded.first_s * SECOND)
    body = len(parse(recorded.quote, "intel").signed)
    positions = [*range(body), *range(body + 4, body + SIGNATURE)]
    for position in positions:
        altered = bytearray(recorded.quote)
        altered[position] ^= 0x01
        with pytest.raises(AttestationRefused):
            examine(parse(bytes(altered), "intel"), judge.encoded, judge.vendor.root, now_s=recorded.first_s)
