"""What validators could write into a contract's record, refused by whoever is about to seal something to its keys.

The record of each test is proven as far as anybody can see: the lie is the map's, as if all validators colluded.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from keephold.base.errors import LedgerRefused, NoLiveWorker, ProofInvalid
from keephold.base.ids import NetworkId, PublicKey
from keephold.crypto.entity import EntityKeys
from keephold.follower.contracts import check_identity, verify_contract, verify_deployment
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations
from keephold.follower.view import ProvenValues, VerifiedView
from keephold.protocol.codec import encode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import Deploy, sign, transaction_id
from keephold.testing.local import named_key

OTHER = EntityKeys.generate()


@pytest.fixture
def record(scene) -> ContractRecord:
    found = scene.net.node.reader.record(contract_path(scene.contract), ContractRecord)
    assert found is not None
    return found


@pytest.fixture
def collude(scene, monkeypatch):
    """Have every follower find this record at the contract's path."""
    honest = Follower.prove

    def told(lie: ContractRecord) -> None:
        async def prove(self, paths, at_least=0):
            true = await honest(self, paths, at_least)
            path = contract_path(scene.contract)
            values = {key: encode(lie) if key == path else value for key, value in true.values.items()}
            return ProvenValues._mint(
                height=true.height, header_hash=true.header_hash, time_ns=true.time_ns, values=values
            )

        monkeypatch.setattr(Follower, "prove", prove)

    return told


def verify(scene, work=verify_contract):
    async def synced():
        follower = Follower([scene.net.remote()], VerifiedView(scene.net.genesis))
        await follower.sync()
        return await work(follower, scene.contract)

    return asyncio.run(synced())


def test_an_honest_record_is_believed(scene, record, collude) -> None:
    collude(record)
    assert verify(scene).encryption_key == record.encryption_key


@pytest.mark.parametrize(
    "keys",
    [{"signing_key": OTHER.signing.public}, {"encryption_key": OTHER.encryption.public}],
    ids=["signing", "encryption"],
)
def test_keys_that_nobody_published(scene, record, collude, keys) -> None:
    collude(replace(record, **keys))
    with pytest.raises(ProofInvalid, match="not the published ones"):
        verify(scene)


def test_keys_that_another_worker_published(scene, record, collude) -> None:
    (publication,) = record.publications
    collude(replace(record, publications=(replace(publication, worker=named_key("eve").public),)))
    with pytest.raises(ProofInvalid, match="not that worker's"):
        verify(scene)


def test_a_publication_that_is_another_transaction(scene, record, collude) -> None:
    (publication,) = record.publications
    collude(replace(record, publications=(replace(publication, transaction=record.deployment),)))
    with pytest.raises(ProofInvalid, match="not that worker's"):
        verify(scene)


def test_keys_published_for_another_epoch(scene, record, collude) -> None:
    collude(replace(record, epoch=record.epoch + 1))
    with pytest.raises(ProofInvalid, match="another contract or epoch"):
        verify(scene)


def test_a_deployment_that_is_another_transaction(scene, record, collude) -> None:
    collude(replace(record, deployment=record.publications[0].transaction))
    with pytest.raises(ProofInvalid, match="not the creator's"):
        verify(scene, verify_deployment)


@pytest.fixture
def served(monkeypatch):
    """Have nodes serve these transactions too: their ids are their hashes, whether or not they were ever ordered."""
    honest = Follower.transactions

    def serve(*raws: bytes) -> None:
        async def transactions(self, ids):
            more = {transaction_id(raw): raw for raw in raws}
            return await honest(self, ids) | {key: more[key] for key in ids if key in more}

        monkeypatch.setattr(Follower, "transactions", transactions)

    return serve


