"""Registrations and contracts judged by whoever relies on them: each step refuses what only it can see."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from msgspec.structs import replace

from keephold.attestation.verify import unverified_subject
from keephold.base.errors import (
    AttestationRefused,
    BadSignature,
    LedgerRefused,
    NoLiveWorker,
    ProofInvalid,
)
from keephold.follower import trust
from keephold.follower.contracts import check_identity, verify_contract
from keephold.follower.follow import Follower
from keephold.follower.law import Law
from keephold.follower.trust import Registrations, check_standing, claim_of, judge, open_register
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import decode, encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.evidence import FOREVER, AllowedMeasurement, collateral_key
from keephold.protocol.state import (
    CollateralRecord,
    ContractRecord,
    Registration,
    collateral_path,
    contract_path,
    registration_path,
)
from keephold.protocol.transactions import Echo, Register, UpdateCollateral, open_signed, sign
from keephold.protocol.wire import FoundTransactions, TransactionsRequest
from keephold.testing.local import named_key

HOUR = 3600 * 10**9


def follower(scene) -> Follower:
    return Follower([scene.net.remote()], VerifiedView(scene.net.genesis))


def run(coroutine):
    return asyncio.run(coroutine)


async def synced(scene, work):
    made = follower(scene)
    await made.sync()
    return await work(made)


def test_a_registration_is_verified_from_the_genesis(scene) -> None:
    found = run(synced(scene, lambda f: Registrations(f).verify(scene.worker.public)))
    assert (found.identity, found.instance, found.level) == (scene.worker.public, scene.instance, 1)
    assert found.encryption_key == scene.keys.encryption.public
    assert found.proof.is_simulated


def test_evidence_is_judged_once_for_a_registration(scene, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(trust, "judge", lambda *arguments: calls.append(1) or judge(*arguments))

    async def twice(made) -> None:
        registrations = Registrations(made)
        await registrations.verify(scene.worker.public)
        await registrations.verify(scene.worker.public)

    run(synced(scene, twice))
    assert calls == [1]


def test_nobody_is_registered_without_a_record(scene) -> None:
    with pytest.raises(LedgerRefused, match="not_registered"):
        run(synced(scene, lambda f: Registrations(f).verify(named_key("nobody").public)))


def test_a_transaction_of_other_bytes_is_not_the_registration(scene) -> None:
    async def lied_to(made) -> None:
        def tamper(name: str, answer: bytes) -> bytes:
            if name != "transactions":
                return answer
            found = decode(answer, FoundTransactions).found
            forged = sign(scene.net.network, named_key("eve"), 0, scene.registration())
            return encode(FoundTransactions(tuple(replace(item, raw=forged) for item in found)))

        made.remote.tamper = tamper
        await Registrations(made).verify(scene.worker.public)

    with pytest.raises(ProofInvalid, match="does not have"):
        run(synced(scene, lied_to))


# --- the steps by themselves ---


def record(scene) -> Registration:
    return scene.net.node.reader.record(registration_path(scene.worker.public), Registration)


def raw_of(scene, identity: bytes) -> bytes:
    (found,) = scene.net.node.reader.transactions(TransactionsRequest((identity,))).found
    return found.raw


def signed(scene, **changes) -> bytes:
    return sign(scene.net.network, scene.worker, 0, replace(registered(scene), **changes))


def registered(scene) -> Register:
    body = open_signed(raw_of(scene, record(scene).transaction), scene.net.network).body
    assert isinstance(body, Register)
    return body


@pytest.mark.parametrize("field", ["role", "operator", "instance", "encryption_key"])
def test_the_transaction_says_what_the_record_says(scene, field: str) -> None:
    other = {"role": "gatekeeper", "operator": bytes(32), "instance": bytes(32), "encryption_key": bytes(1216)}
    raw = signed(scene, **{field: other[field]})
    with pytest.raises(ProofInvalid, match="something else"):
        open_register(record(scene), raw, scene.worker.public, scene.net.network)


def test_the_operator_signed_for_this_identity(scene) -> None:
    eve = named_key("eve")
    raw = signed(scene, operator_signature=eve.sign(trust.SIGN_OPERATOR, b"anything"))
    with pytest.raises(BadSignature):
        open_register(record(scene), raw, scene.worker.public, scene.net.network)


def test_a_registration_of_somebody_else_is_not_this_one(scene) -> None:
    raw = raw_of(scene, record(scene).transaction)
    with pytest.raises(ProofInvalid):
        open_register(record(scene), raw, named_key("eve").public, scene.net.network)
    with pytest.raises(ProofInvalid, match="another identity"):
        open_register(replace(record(scene), identity=bytes(32)), raw, scene.worker.public, scene.net.network)
    stolen = sign(scene.net.network, named_key("eve"), 0, registered(scene))
    with pytest.raises(ProofInvalid):
        open_register(record(scene), stolen, scene.worker.public, scene.net.network)


def test_a_transaction_that_is_no_registration(scene) -> None:
    raw = sign(scene.net.network, scene.worker, 0, Echo(bytes(32)))
    with pytest.raises(ProofInvalid, match="is not one"):
        open_register(record(scene), raw, scene.worker.public, scene.net.network)


def test_a_role_that_does_not_exist(scene) -> None:
    with pytest.raises(LedgerRefused, match="wrong_role"):
        claim_of(scene.net.network, scene.worker.public, replace(registered(scene), role="validator"))


def judged(scene, register: Register | None = None, **changes):
    register = register or registered(scene)
    path = collateral_path(collateral_key(unverified_subject(registered(scene).evidence)))
    by = scene.net.node.reader.record(path, CollateralRecord)
    collateral = open_signed(raw_of(scene, by.transaction), scene.net.network).body
    assert isinstance(collateral, UpdateCollateral)
    view = scene.view(scene.top)
    arguments = {
        "identity": scene.worker.public,
        "register": register,
        "collateral": collateral,
        "judged_by": by,
        "anchor": view.header(register.anchor_height),
        "law": scene.net.genesis.law,
        "network": scene.net.network,
        "now_ns": view.time_ns,
    }
    return judge(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"instance": bytes(32)}, "report_data"),
        ({"encryption_key": bytes(1216)}, "report_data"),
        ({"operator": bytes(32)}, "report_data"),
        ({"role": "gatekeeper"}, "report_data"),
        ({"anchor_height": 1}, "report_data"),
    ],
)
def test_evidence_binds_every_field(scene, changes, reason: str) -> None:
    with pytest.raises(AttestationRefused) as refused:
        judged(scene, replace(registered(scene), **changes))
    assert refused.value.reason == reason


def test_an_anchor_that_is_not_on_our_chain(scene) -> None:
    with pytest.raises(AttestationRefused) as refused:
        judged(scene, anchor=scene.view(scene.top).header(scene.top))
    assert refused.value.reason == "anchor"


def test_an_anchor_of_the_right_height_is_still_another_block(scene) -> None:
    ours = scene.view(scene.top).header(registered(scene).anchor_height)
    with pytest.raises(AttestationRefused) as refused:
        judged(scene, anchor=dataclasses.replace(ours, app_hash=bytes(32)))
    assert refused.value.reason == "anchor"


def test_a_quote_whose_hardware_did_not_sign(scene) -> None:
    evidence = registered(scene).evidence
    quote = bytearray(evidence.quote)
    quote[400] ^= 1
    with pytest.raises(AttestationRefused):
        judged(scene, replace(registered(scene), evidence=replace(evidence, quote=bytes(quote))))


def test_collateral_below_the_floor_of_the_ledger(scene) -> None:
    floor = CollateralRecord(bytes(32), replace(judged(scene).proof.floor, tcb_evaluation=99))
    with pytest.raises(AttestationRefused) as refused:
        judged(scene, judged_by=floor)
    assert refused.value.reason == "collateral_rollback"


def test_what_depends_on_the_moment(scene) -> None:
    law, found, now = scene.net.genesis.law, judged(scene), scene.view(scene.top).time_ns
    check_standing(record(scene), found, law, now)
    with pytest.raises(LedgerRefused, match="lease_lapsed"):
        check_standing(record(scene), found, law, record(scene).lease_ns)
    with pytest.raises(LedgerRefused, match="lease_lapsed"):
        check_standing(replace(record(scene), status="lapsed"), found, law, now)
    with pytest.raises(LedgerRefused, match="revoked"):
        check_standing(replace(record(scene), status="revoked"), found, law, now)
    with pytest.raises(LedgerRefused, match="revoked"):
        check_standing(record(scene), found, replace(law, revoked=(scene.worker.public,)), now)
    nothing = replace(law, attestation=replace(law.attestation, measurements=()))
    with pytest.raises(AttestationRefused, match="measurement"):
        check_standing(record(scene), found, nothing, now)


def minted(made, **changes):
    """Return a copy of a verdict with other findings: what a verifier without one of its checks would say."""
    fields = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    return type(made)._mint(**{**fields, **changes})


@pytest.mark.parametrize("role", ["worker", "gatekeeper"])
def test_a_gatekeeper_needs_a_better_level_than_a_worker(scene, role: str) -> None:
    law, found, now = scene.net.genesis.law, judged(scene), scene.view(scene.top).time_ns
    allowed = (AllowedMeasurement(found.proof.measurement, role),)
    law = replace(law, attestation=replace(law.attestation, measurements=allowed))

    def standing(level: int) -> None:
        proof = minted(found.proof, level=level, claim=replace(found.proof.claim, role=role))
        check_standing(record(scene), minted(found, proof=proof), law, now)

    standing(law.attestation.gatekeeper_max_level)
    if role == "worker":
        standing(5)
    else:
        with pytest.raises(AttestationRefused, match="level"):
            standing(law.attestation.gatekeeper_max_level + 1)


def test_the_law_of_the_moment_is_asked_each_time(scene, monkeypatch) -> None:
    """What evidence showed is remembered; revoked since, it counts for nothing."""

    async def work(made: Follower):
        registrations = Registrations(made)
        await registrations.verify(scene.worker.public)
        honest = Law.at
        monkeypatch.setattr(Law, "at", lambda self, ns: replace(honest(self, ns), revoked=(scene.worker.public,)))
        await registrations.verify(scene.worker.public)

    with pytest.raises(LedgerRefused, match="revoked"):
        run(synced(scene, work))


def test_a_record_cannot_stretch_a_lease_beyond_what_the_quote_allows(scene) -> None:
    stretched = replace(record(scene), lease_ns=FOREVER)
    with pytest.raises(LedgerRefused, match="lease_lapsed"):
        check_standing(stretched, judged(scene), scene.net.genesis.law, scene.net.genesis.time_ns + 3 * HOUR)


# --- contracts ---


def contract(scene) -> ContractRecord:
    return scene.net.node.reader.record(contract_path(scene.contract), ContractRecord)


def test_a_contract_is_verified_with_an_argument(scene) -> None:
    found = run(synced(scene, lambda f: verify_contract(f, scene.contract)))
    assert found.encryption_key == scene.contract_keys.encryption.public
    assert found.signing_key == scene.contract_keys.signing.public
    assert found.code.name == "Token"
    assert found.is_simulated
    (voucher,) = found.vouchers
    assert voucher.is_same_instance
    text = str(found.argument)
    assert scene.contract.hex() in text
    assert "SIMULATES" in text
    assert scene.net.network.hex()[:16] in text


def test_an_unknown_contract(scene) -> None:
    with pytest.raises(LedgerRefused, match="unknown_contract"):
        run(synced(scene, lambda f: verify_contract(f, bytes(32))))


@pytest.mark.parametrize(
    "changes", [{"code": bytes(32)}, {"policy": ContractPolicy(level=5)}, {"creator": bytes(32)}, {"nonce": 9}]
)
def test_a_record_of_other_code_or_policy_is_not_the_contracts(scene, changes) -> None:
    check_identity(scene.contract, contract(scene), scene.net.network)
    with pytest.raises(ProofInvalid):
        check_identity(scene.contract, replace(contract(scene), **changes), scene.net.network)


def test_keys_without_a_verifiable_publisher_are_not_used(scene, monkeypatch) -> None:
    async def unverified(self, identity, *, at_least=0):
        raise AttestationRefused("measurement", "delisted")

    monkeypatch.setattr(Registrations, "verify", unverified)
    with pytest.raises(NoLiveWorker, match="delisted"):
        run(synced(scene, lambda f: verify_contract(f, scene.contract)))


def test_headers_far_below_are_reached_by_walking_back(scene) -> None:
    async def walk(made):
        assert made.view.header(2) is None
        return await made.header_hash(2)

    assert run(synced(scene, walk)) == scene.net.node.engine.block(2).signed.header.hash()
