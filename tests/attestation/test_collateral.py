from __future__ import annotations

import dataclasses
import json

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from keephold.attestation.collateral import VerifiedCollateral, unverified_subject, verify_collateral
from keephold.attestation.quotes import examine, parse
from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused
from keephold.protocol.evidence import CollateralFloor
from keephold.testing.vendor import DevelopmentVendor, Machine

NO_FLOOR = CollateralFloor()
SECOND = 1_000_000_000
MONTH_NS = 30 * 86_400 * SECOND


def replaced(collateral, **changes):
    return msgspec.structs.replace(collateral, **changes)


def check(scene, **changes):
    now_ns = changes.pop("now_ns", scene.now_ns)
    floor = changes.pop("floor", NO_FLOOR)
    return verify_collateral(replaced(scene.collateral, **changes), scene.policy, floor, now_ns=now_ns)


def test_nobody_else_makes_verified_collateral() -> None:
    with pytest.raises(TypeError):
        VerifiedCollateral(vendor=None)


def test_the_subject_is_known_before_and_after(scene) -> None:
    subject = unverified_subject(scene.collateral, scene.policy)
    assert check(scene).subject == subject
    assert subject.tee == ("sgx" if "SGX" in scene.collateral.tcb_info[:20] else "tdx")
    assert subject.vendor == "development"


def test_an_unknown_vendor_is_refused(sgx, refused) -> None:
    with refused(Reason.VENDOR):
        check(sgx, vendor="somebody")


def test_another_vendors_collateral_is_refused(sgx, refused) -> None:
    other = DevelopmentVendor.create().collateral(now_ns=sgx.now_ns)
    with refused(Reason.COLLATERAL_SIGNER):
        verify_collateral(other, sgx.policy, NO_FLOOR, now_ns=sgx.now_ns)


@pytest.mark.parametrize("document", ["tcb_info", "qe_identity"])
def test_an_altered_document_is_refused(sgx, refused, document) -> None:
    text = getattr(sgx.collateral, document).replace('"tcbEvaluationDataNumber":17', '"tcbEvaluationDataNumber":18')
    with refused(Reason.COLLATERAL_SIGNER):
        check(sgx, **{document: text})


@pytest.mark.parametrize("signature", ["tcb_info_signature", "qe_identity_signature"])
@pytest.mark.parametrize("forged", [bytes(64), b"\xff" * 64, b"", b"s" * 63])
def test_a_forged_signature_is_refused(sgx, refused, signature, forged) -> None:
    with refused(Reason.COLLATERAL_SIGNER):
        check(sgx, **{signature: forged})


def forged_by_a_platform_key(scene, prefix=""):
    """Collateral that an extracted platform key signed, under the platform's own certificate chain."""
    signer = scene.vendor.signer(scene.machine)
    tcb_info = scene.collateral.tcb_info
    return replaced(
        scene.collateral,
        tcb_info_issuer_chain=prefix + signer.chain_pem,
        tcb_info_signature=signer.certified_key.sign(tcb_info.encode()),
    )


def test_collateral_signed_by_a_platform_key_is_refused(scene, refused) -> None:
    with refused(Reason.COLLATERAL_SIGNER):
        scene.but(collateral=forged_by_a_platform_key(scene)).verify()