@pytest.mark.parametrize(
    "change",
    [{"code": Code("python", b"class Other: ...", "Other", b"{}")}, {"policy": ContractPolicy(level=5)}],
    ids=["code", "policy"],
)
def test_a_second_deployment_that_the_creator_signed(scene, record, collude, served, change) -> None:
    first = Deploy(verify(scene, verify_deployment).code, record.policy)
    raw = sign(scene.net.network, scene.alice, record.nonce, replace(first, **change))
    served(raw)
    collude(replace(record, deployment=transaction_id(raw)))
    with pytest.raises(ProofInvalid, match="other code or another policy"):
        verify(scene, verify_deployment)


@pytest.mark.parametrize("nonce", [0, 1], ids=["sender", "nonce"])
def test_the_same_deployment_by_another_or_later(scene, record, collude, served, nonce: int) -> None:
    first = Deploy(verify(scene, verify_deployment).code, record.policy)
    raw = sign(scene.net.network, scene.alice if nonce else named_key("eve"), nonce, first)
    served(raw)
    collude(replace(record, deployment=transaction_id(raw)))
    with pytest.raises(ProofInvalid, match="not the creator's"):
        verify(scene, verify_deployment)


def test_a_deployment_that_nobody_has(scene, record, collude) -> None:
    collude(replace(record, deployment=bytes(32)))
    with pytest.raises(ProofInvalid, match="does not have"):
        verify(scene, verify_deployment)


@pytest.mark.parametrize(
    "lie",
    [{"code": bytes(32)}, {"policy": ContractPolicy(level=5)}, {"creator": OTHER.signing.public}, {"nonce": 7}],
    ids=["code", "policy", "creator", "nonce"],
)
def test_what_the_id_is_the_hash_of(scene, record, collude, lie) -> None:
    collude(replace(record, **lie))
    with pytest.raises(ProofInvalid, match="behind the contract's id"):
        verify(scene)


def test_an_id_holds_on_its_own_network_only(scene, record) -> None:
    with pytest.raises(ProofInvalid):
        check_identity(scene.contract, record, NetworkId(bytes(32)))


def test_a_publisher_that_is_not_assigned_any_more(scene, record, collude) -> None:
    collude(replace(record, workers=(PublicKey(named_key("eve").public),)))
    with pytest.raises(NoLiveWorker, match="not assigned any more"):
        verify(scene)


@pytest.mark.parametrize(("finding", "reason"), [("level", "level"), ("role", "wrong_role")])
def test_a_publisher_that_is_no_worker_of_the_level_asked_for(scene, record, monkeypatch, finding, reason) -> None:
    honest = Registrations.verify

    async def verified(self, identity, *, at_least=0):
        found = await honest(self, identity, at_least=at_least)
        if finding == "level":
            found = minted(found, proof=minted(found.proof, level=record.policy.level + 1))
        else:
            found = minted(found, record=replace(found.record, role="gatekeeper"))
        return found

    monkeypatch.setattr(Registrations, "verify", verified)
    with pytest.raises(NoLiveWorker, match=reason):
        verify(scene)


def minted(made, **changes):
    """Return a copy of a verdict with another finding."""
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return type(made)._mint(**{**fields, **changes})


def test_keys_without_any_publication(scene, record, collude) -> None:
    collude(replace(record, publications=()))
    with pytest.raises(NoLiveWorker, match="nobody published"):
        verify(scene)


@pytest.mark.parametrize(("phase", "reason"), [("keying", "contract_not_active"), ("rotating", "rotating")])
def test_only_an_active_contract_is_sealed_to(scene, record, collude, phase: str, reason: str) -> None:
    collude(replace(record, phase=phase))
    with pytest.raises(LedgerRefused, match=reason):
        verify(scene)


def test_collateral_that_is_another_transaction(scene, record, monkeypatch) -> None:
    async def elsewhere(self, evidence):
        return replace(await honest(self, evidence), transaction=record.deployment)

    honest = Registrations._collateral
    monkeypatch.setattr(Registrations, "_collateral", elsewhere)

    async def judge(follower, _):
        return await Registrations(follower).verify(scene.worker.public)

    with pytest.raises(ProofInvalid, match="collateral's transaction"):
        verify(scene, judge)
