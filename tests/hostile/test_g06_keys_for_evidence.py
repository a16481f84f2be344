"""G6. Validators that all collude own the map. Still no key goes to anything that no vendor's hardware signed for."""

from __future__ import annotations

import asyncio

import hostile_chain
import pytest
from msgspec.structs import replace

from keephold.base.errors import AttestationRefused, BadSignature, KeepholdError, LedgerRefused, ProofInvalid
from keephold.base.ids import InstanceId, TransactionId
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.entity import EntityKeys
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import ForgetfulVault
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations, open_register
from keephold.follower.view import VerifiedView
from keephold.gatekeeper.marks import Marks
from keephold.gatekeeper.requests import Request, justify, paths
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.genesis import network_id
from keephold.protocol.governance import GovernanceRecord
from keephold.protocol.lines import ContractLine
from keephold.protocol.state import ContractRecord, Registration, contract_path, governance_path, registration_path
from keephold.protocol.transactions import Register, sign, transaction_id
from keephold.testing.adversaries import Colluders, same_names
from keephold.testing.local import LocalNetwork, named_key
from keephold.testing.vendor import SgxBuild


def gatekeeper_answers(chain, worker=None, instance: bytes | None = None):
    """What an honest gatekeeper makes of a request, on the chain that it is shown."""

    async def work():
        follower = Follower([chain.net.remote()], VerifiedView(chain.net.genesis))
        await follower.sync()
        identity = (worker or chain.worker).public
        items = (ContractLine(chain.contract, 1),)
        request = Request(TransactionId(bytes(32)), identity, InstanceId(instance or chain.instance), items, 3)
        contracts = await follower.prove(paths(request), request.height + 1)
        registration = await Registrations(follower).verify(identity, at_least=contracts.height)
        return justify(request, contracts, registration, Marks(ForgetfulVault()), chain.net.network)

    return asyncio.run(work())


def contract_of(chain) -> ContractRecord:
    return chain.net.node.reader.record(contract_path(chain.contract), ContractRecord)


def registration_of(chain) -> Registration:
    return chain.net.node.reader.record(registration_path(chain.worker.public), Registration)


def test_the_honest_case_is_answered(chain) -> None:
    assert gatekeeper_answers(chain).registration.identity == chain.worker.public


def puppet_registration(chain, puppet, keys: EntityKeys, **changes) -> bytes:
    """A registration by somebody without an enclave, with an honest worker's quote."""
    operator = named_key("operator of eve")
    body = replace(
        chain.registration(),
        operator=operator.public,
        operator_signature=operator.sign(SIGN_OPERATOR, chain.net.network, puppet.public, b"worker"),
        encryption_key=keys.encryption.public,
        **changes,
    )
    return sign(chain.net.network, puppet, 0, body)


def test_a_worker_that_validators_invented_gets_no_key(chain) -> None:
    puppet, keys = named_key("puppet"), EntityKeys.generate()
    raw = puppet_registration(chain, puppet, keys)
    colluders = Colluders(chain.net.node)
    colluders.order(raw)
    record = replace(
        registration_of(chain),
        identity=puppet.public,
        operator=named_key("operator of eve").public,
        encryption_key=keys.encryption.public,
        transaction=transaction_id(raw),
    )
    colluders.prove(
        {
            registration_path(puppet.public): record,
            contract_path(chain.contract): replace(contract_of(chain), workers=(puppet.public,)),
        }
    )
    with pytest.raises(AttestationRefused) as refused:
        gatekeeper_answers(chain, puppet)
    assert refused.value.reason == "report_data"


@pytest.mark.parametrize(
    "changes",
    [
        {"encryption_key": bytes(1216)},
        {"operator": bytes(32)},
        {"instance": b"x" * 32},
        {"role": "gatekeeper"},
        {"transaction": bytes(32)},
    ],
)
def test_an_honest_workers_record_altered_is_no_registration(chain, changes) -> None:
    """Least of all one with another key to seal to."""
    Colluders(chain.net.node).prove(
        {registration_path(chain.worker.public): replace(registration_of(chain), **changes)}
    )
    with pytest.raises(ProofInvalid):
        gatekeeper_answers(chain, instance=changes.get("instance"))


def test_a_record_of_another_identity_is_not_believed(chain) -> None:
    """The honest worker's record, offered as somebody else's."""
    eve = named_key("eve")
    Colluders(chain.net.node).prove(
        {
            registration_path(eve.public): registration_of(chain),
            contract_path(chain.contract): replace(contract_of(chain), workers=(eve.public,)),
        }
    )
    with pytest.raises(ProofInvalid, match="another identity"):
        gatekeeper_answers(chain, eve)


def test_code_or_policy_changed_behind_a_contract_is_noticed(chain) -> None:
    record = contract_of(chain)
    for lie in (
        replace(record, code=bytes(32)),
        replace(record, policy=ContractPolicy(level=5)),
        replace(record, creator=named_key("eve").public),
    ):
        Colluders(chain.net.node).prove({contract_path(chain.contract): lie})
        with pytest.raises(ProofInvalid):
            gatekeeper_answers(chain)


