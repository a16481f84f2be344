"""Collateral as files and from a caching service: what was signed arrives character by character, or is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.attestation.collateral import verify_collateral
from keephold.base.errors import InputError, NodeUnreachable
from keephold.client.collateral import bundle_of, parse_bundle
from keephold.client.pccs import fetch
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import CollateralFloor, CollateralSubject
from keephold.testing.pccs import answers_for, pccs
from keephold.testing.vendor import DevelopmentVendor

NOW = 1_800_000_000 * 10**9
FMSPC = bytes.fromhex("b0c06f000000")
VENDOR = DevelopmentVendor(SecretBytes(b"v" * 32))
SUBJECT = CollateralSubject(VENDOR.name, "tdx", "platform", FMSPC)
COLLATERAL = VENDOR.collateral(now_ns=NOW, tee="tdx", authority="platform", fmspc=FMSPC)
QUOTES = Path(__file__).parents[3] / "shared" / "fixtures" / "quotes"


def fetched(url):
    return fetch(url, vendor=VENDOR.name, tee="tdx", authority="platform", fmspc=FMSPC)


def test_a_file_holds_what_was_put_in():
    assert parse_bundle(bundle_of(COLLATERAL), VENDOR.name) == COLLATERAL


@pytest.mark.parametrize("name", ["sgx", "tdx"])
def test_the_form_is_that_of_real_collateral(name):
    path = QUOTES / f"{name}_quote_collateral.json"
    if not path.exists():
        pytest.skip("no fixtures here")
    collateral = parse_bundle(path.read_bytes(), "intel")
    assert json.loads(bundle_of(collateral)) == json.loads(path.read_bytes())


@given(st.binary(max_size=200))
def test_a_file_of_anything_is_a_bundle_or_the_one_error(raw):
    with pytest.raises(InputError):
        parse_bundle(raw, "intel")


@pytest.mark.parametrize("change", [{"root_ca_crl": "0"}, {"pck_crl": "xy"}, {"more": ""}, {"tcb_info": 1}])
def test_a_file_with_a_wrong_part_is_refused(change):
    fields = json.loads(bundle_of(COLLATERAL)) | change
    with pytest.raises(InputError):
        parse_bundle(json.dumps(fields).encode(), VENDOR.name)


def test_what_a_service_tells_verifies_and_is_what_the_vendor_signed():
    with pccs(answers_for(COLLATERAL, SUBJECT)) as url:
        told = fetched(url)
    assert told == COLLATERAL
    assert verify_collateral(told, VENDOR.policy(), CollateralFloor(), now_ns=NOW).subject == SUBJECT


ANSWERS = dict(zip(("pckcrl", "rootcacrl", "tcb", "qe"), answers_for(COLLATERAL, SUBJECT), strict=True))
FLAWS = [
    pytest.param(path, flaw, id=f"{flaw}-{name}")
    for flaw in ("missing", "huge", "garbage", "bare")
    for name, path in ANSWERS.items()
    if flaw != "bare" or name != "rootcacrl"  # the root's list comes without a chain: there is none to leave out
]


@pytest.mark.parametrize(("path", "flaw"), FLAWS)
def test_a_service_that_answers_something_else_is_one_of_two_errors(path, flaw):
    answers = dict(answers_for(COLLATERAL, SUBJECT))
    body, headers = answers.pop(path)
    if flaw != "missing":
        body = {"huge": b"0" * 200_000, "garbage": b"\xff{", "bare": body}[flaw]
        answers[path] = body, headers if flaw != "bare" else {}
    with pccs(answers) as url, pytest.raises(NodeUnreachable if flaw == "missing" else InputError):
        fetched(url)


def test_no_service_is_unavailable():
    with pccs({}) as url:
        pass
    with pytest.raises(NodeUnreachable):
        fetched(url)
