"""G1. Whoever puts his own key in the place of a contract's could read every call: nobody's word for a key is taken."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from keephold.base.errors import AttestationRefused, LedgerRefused, NoLiveWorker, ProofInvalid
from keephold.crypto.entity import EntityKeys
from keephold.follower import contracts
from keephold.follower.contracts import verify_contract
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations, VerifiedRegistration
from keephold.follower.view import VerifiedView
from keephold.protocol.state import ContractRecord, Publication, contract_path
from keephold.protocol.transactions import Echo, PublishKey, sign, transaction_id
from keephold.protocol.wire import TransactionsRequest
from keephold.testing.adversaries import Colluders
from keephold.testing.local import named_key


def record_of(chain) -> ContractRecord:
    return chain.net.node.reader.record(contract_path(chain.contract), ContractRecord)


def verified(chain):
    async def work():
        follower = Follower([chain.net.remote()], VerifiedView(chain.net.genesis))
        await follower.sync()
        return await verify_contract(follower, chain.contract)

    return asyncio.run(work())


def test_validators_that_put_their_own_key_on_record_are_found_out(chain) -> None:
    assert verified(chain).encryption_key == chain.contract_keys.encryption.public
    theirs = EntityKeys.generate()
    lie = replace(record_of(chain), signing_key=theirs.signing.public, encryption_key=theirs.encryption.public)
    Colluders(chain.net.node).prove({contract_path(chain.contract): lie})
    with pytest.raises(ProofInvalid, match="not the published ones"):
        verified(chain)


def test_a_key_published_by_a_worker_that_nobody_attested_vouches_for_nothing(chain) -> None:
    """They invent worker, publication and assignment; a quote they cannot invent."""
    theirs, puppet = EntityKeys.generate(), named_key("puppet")
    body = PublishKey(chain.contract, 1, bytes(32), theirs.signing.public, theirs.encryption.public)
    raw = sign(chain.net.network, puppet, 0, body)
    colluders = Colluders(chain.net.node)
    colluders.order(raw)
    lie = replace(
        record_of(chain),
        signing_key=theirs.signing.public,
        encryption_key=theirs.encryption.public,
        workers=(puppet.public,),
        publications=(Publication(puppet.public, transaction_id(raw), bytes(32)),),
    )
    colluders.prove({contract_path(chain.contract): lie})
    with pytest.raises(NoLiveWorker, match="not_registered"):
        verified(chain)


def test_a_lying_node_without_the_deployment_or_publication_is_refused(chain) -> None:
    record = record_of(chain)
    for field, name in (("deployment", "deployment"), ("publications", "publication")):
        missing = bytes(32) if field == "deployment" else (replace(record.publications[0], transaction=bytes(32)),)
        Colluders(chain.net.node).prove({contract_path(chain.contract): replace(record, **{field: missing})})
        with pytest.raises(ProofInvalid, match=name):
            verified(chain)


# --- one step at a time ---


def published(chain, record: ContractRecord, raw: bytes | None = None):
    (publication,) = record.publications
    (found,) = chain.net.node.reader.transactions(TransactionsRequest((publication.transaction,))).found
    raws = {publication.transaction: raw or found.raw}
    return contracts._published(chain.contract, record, publication, raws, chain.net.network)


@pytest.mark.parametrize("field", ["signing_key", "encryption_key", "epoch"])
def test_a_publication_says_what_is_on_record(chain, field: str) -> None:
    record = record_of(chain)
    assert isinstance(published(chain, record), PublishKey)
    other = {"signing_key": bytes(32), "encryption_key": bytes(1216), "epoch": 2}
    with pytest.raises(ProofInvalid):
        published(chain, replace(record, **{field: other[field]}))


def test_a_publication_is_its_workers_own(chain) -> None:
    record = record_of(chain)
    body = published(chain, record)
    with pytest.raises(ProofInvalid, match="that worker"):
        published(chain, record, sign(chain.net.network, named_key("eve"), 0, body))
    with pytest.raises(ProofInvalid, match="that worker"):
        published(chain, record, sign(chain.net.network, chain.worker, 0, Echo(bytes(32))))


def test_who_vouches_is_assigned_a_worker_and_good_enough(chain) -> None:
    record = record_of(chain)
    (publication,) = record.publications
    body = published(chain, record)

    async def vouch(altered: ContractRecord, role: str = "worker"):
        follower = Follower([chain.net.remote()], VerifiedView(chain.net.genesis))
        await follower.sync()
        found = await Registrations(follower).verify(chain.worker.public)
        kept = replace(found.record, role=role)
        made = VerifiedRegistration._mint(record=kept, proof=found.proof, height=found.height, time_ns=found.time_ns)

        class Trusted:
            async def verify(self, identity, *, at_least=0):
                return made

        return await contracts._voucher(Trusted(), altered, publication, body, 1)

    assert asyncio.run(vouch(record)).is_same_instance
    with pytest.raises(LedgerRefused, match="not_assigned"):
        asyncio.run(vouch(replace(record, workers=())))
    with pytest.raises(LedgerRefused, match="wrong_role"):
        asyncio.run(vouch(record, "gatekeeper"))
    with pytest.raises(AttestationRefused, match="level"):
        asyncio.run(vouch(replace(record, policy=replace(record.policy, level=0))))


def test_a_contract_that_is_not_active_is_not_called(chain) -> None:
    for phase in ("keying", "waiting", "suspended"):
        Colluders(chain.net.node).prove({contract_path(chain.contract): replace(record_of(chain), phase=phase)})
        with pytest.raises(LedgerRefused, match="contract_not_active"):
            verified(chain)