@pytest.mark.parametrize("label", ["FOO", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_a_platform_certificate_under_another_label_is_refused(scene, refused, label) -> None:
    signer = scene.vendor.signer(scene.machine)
    leaf = signer.chain_pem.split("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n"
    hidden = leaf.replace("CERTIFICATE", label)
    forged = replaced(
        scene.collateral,
        tcb_info_issuer_chain=hidden + scene.collateral.tcb_info_issuer_chain,
        tcb_info_signature=signer.certified_key.sign(scene.collateral.tcb_info.encode()),
    )
    with refused(Reason.COLLATERAL_SIGNER):
        scene.but(collateral=forged).verify()


def test_what_is_handed_on_holds_no_foreign_block(sgx) -> None:
    hidden = "-----BEGIN FOO-----\nAAAA\n-----END FOO-----\n"
    chain = hidden + sgx.collateral.tcb_info_issuer_chain + "trailing"
    handed_on = check(sgx, tcb_info_issuer_chain=chain).encoded
    assert handed_on.tcb_info_issuer_chain == sgx.collateral.tcb_info_issuer_chain


def test_only_the_named_certificate_signs(sgx, refused) -> None:
    vendor = sgx.vendor
    key = vendor.authorities["processor"].key
    chain = vendor.authorities["processor"].pem + vendor.root.pem
    with refused(Reason.COLLATERAL_SIGNER):
        check(sgx, tcb_info_issuer_chain=chain, tcb_info_signature=key.sign(sgx.collateral.tcb_info.encode()))


def test_the_right_name_under_a_subordinate_is_refused(sgx, refused) -> None:
    authority = sgx.vendor.authorities["processor"]
    key = sgx.vendor.signer(sgx.machine).certified_key
    leaf, _ = authority.issue(sgx.vendor.entry.tcb_signer, key, {})
    for chain in (leaf + authority.pem + sgx.vendor.root.pem, leaf + sgx.vendor.root.pem):
        with refused(Reason.COLLATERAL_SIGNER):
            check(sgx, tcb_info_issuer_chain=chain, tcb_info_signature=key.sign(sgx.collateral.tcb_info.encode()))


def test_the_right_name_with_the_platform_extension_is_refused(sgx, refused) -> None:
    key = sgx.vendor.signer(sgx.machine).certified_key
    leaf, _ = sgx.vendor.root.issue(sgx.vendor.entry.tcb_signer, key, {"1.2.840.113741.1.13.1": b"\x30\x00"})
    with refused(Reason.COLLATERAL_SIGNER):
        check(
            sgx,
            tcb_info_issuer_chain=leaf + sgx.vendor.root.pem,
            tcb_info_signature=key.sign(sgx.collateral.tcb_info.encode()),
        )


def test_revocation_lists_of_other_issuers_are_refused(sgx, refused) -> None:
    for changes in (
        {"root_ca_crl": sgx.collateral.pck_crl},
        {"pck_crl": sgx.collateral.root_ca_crl},
        {"pck_crl": sgx.vendor.collateral(now_ns=sgx.now_ns, authority="platform").pck_crl},
        {"pck_crl": DevelopmentVendor.create().collateral(now_ns=sgx.now_ns).pck_crl},
        {"pck_crl": b""},
        {"root_ca_crl": sgx.collateral.root_ca_crl[:-1]},
        {"pck_crl_issuer_chain": sgx.collateral.tcb_info_issuer_chain},
        {"pck_crl_issuer_chain": ""},
    ):
        with refused(Reason.COLLATERAL_SIGNER):
            check(sgx, **changes)


def test_a_revoked_signer_is_refused(sgx, refused) -> None:
    for serial in (sgx.vendor.tcb_serial, sgx.vendor.authorities["processor"].serial):
        revoking = sgx.vendor.collateral(now_ns=sgx.now_ns, revoked_signers=[serial])
        with refused(Reason.REVOKED):
            verify_collateral(revoking, sgx.policy, NO_FLOOR, now_ns=sgx.now_ns)


def test_parts_of_two_tees_are_refused(sgx, tdx, refused) -> None:
    with refused(Reason.COLLATERAL_MISMATCH):
        check(
            sgx,
            qe_identity=tdx.collateral.qe_identity,
            qe_identity_signature=tdx.collateral.qe_identity_signature,
        )


def test_both_ends_of_the_window(sgx, refused) -> None:
    first_ns = sgx.now_ns - SECOND
    check(sgx, now_ns=first_ns)
    check(sgx, now_ns=first_ns + MONTH_NS - 1)
    for now_ns in (first_ns - 1, first_ns + MONTH_NS, 0, -1, 1 << 80):
        with refused(Reason.COLLATERAL_WINDOW):
            check(sgx, now_ns=now_ns)


def test_every_component_has_its_floor(sgx, refused) -> None:
    at = check(sgx).floor
    check(sgx, floor=at)
    for name in CollateralFloor.__struct_fields__:
        above = msgspec.structs.replace(at, **{name: getattr(at, name) + 1})
        with refused(Reason.COLLATERAL_ROLLBACK):
            check(sgx, floor=above)


def test_collateral_from_before_a_revocation_is_refused(sgx, refused) -> None:
    revoking = sgx.vendor.collateral(now_ns=sgx.now_ns, revoked=[sgx.machine])
    floor = verify_collateral(revoking, sgx.policy, NO_FLOOR, now_ns=sgx.now_ns).floor
    with refused(Reason.COLLATERAL_ROLLBACK):
        sgx.but(floor=floor).verify()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"id": "OTHER"},
        {"issueDate": "yesterday"},
        {"issueDate": "2025-13-01T00:00:00Z"},
        {"nextUpdate": "2099-01-01T00:00:00+00:00"},
        {"tcbEvaluationDataNumber": -1},
        {"tcbEvaluationDataNumber": 1 << 64},
        {"fmspc": "00"},
        {"pceId": "zz"},
    ],
)
def test_a_signed_document_out_of_form_is_refused(sgx, refused, change) -> None:
    document = json.dumps({**json.loads(sgx.collateral.tcb_info), **change})
    signature = sgx.vendor._tcb_key.sign(document.encode())
    with refused(Reason.MALFORMED):
        check(sgx, tcb_info=document, tcb_info_signature=signature)


