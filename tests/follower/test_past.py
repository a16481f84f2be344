"""Who was an enclave once: believed of those whom the law of their time admitted, whatever became of them."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from keephold.base.errors import AttestationRefused, LedgerRefused
from keephold.follower.follow import Follower
from keephold.follower.past import PastRegistration, verify_past
from keephold.follower.view import VerifiedView
from keephold.protocol.evidence import FOREVER, AllowedMeasurement
from keephold.protocol.governance import CommitteeRules, RevokeIdentity, SetAttestation, SetCommittee
from keephold.protocol.state import Registration, registration_path
from keephold.testing.local import named_key

HOUR = 3600 * 10**9


def verified(scene, identity=None) -> PastRegistration:
    async def work() -> PastRegistration:
        follower = Follower([scene.net.remote()], VerifiedView(scene.net.genesis))
        await follower.sync()
        return await verify_past(follower, identity or scene.worker.public)

    return asyncio.run(work())


def test_whoever_is_live_was_admitted(scene) -> None:
    found = verified(scene)
    assert (found.identity, found.proof.claim.role) == (scene.worker.public, "worker")


def test_nobody_was_admitted_without_a_record(scene) -> None:
    with pytest.raises(LedgerRefused) as refused:
        verified(scene, named_key("nobody").public)
    assert refused.value.reason == "not_registered"


def test_a_registration_ordered_later_than_its_quote_allowed(scene, monkeypatch) -> None:
    """Backdated by whoever broke an enclave since: the anchor is old, the block that brought it is not."""
    ordered = scene.net.node.reader.record(registration_path(scene.worker.public), Registration).height
    window = scene.net.genesis.law.attestation.quote_window_ns
    whole = Follower.header

    async def header(self, height: int):
        found = await whole(self, height)
        return dataclasses.replace(found, time_ns=found.time_ns - window) if height < ordered else found

    monkeypatch.setattr(Follower, "header", header)
    with pytest.raises(AttestationRefused, match="ordered later"):
        verified(scene)


def test_a_delisted_build_was_admitted_in_its_time_and_is_not_live(scene) -> None:
    other = AllowedMeasurement(scene.net.genesis.law.attestation.measurements[1].measurement, "gatekeeper", 0, FOREVER)
    policy = replace(scene.net.genesis.law.attestation, measurements=(other,))
    scene.net.govern(SetAttestation(policy))
    scene.step()
    scene.step()
    assert not scene.is_live()
    assert verified(scene).identity == scene.worker.public


def test_a_vendor_that_is_believed_no_more_admits_nobody(scene) -> None:
    law = scene.net.node.application.map.newest.law
    scene.net.govern(SetAttestation(replace(law.attestation, vendors=())))
    scene.step()
    scene.step()
    with pytest.raises(AttestationRefused):
        verified(scene)
    scene.net.govern(SetAttestation(law.attestation))
    scene.step()
    scene.step()
    assert verified(scene).identity == scene.worker.public


def test_the_law_when_a_block_began_is_without_what_it_orders(scene) -> None:
    async def work():
        follower = Follower([scene.net.remote()], VerifiedView(scene.net.genesis))
        await follower.sync()
        return await follower.law()

    scene.net.govern(SetCommittee(CommitteeRules(5, 3, HOUR)))
    scene.step()
    scene.step()
    law = asyncio.run(work())
    ordered_ns = law.entries[-1].enacted_ns
    assert law.at(ordered_ns).committee.seats == 5
    assert law.before(ordered_ns).committee.seats == 1
    assert law.at(ordered_ns - 1).committee.seats == 1
    assert law.before(ordered_ns + 1).committee.seats == 5


def test_the_revoked_never_were(scene) -> None:
    scene.net.govern(RevokeIdentity(scene.worker.public))
    scene.step()
    scene.step()
    with pytest.raises(LedgerRefused) as refused:
        verified(scene)
    assert refused.value.reason == "revoked"
