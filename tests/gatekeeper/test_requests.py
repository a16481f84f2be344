"""Who gets keys: one refusal for each step of the argument, and the answer that only the asking instance opens."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from keephold.attestation.verify import VerifiedIdentity
from keephold.base.errors import (
    AttestationRefused,
    EncodingError,
    LedgerRefused,
    ProofInvalid,
    RollbackDetected,
    SealBroken,
    StaleAnswer,
)
from keephold.base.ids import ContractId, InstanceId, NetworkId, PublicKey, TransactionId
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.signing import SigningKey
from keephold.enclave.vault import ForgetfulVault
from keephold.follower.proofs import OrderedTransaction
from keephold.follower.trust import VerifiedRegistration
from keephold.follower.view import ProvenValues
from keephold.gatekeeper import requests
from keephold.gatekeeper.marks import Marks
from keephold.gatekeeper.requests import MAX_ITEMS, MAX_PENDING, Justified, Queue, Request, answer, open_request, paths
from keephold.protocol.channel import Channel, Draining
from keephold.protocol.codec import encode
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.evidence import Claim
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, SigningLine, parties
from keephold.protocol.marks import mark_of
from keephold.protocol.state import ContractRecord, Registration, Rotation, channel_path, contract_path
from keephold.protocol.transactions import Echo, KeyRequest, sign, transaction_id
from keephold.sealing.release import ReleaseContext, open_partials

NETWORK = NetworkId(hashlib.sha256(b"network").digest())
WORKER, GATEKEEPER, CREATOR = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
INSTANCE, ENCRYPTION = InstanceId(bytes(31) + b"\x07"), EncryptionKey.generate()
CODE = code_hash(Code("python", b"class Token: ...", "Token", b"{}"))
POLICY = ContractPolicy(level=2)
CONTRACT = contract_id(NETWORK, CREATOR.public, 3, CODE, POLICY)
RECORD = ContractRecord(CREATOR.public, 3, CODE, bytes(32), POLICY, "keying", 1, (WORKER.public,))
REQUEST = Request(
    TransactionId(bytes(31) + b"\x01"), PublicKey(WORKER.public), INSTANCE, (ContractLine(CONTRACT, 1),), height=10
)


def proven(record: ContractRecord | None = RECORD, height: int = 11, contract: ContractId = CONTRACT) -> ProvenValues:
    values = {contract_path(contract): None if record is None else encode(record)}
    return ProvenValues._mint(height=height, header_hash=bytes(31) + b"\x02", time_ns=1, values=values)


def registered(*, level: int = 2, role: str = "worker", instance: bytes = INSTANCE, height: int = 11, key=WORKER):
    claim = Claim(NETWORK, role, key.public, ENCRYPTION.public, bytes(32), instance, 1, bytes(32))
    identity = VerifiedIdentity._mint(
        claim=claim,
        level=level,
        measurement=bytes(32),
        platform=bytes(32),
        vendor=None,
        subject=None,
        floor=None,
        until_ns=1 << 62,
    )
    record = Registration(
        identity=key.public,
        role=role,
        operator=bytes(32),
        instance=instance,
        encryption_key=ENCRYPTION.public,
        transaction=bytes(32),
        level=1,
        measurement=bytes(32),
        platform=bytes(32),
        vendor="v",
        collateral=bytes(32),
        judged_by=bytes(32),
        height=1,
        lease_ns=9,
    )
    return VerifiedRegistration._mint(record=record, proof=identity, height=height, time_ns=1)


def justify(request: Request, contracts: ProvenValues, registration, network, marks: Marks | None = None) -> Justified:
    """As a gatekeeper that has seen nothing yet does, unless it has."""
    seen = Marks(ForgetfulVault()) if marks is None else marks
    return requests.justify(request, contracts, registration, seen, network)


def test_an_assigned_live_worker_is_justified() -> None:
    justified = justify(REQUEST, proven(), registered(), NETWORK)
    assert (justified.request, justified.height) == (REQUEST, 11)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "unknown_contract"),
        (replace(RECORD, workers=()), "not_assigned"),
        (replace(RECORD, workers=(GATEKEEPER.public,)), "not_assigned"),
        (replace(RECORD, suspended=(WORKER.public,)), "not_assigned"),
        (replace(RECORD, epoch=2), "wrong_epoch"),
        (replace(RECORD, phase="waiting"), "contract_not_active"),
        (replace(RECORD, phase="refused"), "contract_not_active"),
        (replace(RECORD, phase="suspended"), "contract_not_active"),
    ],
)
def test_a_contract_that_is_not_the_workers(record, reason: str) -> None:
    with pytest.raises(LedgerRefused) as refused:
        justify(REQUEST, proven(record), registered(), NETWORK)
    assert refused.value.reason == reason


ROTATING = replace(RECORD, phase="rotating", rotation=(Rotation(2),))
BEGUN = replace(RECORD, phase="active", epoch=2)


def asked(*epochs: int) -> Request:
    items = tuple(ContractLine(CONTRACT, epoch) for epoch in epochs)
    return Request(REQUEST.id, REQUEST.worker, INSTANCE, items, REQUEST.height)


def test_while_the_epoch_changes_both_keys_are_released_to_the_assigned() -> None:
    for request in (asked(1), asked(2), asked(1, 2)):
        assert justify(request, proven(ROTATING), registered(), NETWORK).request == request
    justify(asked(2), proven(BEGUN), registered(), NETWORK)


@pytest.mark.parametrize(
    ("record", "epoch", "reason"),
    [
        (ROTATING, 3, "wrong_epoch"),
        (RECORD, 2, "wrong_epoch"),
        # The old one never again, asked for alone or beside the new one.
        (BEGUN, 1, "wrong_epoch"),
        (replace(ROTATING, epoch=2, rotation=(Rotation(3),)), 1, "wrong_epoch"),
        # The excluded are assigned nothing: neither drains nor migrates, and neither takes the next one.
        (replace(ROTATING, workers=(GATEKEEPER.public,)), 1, "not_assigned"),
        (replace(ROTATING, workers=(GATEKEEPER.public,)), 2, "not_assigned"),
        (replace(ROTATING, suspended=(WORKER.public,)), 2, "not_assigned"),
    ],
)
def test_an_epoch_that_is_not_open_to_the_asker(record, epoch: int, reason: str) -> None:
    for request in (asked(epoch), asked(*sorted({epoch, record.epoch}))):
        with pytest.raises(LedgerRefused) as refused:
            justify(request, proven(record), registered(), NETWORK)
        assert refused.value.reason == reason


# --- the other lines ---

SIGNING = SigningLine(CONTRACT)
PEER = contract_id(NETWORK, CREATOR.public, 4, CODE, ContractPolicy(level=5))
PEERS = ContractRecord(CREATOR.public, 4, CODE, bytes(32), ContractPolicy(level=5), "active", 3, (CREATOR.public,))


def asked_for(line: KeyLine) -> Request:
    return Request(REQUEST.id, REQUEST.worker, INSTANCE, (line,), REQUEST.height)


@pytest.mark.parametrize("record", [RECORD, ROTATING, BEGUN])
def test_the_signing_seed_goes_to_the_assigned_in_every_epoch(record) -> None:
    assert justify(asked_for(SIGNING), proven(record), registered(), NETWORK).request.items == (SIGNING,)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "unknown_contract"),
        (replace(RECORD, workers=(GATEKEEPER.public,)), "not_assigned"),
        (replace(RECORD, suspended=(WORKER.public,)), "not_assigned"),
        (replace(ROTATING, workers=(GATEKEEPER.public,)), "not_assigned"),
        (replace(RECORD, phase="refused"), "contract_not_active"),
        (replace(RECORD, phase="waiting"), "contract_not_active"),
    ],
)
def test_the_signing_seed_goes_to_nobody_else(record, reason: str) -> None:
    with pytest.raises(LedgerRefused) as refused:
        justify(asked_for(SIGNING), proven(record), registered(), NETWORK)
    assert refused.value.reason == reason


def test_the_signing_seed_asks_for_the_contracts_level_and_code() -> None:
    with pytest.raises(AttestationRefused, match="level"):
        justify(asked_for(SIGNING), proven(), registered(level=3), NETWORK)
    with pytest.raises(ProofInvalid):
        justify(asked_for(SIGNING), proven(replace(RECORD, nonce=4)), registered(), NETWORK)


def both(mine: ContractRecord = RECORD, theirs: ContractRecord = PEERS, waiting: Channel | None = None) -> ProvenValues:
    """Return the proven records of both ends, and what waits in either direction."""
    values = {contract_path(CONTRACT): encode(mine), contract_path(PEER): encode(theirs)}
    waits = None if waiting is None else encode(waiting)
    values |= {channel_path(CONTRACT, PEER): waits, channel_path(PEER, CONTRACT): waits}
    return ProvenValues._mint(height=11, header_hash=bytes(31) + b"\x02", time_ns=1, values=values)


CHANNELS = [ChannelLine(CONTRACT, 1, PEER, 3), ChannelLine(PEER, 3, CONTRACT, 1)]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_goes_to_the_workers_of_either_end(channel) -> None:
    told = channel_path(ContractId(channel.source), ContractId(channel.target))
    assert set(paths(asked_for(channel))) == {contract_path(CONTRACT), contract_path(PEER), told}
    justify(asked_for(channel), both(), registered(), NETWORK)
    # The level that counts is the one asked for by the contract through which it comes.
    theirs = replace(PEERS, workers=(WORKER.public,))
    justify(asked_for(channel), both(replace(RECORD, workers=()), theirs), registered(level=5), NETWORK)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize(
    ("mine", "theirs", "reason"),
    [
        (replace(RECORD, workers=()), PEERS, "not_assigned"),
        (replace(RECORD, suspended=(WORKER.public,)), PEERS, "not_assigned"),
        (replace(RECORD, epoch=2), PEERS, "wrong_epoch"),
        (RECORD, replace(PEERS, epoch=2), "wrong_epoch"),
        (replace(RECORD, phase="refused"), PEERS, "contract_not_active"),
    ],
)
def test_a_channel_that_is_not_open_to_the_asker(channel, mine, theirs, reason: str) -> None:
    with pytest.raises(LedgerRefused) as refused:
        justify(asked_for(channel), both(mine, theirs), registered(), NETWORK)
    assert refused.value.reason == reason


@pytest.mark.parametrize("channel", CHANNELS)
def test_the_other_ends_epoch_may_have_passed_and_the_other_end_be_idle(channel) -> None:
    for theirs in (replace(PEERS, epoch=4), replace(PEERS, phase="waiting")):
        justify(asked_for(channel), both(theirs=theirs), registered(), NETWORK)


def test_a_channel_that_drains_goes_to_the_workers_of_later_epochs_and_no_further() -> None:
    channel, later = CHANNELS[0], replace(RECORD, epoch=2)
    waiting = Channel((Draining(1, 3, 1),))
    justify(asked_for(channel), both(later, waiting=waiting), registered(), NETWORK)
    for elsewhere in (Channel((Draining(2, 3, 1),)), Channel((Draining(1, 2, 1),)), Channel()):
        with pytest.raises(LedgerRefused):
            justify(asked_for(channel), both(later, waiting=elsewhere), registered(), NETWORK)
    # Draining or not, an epoch has to have come, and the asker to be assigned.
    ahead = ChannelLine(CONTRACT, 1, PEER, 4)
    with pytest.raises(LedgerRefused, match="wrong_epoch"):
        justify(asked_for(ahead), both(waiting=Channel((Draining(1, 4, 1),))), registered(), NETWORK)
    with pytest.raises(LedgerRefused, match="not_assigned"):
        justify(asked_for(channel), both(replace(later, workers=()), waiting=waiting), registered(), NETWORK)
    # Of what nothing is proven, nothing is believed.
    values = {path: value for path, value in both(later).values.items() if path in map(contract_path, (CONTRACT, PEER))}
    unproven = ProvenValues._mint(height=11, header_hash=bytes(31) + b"\x02", time_ns=1, values=values)
    with pytest.raises(LedgerRefused, match="wrong_phase"):
        justify(asked_for(channel), unproven, registered(), NETWORK)


def test_a_channel_needs_both_contracts_to_be_what_they_say() -> None:
    with pytest.raises(ProofInvalid):
        justify(asked_for(CHANNELS[0]), both(theirs=replace(PEERS, nonce=9)), registered(), NETWORK)
    with pytest.raises(LedgerRefused, match="unknown_contract"):
        justify(asked_for(CHANNELS[0]), proven(), registered(), NETWORK)


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, code=hashlib.sha256(b"other code").digest()),
        replace(RECORD, policy=ContractPolicy(level=5)),
        replace(RECORD, creator=WORKER.public),
        replace(RECORD, nonce=4),
    ],
)
def test_code_or_policy_behind_the_id_cannot_be_changed(record) -> None:
    with pytest.raises(ProofInvalid):
        justify(REQUEST, proven(record), registered(), NETWORK)


@pytest.mark.parametrize(
    ("registration", "reason"),
    [
        (registered(role="gatekeeper"), "wrong_role"),
        (registered(instance=bytes(32)), "superseded"),
        (registered(key=CREATOR), "not_registered"),
        (registered(height=10), "wrong_phase"),
    ],
)
def test_a_registration_that_is_not_the_askers(registration, reason: str) -> None:
    with pytest.raises(LedgerRefused) as refused:
        justify(REQUEST, proven(), registration, NETWORK)
    assert refused.value.reason == reason


def test_the_level_judged_here_counts_not_the_records() -> None:
    assert registered(level=3).record.level == 1
    with pytest.raises(AttestationRefused) as refused:
        justify(REQUEST, proven(), registered(level=3), NETWORK)
    assert refused.value.reason == "level"


def test_a_state_from_before_the_request_proves_nothing() -> None:
    with pytest.raises(LedgerRefused):
        justify(REQUEST, proven(height=10), registered(), NETWORK)


def test_nothing_is_released_for_a_contract_that_was_put_back() -> None:
    marks = Marks(ForgetfulVault())
    later = replace(RECORD, version=3, state_root=b"r" * 32)
    assert justify(REQUEST, proven(later, height=20), registered(height=20), NETWORK, marks).marks == (
        mark_of(CONTRACT, later),
    )
    for shown in (RECORD, replace(later, state_root=b"x" * 32)):
        with pytest.raises(RollbackDetected):
            justify(REQUEST, proven(shown, height=21), registered(height=21), NETWORK, marks)
    # A header from before shows what was: that is no answer, and no rollback.
    with pytest.raises(StaleAnswer):
        justify(REQUEST, proven(height=19), registered(height=21), NETWORK, marks)
    justify(REQUEST, proven(replace(later, version=4), height=21), registered(height=21), NETWORK, marks)
    assert marks.of(CONTRACT).version == 4


def test_what_is_refused_for_another_reason_leaves_no_mark() -> None:
    marks = Marks(ForgetfulVault())
    with pytest.raises(LedgerRefused):
        justify(REQUEST, proven(replace(RECORD, workers=(), version=9)), registered(), NETWORK, marks)
    assert not len(marks)


def test_either_end_of_a_channel_that_was_put_back_refuses_it() -> None:
    marks = Marks(ForgetfulVault())
    channel = CHANNELS[0]
    answered = justify(asked_for(channel), both(theirs=replace(PEERS, version=2)), registered(), NETWORK, marks)
    assert [mark.contract for mark in answered.marks] == [party.contract for party in parties(channel)]
    with pytest.raises(RollbackDetected):
        justify(asked_for(channel), both(theirs=replace(PEERS, version=1)), registered(), NETWORK, marks)


def test_one_bad_item_refuses_the_whole_request() -> None:
    request = Request(REQUEST.id, REQUEST.worker, INSTANCE, (*REQUEST.items, ContractLine(bytes(32), 1)), 10)
    with pytest.raises(LedgerRefused) as refused:
        justify(request, proven(), registered(), NETWORK)
    assert refused.value.reason == "unknown_contract"


def test_nobody_makes_a_justified_request_but_justify() -> None:
    with pytest.raises(TypeError):
        type(justify(REQUEST, proven(), registered(), NETWORK))(REQUEST, registered(), 1, b"")


def ordered(body, key=WORKER) -> OrderedTransaction:
    raw = sign(NETWORK, key, 0, body)
    return OrderedTransaction(transaction_id(raw), 0, raw)


def test_a_request_is_opened_with_its_signature() -> None:
    item = ordered(KeyRequest(INSTANCE, REQUEST.items))
    assert open_request(item, 10, NETWORK).worker == WORKER.public
    broken = item._replace(raw=item.raw[:-1] + bytes([item.raw[-1] ^ 1]))
    with pytest.raises(Exception, match=r"sign|canonical"):
        open_request(broken, 10, NETWORK)
    with pytest.raises(EncodingError):
        open_request(ordered(Echo(bytes(32))), 10, NETWORK)


@pytest.mark.parametrize(
    "items", [(), (ContractLine(CONTRACT, 1),) * 2, tuple(ContractLine(CONTRACT, n + 1) for n in range(MAX_ITEMS + 1))]
)
def test_requests_are_bounded_and_distinct(items) -> None:
    with pytest.raises(LedgerRefused):
        open_request(ordered(KeyRequest(INSTANCE, items)), 10, NETWORK)


def test_the_queue_keeps_each_request_once_and_not_too_many() -> None:
    queue = Queue()
    first = ordered(KeyRequest(INSTANCE, REQUEST.items))
    queue.offer(first, 10, NETWORK)
    queue.offer(first, 10, NETWORK)
    queue.offer(ordered(Echo(bytes(32))), 10, NETWORK)
    (request,) = queue.take()
    queue.offer(first, 10, NETWORK)
    assert len(queue) == 0
    queue.put_back(request)
    for epoch in range(MAX_PENDING + 5):
        queue.offer(ordered(KeyRequest(INSTANCE, (ContractLine(CONTRACT, epoch + 1),))), 10, NETWORK)
    assert len(queue) == MAX_PENDING


def test_the_answer_opens_for_the_asking_instance_only(lone_share) -> None:
    justified = justify(REQUEST, proven(), registered(), NETWORK)
    release = answer(justified, lone_share, GATEKEEPER.public, NETWORK, lambda size: bytes(range(size)))
    context = ReleaseContext(NETWORK, GATEKEEPER.public, REQUEST.worker, INSTANCE, REQUEST.id)
    plain = open_partials(ENCRYPTION, context, release.sealed)
    assert (plain.height, plain.header_hash, plain.batch.seat) == (11, bytes(31) + b"\x02", 1)
    assert plain.marks == (mark_of(CONTRACT, RECORD),)
    for other in (
        context._replace(instance=InstanceId(bytes(32))),
        context._replace(request=TransactionId(bytes(32))),
        context._replace(gatekeeper=EntityKeys.generate().signing.public),
        context._replace(network=NetworkId(bytes(32))),
    ):
        with pytest.raises(SealBroken):
            open_partials(ENCRYPTION, other, release.sealed)