def test_a_signed_document_that_is_not_json_is_refused(sgx, refused) -> None:
    for document in ("", "[" * 60_000, "null"):
        with refused(Reason.MALFORMED):
            check(sgx, tcb_info=document, tcb_info_signature=sgx.vendor._tcb_key.sign(document.encode()))


def test_lone_surrogates_are_refused(sgx, refused) -> None:
    for name in ("tcb_info", "tcb_info_issuer_chain", "qe_identity_issuer_chain", "pck_crl_issuer_chain"):
        with refused(Reason.COLLATERAL_SIGNER):
            check(sgx, **{name: "\ud800"})


def test_a_policy_whose_root_is_no_certificate_is_refused(sgx, refused) -> None:
    broken = msgspec.structs.replace(sgx.vendor.entry, root=b"root")
    policy = msgspec.structs.replace(sgx.policy, vendors=(broken,))
    with refused(Reason.VENDOR):
        verify_collateral(sgx.collateral, policy, NO_FLOOR, now_ns=sgx.now_ns)


def test_recorded_collateral_verifies_inside_its_window_only(real_sgx, real_tdx, intel_policy, refused) -> None:
    for recorded in (real_sgx, real_tdx):
        for now_s in (recorded.first_s, recorded.last_s):
            verify_collateral(recorded.collateral, intel_policy, NO_FLOOR, now_ns=now_s * SECOND)
        for now_s in (recorded.first_s - 1, recorded.last_s + 1):
            with refused(Reason.COLLATERAL_WINDOW):
                verify_collateral(recorded.collateral, intel_policy, NO_FLOOR, now_ns=now_s * SECOND)


def test_certificates_survive_the_encoding_unchanged(real_sgx, intel_policy) -> None:
    recorded = real_sgx.collateral
    handed_on = verify_collateral(recorded, intel_policy, NO_FLOOR, now_ns=real_sgx.first_s * SECOND).encoded
    before = x509.load_pem_x509_certificates(recorded.tcb_info_issuer_chain.encode())
    after = x509.load_pem_x509_certificates(handed_on.tcb_info_issuer_chain.encode())
    assert [one.public_bytes(Encoding.DER) for one in before] == [one.public_bytes(Encoding.DER) for one in after]
    assert handed_on.pck_crl == recorded.pck_crl
    assert handed_on.root_ca_crl == recorded.root_ca_crl