def test_a_measurement_list_that_governance_did_not_widen_stays_as_it_is(chain, monkeypatch) -> None:
    """A build of the attacker's, on real hardware, and validators that would let it in."""
    chain.worker = named_key("build of eve")
    monkeypatch.setattr(hostile_chain, "WORKER", SgxBuild.named("evil"))
    body: Register = chain.registration()
    raw = sign(chain.net.network, chain.worker, 0, body)
    colluders = Colluders(chain.net.node)
    colluders.order(raw)
    record = replace(
        _template(chain),
        identity=chain.worker.public,
        operator=body.operator,
        encryption_key=body.encryption_key,
        instance=body.instance,
        transaction=transaction_id(raw),
    )
    colluders.prove(
        {
            registration_path(chain.worker.public): record,
            contract_path(chain.contract): replace(contract_of(chain), workers=(chain.worker.public,)),
        }
    )
    with pytest.raises(AttestationRefused) as refused:
        gatekeeper_answers(chain)
    assert refused.value.reason == "measurement"


def _template(chain) -> Registration:
    now = chain.net.node.application.map.newest.time_ns
    return Registration(
        identity=bytes(32),
        role="worker",
        operator=bytes(32),
        instance=bytes(32),
        encryption_key=bytes(1216),
        transaction=bytes(32),
        level=1,
        measurement=bytes(32),
        platform=bytes(32),
        vendor=chain.net.vendor.name,
        collateral=bytes(32),
        judged_by=bytes(32),
        height=3,
        lease_ns=now + 10**12,
    )


def test_a_history_of_governance_that_does_not_hash_to_its_head_is_refused(chain) -> None:
    """They can say that there is more law than there is; they cannot show it."""
    Colluders(chain.net.node).prove({governance_path(): GovernanceRecord(1, bytes(32))})
    with pytest.raises(ProofInvalid):
        gatekeeper_answers(chain)


def test_a_worker_is_not_suspended_for_nothing_but_never_released_to_when_it_is(chain) -> None:
    """What they can do: refuse."""
    record = contract_of(chain)
    Colluders(chain.net.node).prove({contract_path(chain.contract): replace(record, suspended=(chain.worker.public,))})
    with pytest.raises(LedgerRefused, match="not_assigned"):
        gatekeeper_answers(chain)


def test_what_was_judged_by_collateral_that_has_expired_is_judged_again(chain) -> None:
    """Who withholds newer collateral keeps nobody's evidence alive: not with those who judged it in time, either."""

    async def work():
        follower = Follower([chain.net.remote()], VerifiedView(chain.net.genesis))
        await follower.sync()
        registrations = Registrations(follower)
        found = await registrations.verify(chain.worker.public)
        law = (await follower.law()).at(found.time_ns)
        register = open_register(found.record, await raw_of(follower, found), chain.worker.public, chain.net.network)

        async def judged(now_ns: int):
            return await registrations._judge(chain.worker.public, found.record, register, law, now_ns)

        until_ns = found.proof.until_ns
        assert (await judged(until_ns - 1)).proof is found.proof
        with pytest.raises(AttestationRefused) as refused:
            await judged(until_ns)
        assert refused.value.reason == "collateral_window"

    asyncio.run(work())


async def raw_of(follower, found) -> bytes:
    return (await follower.transactions([found.record.transaction]))[found.record.transaction]


def test_a_quote_for_a_network_of_the_same_names_is_no_quote_for_this_one(chain, tmp_path) -> None:
    """The enclave is fed a genesis of the attacker's, with every name, vendor and measurement of the real one."""
    twin = ValidatorKey(SecretBytes(b"t" * 32))
    theirs = same_names(chain.net.genesis, validator=twin.public, governor=named_key("eve").public)
    assert theirs.name == chain.net.genesis.name
    assert theirs.law.attestation == chain.net.genesis.law.attestation
    assert network_id(theirs) != chain.net.network
    other = LocalNetwork(tmp_path / "twin")
    object.__setattr__(other, "genesis", theirs)
    object.__setattr__(other, "validator", twin)
    object.__setattr__(other, "network", network_id(theirs))
    other.directory.mkdir()
    other.open_node()
    try:
        made = hostile_chain.Scene(other)
        made.worker = chain.worker
        made.play()
        # (1) A follower of the real network does not follow theirs; (2) nor the other way round.
        for genesis, net in ((chain.net.genesis, other), (theirs, chain.net)):
            with pytest.raises(KeepholdError):
                asyncio.run(Follower([net.remote()], VerifiedView(genesis)).sync())
        # (3) What their enclave attested is a claim for their network, (4) whatever the operator signs afterwards.
        theirs_signed = made.registration()
        operator = named_key("operator")
        ours_signed = replace(
            theirs_signed,
            operator_signature=operator.sign(SIGN_OPERATOR, chain.net.network, chain.worker.public, b"worker"),
        )
        for nonce, body, error, word in (
            (3, theirs_signed, BadSignature, "operator"),
            (4, ours_signed, AttestationRefused, "report_data"),
        ):
            raw = sign(chain.net.network, chain.worker, nonce, body)
            colluders = Colluders(chain.net.node)
            colluders.order(raw)
            record = replace(
                registration_of(chain),
                instance=body.instance,
                encryption_key=body.encryption_key,
                transaction=transaction_id(raw),
            )
            colluders.prove({registration_path(chain.worker.public): record})
            with pytest.raises(error, match=word):
                gatekeeper_answers(chain, instance=body.instance)
    finally:
        other.kill_node()
