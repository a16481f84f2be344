"""Who was a worker when a block was ordered: judged by the law and the collateral of then, whatever came after."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from keephold.base.errors import AttestationRefused, BadSignature, LedgerRefused, ProofInvalid
from keephold.follower.admission import Admissions, Admitted
from keephold.follower.follow import Follower
from keephold.follower.nodes import Nodes
from keephold.follower.view import VerifiedView
from keephold.protocol.evidence import FOREVER, AllowedMeasurement
from keephold.protocol.governance import RevokeIdentity, SetAttestation
from keephold.protocol.state import ContractRecord, Registration, contract_path, registration_path
from keephold.protocol.transactions import sign, transaction_id
from keephold.testing.adversaries import Colluders
from keephold.testing.local import LocalNetwork, named_key

HOUR = 3600 * 10**9


@pytest.fixture
def scene(tmp_path):
    from tests.follower.conftest import Scene

    net = LocalNetwork(tmp_path)
    net.open_node()
    made = Scene(net)
    made.play()
    yield made
    net.kill_node()


def record(scene) -> Registration:
    return scene.net.node.reader.record(registration_path(scene.worker.public), Registration)


def ordered_ns(scene) -> int:
    """Time of the block that ordered the result."""
    return scene.net.node.engine.block(scene.result).signed.header.time_ns


async def asked(scene, question):
    follower = Follower([scene.net.remote()], VerifiedView(scene.net.genesis))
    await follower.sync()
    return await question(Admissions(follower))


def backer(scene, at_ns: int | None = None, **changes) -> Admitted:
    """Judge the vote behind the contract's state as the record says, or as it does with changes."""
    (backing,) = scene.net.node.reader.record(contract_path(scene.contract), ContractRecord).settled
    backing = replace(backing, **{name: value for name, value in changes.items() if name != "identity"})
    identity = changes.get("identity", scene.worker.public)

    def question(admissions: Admissions):
        return admissions.backer(identity, backing.registration, backing.judged_by, at_ns or ordered_ns(scene))

    return asyncio.run(asked(scene, question))


def voter(scene, at_ns: int | None = None, identity=None) -> Admitted:
    who = identity or scene.worker.public
    return asyncio.run(asked(scene, lambda admissions: admissions.voter(who, at_ns or ordered_ns(scene))))


def test_who_voted_is_told_with_what_its_evidence_shows(scene) -> None:
    found = backer(scene)
    assert (found.identity, found.proof.claim.role, found.proof.level) == (scene.worker.public, "worker", 1)
    assert voter(scene).identity == scene.worker.public


def test_evidence_is_judged_once_and_the_law_not_for_every_vote(scene, monkeypatch) -> None:
    asked_for = []
    whole = Nodes.ask
    monkeypatch.setattr(Nodes, "ask", lambda self, question: asked_for.append(1) or whole(self, question))

    async def question(admissions: Admissions):
        found = [await admissions.voter(scene.worker.public, ordered_ns(scene))]
        before = len(asked_for)
        found += [await admissions.voter(scene.worker.public, ordered_ns(scene) + at) for at in range(100)]
        assert len(asked_for) == before
        return found

    assert len(set(map(id, asyncio.run(asked(scene, question))))) == 1


def test_lapsed_since_is_no_objection_and_lapsed_before_is(scene) -> None:
    assert backer(scene, record(scene).lease_ns - 1)
    with pytest.raises(LedgerRefused, match="lease_lapsed"):
        backer(scene, record(scene).lease_ns + 1)
    with pytest.raises(LedgerRefused, match="lease_lapsed"):
        voter(scene, record(scene).lease_ns + 1)


def test_revoked_since_is_no_objection_and_revoked_before_is(scene) -> None:
    scene.net.govern(RevokeIdentity(scene.worker.public))
    scene.step()
    scene.step()
    assert not scene.is_live()
    assert backer(scene).identity == scene.worker.public
    with pytest.raises(LedgerRefused, match="revoked"):
        backer(scene, scene.net.node.application.map.newest.time_ns + 1)


def test_delisted_since_is_no_objection_and_delisted_before_is(scene) -> None:
    policy = scene.net.genesis.law.attestation
    other = AllowedMeasurement(policy.measurements[1].measurement, "gatekeeper", 0, FOREVER)
    scene.net.govern(SetAttestation(replace(policy, measurements=(other,))))
    scene.step()
    scene.step()
    assert not scene.is_live()
    assert backer(scene).identity == scene.worker.public
    with pytest.raises(AttestationRefused):
        backer(scene, scene.net.node.application.map.newest.time_ns + 1)


def test_nobody_is_admitted_by_somebody_elses_registration(scene) -> None:
    for identity in (named_key("eve").public, scene.alice.public):
        with pytest.raises(LedgerRefused, match="attestation"):
            backer(scene, identity=identity)
    with pytest.raises(LedgerRefused, match="not_registered"):
        voter(scene, identity=named_key("eve").public)


def test_what_is_no_registration_or_no_collateral_admits_nobody(scene) -> None:
    with pytest.raises(LedgerRefused, match="attestation"):
        backer(scene, registration=scene.calls[0])
    with pytest.raises(LedgerRefused, match="attestation"):
        backer(scene, judged_by=scene.calls[0])
    with pytest.raises(ProofInvalid):
        backer(scene, registration=b"x" * 32)
    with pytest.raises(ProofInvalid):
        backer(scene, judged_by=b"x" * 32)


def test_a_registration_that_the_rules_refused_admits_nobody(scene) -> None:
    """Validators order what they like; that it was refused is part of the block."""
    puppet = named_key("puppet")
    raw = sign(scene.net.network, puppet, 0, scene.registration())
    Colluders(scene.net.node).order(raw)
    scene.step()
    with pytest.raises(LedgerRefused, match="refused"):
        backer(scene, registration=transaction_id(raw), identity=puppet.public)


def test_evidence_that_binds_somebody_else_admits_nobody(scene, monkeypatch) -> None:
    """Even if all validators say that it was accepted: an honest worker's quote under another name."""
    puppet, operator = named_key("puppet"), named_key("operator")
    body = scene.registration()
    stolen = replace(body, operator_signature=operator.sign(_operator(), scene.net.network, puppet.public, b"worker"))
    forged = replace(body, operator_signature=bytes(64))
    whole = Follower.locate

    async def accepted(self, ids):
        found = await whole(self, ids)
        for located in found.values():
            object.__setattr__(located, "result", replace(located.result, code=0))
        return found

    monkeypatch.setattr(Follower, "locate", accepted)
    for registration, error in ((stolen, AttestationRefused), (forged, BadSignature)):
        raw = sign(scene.net.network, puppet, 0, registration)
        Colluders(scene.net.node).order(raw)
        scene.step()
        with pytest.raises(error):
            backer(scene, registration=transaction_id(raw), identity=puppet.public)


def test_a_registration_ordered_later_than_its_quote_allowed(scene, monkeypatch) -> None:
    window, height = scene.net.genesis.law.attestation.quote_window_ns, record(scene).height
    whole = Follower.header

    async def header(self, at: int):
        found = await whole(self, at)
        return dataclasses.replace(found, time_ns=found.time_ns - window) if at < height else found

    monkeypatch.setattr(Follower, "header", header)
    with pytest.raises(AttestationRefused, match="ordered later"):
        backer(scene)


def _operator():
    from keephold.crypto.labels import SIGN_OPERATOR

    return SIGN_OPERATOR
