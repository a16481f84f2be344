"""The page about collateral: each command runs on a devnet, against a caching service of the development vendor."""

from __future__ import annotations

import json
import time

import pytest

from keephold.client.collateral import bundle_of, parse_bundle
from keephold.protocol.evidence import CollateralSubject
from keephold.testing.pccs import answers_for, pccs
from keephold.testing.vendor import DevelopmentVendor

FMSPC = bytes.fromhex("b0c06f000000")


@pytest.mark.slow
def test_every_command_of_the_page_runs(place, devnet, page):
    show, check, submit, fetch = page("operate/collateral.md").commands()
    vendor = DevelopmentVendor.create_or_load(place.home / "development")
    as_vendor = f" --vendor {vendor.name}"

    def served(age_s: int) -> dict:
        collateral = vendor.collateral(
            now_ns=(int(time.time()) - age_s) * 10**9, tee="tdx", authority="platform", fmspc=FMSPC
        )
        return answers_for(collateral, CollateralSubject(vendor.name, "tdx", "platform", FMSPC))

    # (1) Of the kind that live enclaves are, which the devnet brings by itself.
    deadline = time.monotonic() + 240
    while "sgx processor" not in (said := place.run(show)):
        assert time.monotonic() < deadline, said
        time.sleep(0.2)
    assert "holds until" in said
    place.run(check)
    # (2) Of another kind: from the service, and onto the ledger.
    with pccs(served(7200)) as url:
        place.run(fetch.replace("http://127.0.0.1:8081", url) + as_vendor)
    assert parse_bundle((place.directory / "tdx.json").read_bytes(), vendor.name).root_ca_crl
    assert "NONE that holds" in place.run(show.replace("show", "show tdx.json") + as_vendor)
    assert place.run(submit + as_vendor) == "tdx.json: brought\n"
    assert "tdx platform b0c06f000000: holds until" in place.run(show.replace("show", "show tdx.json") + as_vendor)
    # (3) The same again is left alone, newer replaces it, older is refused.
    assert json.loads(place.run(f"{submit}{as_vendor} --json"))["files"] == [{"file": "tdx.json", "brought": False}]
    place.run("cp tdx.json old.json")
    with pccs(served(3600)) as url:
        place.run(fetch.replace("http://127.0.0.1:8081", url) + as_vendor)
    assert place.run(submit + as_vendor) == "tdx.json: brought\n"
    refused = f"{submit.replace('tdx.json', 'old.json')}{as_vendor} 2>&1; test $? -eq 5"
    assert "collateral_rollback" in place.run(refused)
    # (4) What is about to expire fails the check that a timer makes.
    expiring = vendor.collateral(
        now_ns=(int(time.time()) - 600) * 10**9, tee="tdx", authority="processor", fmspc=FMSPC, lifetime_s=86_400
    )
    (place.directory / "soon.json").write_bytes(bundle_of(expiring))
    place.run(submit.replace("tdx.json", "soon.json") + as_vendor)
    said = place.run(check.replace("--check", "soon.json --check") + as_vendor + "; test $? -eq 10")
    assert "WARNING" in said