def test_machines_are_told_apart_by_authority(sgx) -> None:
    platform = sgx.vendor.collateral(now_ns=sgx.now_ns, authority="platform")
    assert unverified_subject(platform, sgx.policy).authority == "platform"
    machine = Machine(ppid=bytes(16), authority="platform")
    assert sgx.but(collateral=platform, machine=machine).verify().subject.authority == "platform"


def test_the_library_alone_would_believe_the_hidden_certificate(sgx) -> None:
    """Why certificates are encoded anew: remove the guard, and one extracted platform key declares itself current."""
    signer = sgx.vendor.signer(Machine.named("old", "OutOfDate"))
    declared = sgx.collateral.tcb_info.replace('"OutOfDate"', '"UpToDate"')
    forged = replaced(
        sgx.collateral,
        tcb_info=declared,
        tcb_info_issuer_chain=signer.chain_pem.replace("CERTIFICATE", "FOO") + sgx.collateral.tcb_info_issuer_chain,
        tcb_info_signature=signer.certified_key.sign(declared.encode()),
    )
    old = sgx.but(machine=Machine.named("old", "OutOfDate"))
    quote = parse(old.evidence().quote, "development")
    now_s = sgx.now_ns // SECOND
    assert examine(quote, forged, sgx.vendor.root_der, now_s=now_s).status == "UpToDate"
    assert old.verify().level == 5
    with pytest.raises(AttestationRefused):
        old.but(collateral=forged).verify()


def signed_anew(scene, issuer, name):
    """Collateral whose TCB info is signed by a fresh certificate of `issuer`."""
    key = scene.vendor.signer(Machine.named("fresh")).certified_key
    leaf, _ = issuer.issue(name, key, {})
    return {
        "tcb_info_issuer_chain": leaf + scene.vendor.root.pem,
        "tcb_info_signature": key.sign(scene.collateral.tcb_info.encode()),
    }


def test_a_certificate_of_the_root_with_another_name_is_refused(sgx, refused) -> None:
    root = sgx.vendor.root
    check(sgx, **signed_anew(sgx, root, sgx.vendor.entry.tcb_signer))
    with refused(Reason.COLLATERAL_SIGNER):
        check(sgx, **signed_anew(sgx, root, "keephold development something else"))


def test_an_expired_certificate_is_refused(sgx, refused) -> None:
    now_s = sgx.now_ns // SECOND
    for from_s, until_s in ((0, now_s - 1), (now_s + 1, now_s + 2)):
        issuer = dataclasses.replace(sgx.vendor.root, from_s=from_s, until_s=until_s)
        with refused(Reason.COLLATERAL_WINDOW):
            check(sgx, **signed_anew(sgx, issuer, sgx.vendor.entry.tcb_signer))


def test_an_authority_has_the_named_name_and_is_one(sgx, refused) -> None:
    root, key = sgx.vendor.root, sgx.vendor.authorities["processor"].key
    named = sgx.vendor.entry.processor_authority
    other = root.subordinate("keephold development other CA", key)
    leaf, _ = root.issue(named, key, {})
    now_s = sgx.now_ns // SECOND
    for pem, issuer in ((other.pem, other), (leaf, root.subordinate(named, key))):
        crl = issuer.revocation_list([], from_s=now_s, until_s=now_s + 100)
        with refused(Reason.COLLATERAL_SIGNER):
            check(sgx, pck_crl_issuer_chain=pem + root.pem, pck_crl=crl)


def test_the_signer_of_each_document_is_judged_by_itself(sgx, refused) -> None:
    fresh = signed_anew(sgx, sgx.vendor.root, "keephold development something else")
    with refused(Reason.COLLATERAL_SIGNER):
        check(sgx, qe_identity_issuer_chain=fresh["tcb_info_issuer_chain"])
    named = signed_anew(sgx, sgx.vendor.root, sgx.vendor.entry.tcb_signer)
    check(sgx, **named)
