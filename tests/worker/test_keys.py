"""Keys come from t honest answers of verified gatekeepers on our chain, and from nothing else."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from worker_cast import CONTRACT, NETWORK
from worker_committee import HEADER, HEIGHT, ITEM, MARK, Committee, Desk, entropy, inputs, law, registered

from keephold.base.errors import BadShare, RollbackDetected
from keephold.base.ids import InstanceId
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.custody.secret.release import combine, partial
from keephold.enclave.identity import Instance
from keephold.enclave.vault import ForgetfulVault
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.lines import ChannelLine, ContractLine, SigningLine
from keephold.protocol.marks import Mark
from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import KeyRequest, sign, transaction_id
from keephold.worker.committee import least_threshold, pin, verify_committee
from keephold.worker.floors import reaches
from keephold.worker.keys import MAX_ITEMS, RETRY_SECONDS, KeyDesk
from keephold.worker.readable import Proven

IDENTITY = SigningKey(SecretBytes(b"w" * 32))
CHAIN = {HEIGHT: HEADER}.get
AT_THE_MARK = ContractRecord(
    creator=bytes(32),
    nonce=0,
    code=bytes(32),
    deployment=bytes(32),
    policy=ContractPolicy(),
    phase="active",
    version=MARK.version,
    state_root=MARK.root,
)
PROVEN = Proven(AT_THE_MARK, HEIGHT, HEADER, 1)


@pytest.fixture(autouse=True)
def _the_worker_is_a_real_key(monkeypatch):
    monkeypatch.setattr("worker_committee.WORKER", IDENTITY.public)


@pytest.fixture
def committee() -> Committee:
    return Committee()


@pytest.fixture
def verified(committee):
    return verify_committee(committee.keys, law(2), [registered(key.public) for key in committee.members])


@pytest.fixture
def desk() -> Desk:
    return Desk(KeyDesk(NETWORK, IDENTITY.public), IDENTITY)


def made(desk: Desk, verified, proven: Proven | None = PROVEN):
    return desk.desk.combine(verified, CHAIN, lambda mark, head: reaches(proven, mark, head))


def seed_of(committee: Committee) -> bytes:
    (seed,) = combine([committee.batch(0), committee.batch(1)], committee.keys, inputs([ITEM]))
    return seed.reveal()


def test_t_answers_make_the_key_and_fewer_do_not(committee, verified, desk):
    assert desk.take(committee.release(0, desk))
    assert made(desk, verified) == {}
    assert desk.take(committee.release(2, desk))
    seeds = made(desk, verified)
    assert seeds[ITEM].reveal() == seed_of(committee)
    assert desk.desk.due(desk.instance, 100.0) is None


def test_a_lying_partial_is_worked_around_and_named(committee, verified, desk):
    liar = replace(committee.batch(0), points=committee.batch(1).points)
    desk.take(committee.release(0, desk, batch=liar))
    desk.take(committee.release(1, desk))
    assert made(desk, verified) == {}
    desk.take(committee.release(2, desk))
    assert made(desk, verified)[ITEM].reveal() == seed_of(committee)
    assert desk.desk.lying == {1}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"header": b"f" * 32}, id="another fork's header"),
        pytest.param({"height": HEIGHT + 1}, id="a header we have not reached"),
        pytest.param({"worker": b"v" * 32}, id="to another worker"),
        pytest.param({"names": b"j" * 32}, id="to another instance"),
        pytest.param({"request": b"q" * 32}, id="to a request that is not ours"),
        pytest.param(
            {"instance": Instance(InstanceId(b"s" * 32), EncryptionKey(SecretBytes(b"y" * 32)))}, id="stale instance"
        ),
        pytest.param({"sender": SigningKey(SecretBytes(b"m" * 32))}, id="re-signed by somebody else"),
    ],
)
def test_an_answer_that_is_not_for_us_now_does_not_count(committee, verified, desk, other):
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk, **other))
    assert made(desk, verified) == {}


def test_an_answer_for_another_seat_does_not_count(committee, verified, desk):
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk, batch=committee.batch(2)))
    assert made(desk, verified) == {}


def test_an_unverified_gatekeeper_does_not_count(committee, desk):
    verified = verify_committee(committee.keys, law(2), [registered(key.public) for key in committee.members[:2]])
    desk.take(committee.release(0, desk))
    desk.take(committee.release(2, desk))
    assert made(desk, verified) == {}


def test_an_altered_release_is_ignored(committee, desk):
    identity, raw = committee.release(0, desk)
    assert not desk.take((identity, raw[:-1] + bytes([raw[-1] ^ 1])))
    assert not desk.take((identity, b"noise"))
    assert not desk.desk.heights()


def put_back(version: int, root: bytes = MARK.root, epoch: int = 1, height: int = HEIGHT) -> Proven:
    """What the ledger proves after the gatekeepers looked."""
    return Proven(replace(AT_THE_MARK, version=version, state_root=root, epoch=epoch), height, HEADER, 1)


LATER = Mark(CONTRACT, 1, MARK.version + 1, b"s" * 32)


def test_of_a_contract_that_was_put_back_no_key_is_made(committee, verified, desk):
    for at in (0, 1, 2):
        desk.take(committee.release(at, desk))
    assert made(desk, verified, put_back(4)) == {}
    assert {contract: set(seats) for contract, seats in desk.desk.put_back.items()} == {CONTRACT: {1, 2, 3}}
    assert made(desk, verified, put_back(5, root=b"x" * 32)) == {}
    # It goes on from there, and what was said of it is not said any more.
    assert made(desk, verified, put_back(6, root=b"x" * 32))
    assert not desk.desk.put_back


def test_one_mark_among_the_t_answers_that_came_suffices(committee, verified, desk):
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk, marks=(LATER,)))
    assert made(desk, verified) == {}
    assert {contract: set(seats) for contract, seats in desk.desk.put_back.items()} == {CONTRACT: {2}}


def test_a_gatekeeper_that_names_what_never_was_is_worked_around_and_named(committee, verified, desk):
    desk.take(committee.release(0, desk, marks=(replace(LATER, version=1 << 60),)))
    desk.take(committee.release(1, desk))
    assert made(desk, verified) == {}
    desk.take(committee.release(2, desk))
    assert made(desk, verified)[ITEM].reveal() == seed_of(committee)
    assert set(desk.desk.put_back[CONTRACT]) == {1}


def test_a_record_that_may_still_come_is_waited_for(committee, verified, desk):
    for at in (0, 1):
        desk.take(committee.release(at, desk))
    for proven in (None, put_back(4, height=HEIGHT - 1)):
        assert made(desk, verified, proven) == {}
        assert not desk.desk.put_back
    # Another state of the same version does not become this one.
    assert made(desk, verified, put_back(5, root=b"x" * 32, height=HEIGHT - 1)) == {}
    assert desk.desk.put_back
    assert made(desk, verified, put_back(5, height=HEIGHT - 1))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    at=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    liar=st.tuples(st.integers(0, 2), st.integers(0, 9)),
    shown=st.integers(1, 7),
)
def test_a_key_is_made_where_the_record_has_come_as_far_as_t_saw_it(at, liar, shown):
    """Of three, two make a key and one lies: it is made on nothing that was put back, and the liar stops nobody."""
    committee = Committee()
    verified = verify_committee(committee.keys, law(2), [registered(key.public) for key in committee.members])
    desk = Desk(KeyDesk(NETWORK, IDENTITY.public), IDENTITY)
    seat, claimed = liar
    said = [claimed if seat == index else version for index, version in enumerate(at)]
    for index, version in enumerate(said):
        desk.take(committee.release(index, desk, marks=(Mark(CONTRACT, 1, version, bytes([version]) * 32),)))
    is_made = bool(made(desk, verified, put_back(shown, root=bytes([shown]) * 32)))
    honest = [version for index, version in enumerate(at) if index != seat]
    if is_made:
        assert shown >= min(honest)
    if len(honest) >= 2 and shown >= max(honest):
        assert is_made
    assert is_made == (sum(version <= shown for version in said) >= 2)
    assert {seat - 1 for seat in desk.desk.put_back.get(CONTRACT, ())} == {
        index for index, version in enumerate(said) if version > shown
    }


@pytest.mark.parametrize(
    "marks",
    [
        pytest.param((), id="none"),
        pytest.param((replace(MARK, contract=b"d" * 32),), id="of another contract"),
        pytest.param((MARK, replace(MARK, contract=b"d" * 32)), id="of one more"),
    ],
)
def test_an_answer_without_the_mark_of_what_was_asked_for_does_not_count(committee, verified, desk, marks):
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk, marks=marks))
    assert made(desk, verified) == {}


def test_partials_of_another_sharing_do_not_combine(committee, verified, desk):
    older = Committee(name="one", sharing_epoch=2)
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk, batch=partial(older.shares[1], inputs([ITEM]), entropy)))
    assert made(desk, verified) == {}


def test_what_was_sealed_to_an_earlier_instance_is_dropped_with_it(committee, verified, desk):
    desk.take(committee.release(0, desk))
    desk.take(committee.release(1, desk))
    fresh = Instance(InstanceId(b"2" * 32), EncryptionKey(SecretBytes(b"z" * 32)))
    desk.desk.observe(b"t" * 32, b"anything", fresh)
    assert made(desk, verified) == {}


def test_somebody_elses_request_in_our_name_is_ignored(committee, desk):
    forged = sign(NETWORK, SigningKey(SecretBytes(b"m" * 32)), 0, KeyRequest(desk.instance.id, (ITEM,)))
    desk.desk.observe(transaction_id(forged), forged, desk.instance)
    assert not desk.take(committee.release(0, desk, request=transaction_id(forged)))


def test_keys_are_asked_for_together_and_again_after_a_while():
    desk = KeyDesk(NETWORK, IDENTITY.public)
    instance = Instance.fresh()
    items = [ContractLine(bytes([at]) * 32, 1) for at in range(MAX_ITEMS + 1)]
    for item in items:
        desk.want(item)
    first = desk.due(instance, 0.0)
    assert first.items == tuple(items[:MAX_ITEMS])
    second = desk.due(instance, 0.0)
    assert second.items == (items[MAX_ITEMS],)
    assert desk.due(instance, RETRY_SECONDS / 2) is None
    desk.refused(second)
    assert desk.due(instance, RETRY_SECONDS / 2).items == second.items
    desk.forget(items[0].contract)
    assert items[0] not in desk.due(instance, RETRY_SECONDS).items


def asked_for(desk: KeyDesk, instance: Instance, now: float) -> list[tuple[ContractLine, ...]]:
    requests = []
    while (request := desk.due(instance, now)) is not None:
        requests.append(request.items)
    return requests


def test_one_line_that_is_never_released_keeps_no_other_waiting_for_long():
    desk = KeyDesk(NETWORK, IDENTITY.public)
    instance = Instance.fresh()
    items = [ContractLine(bytes([at]) * 32, 1) for at in range(MAX_ITEMS)]
    bad = items[37]
    for item in items:
        desk.want(item)
    waiting = len(items)
    for at in range(MAX_ITEMS.bit_length()):
        requests = asked_for(desk, instance, at * RETRY_SECONDS)
        assert sum(map(len, requests)) == waiting  # all that is wanted is asked for each time
        assert len(requests) <= 2
        for request in requests:
            if bad not in request:  # then it is answered
                for line in request:
                    desk.forget(line.contract)
        waiting = max(len(request) for request in requests if bad in request)
    assert waiting == 1
    # What nobody answers at all is asked for together again.
    for item in items:
        desk.want(item)
    sizes = [max(map(len, asked_for(desk, instance, (10 + at) * RETRY_SECONDS))) for at in range(8)]
    assert sizes == [63, 32, 16, 8, 4, 2, 1, 63]


def test_answers_to_what_nobody_waits_for_any_more_are_dropped(committee, verified, desk):
    desk.take(committee.release(0, desk))
    desk.desk.forget(CONTRACT)
    assert made(desk, verified) == {}
    assert not desk.desk.heights()


def test_keys_of_epochs_that_ended_are_asked_for_no_more():
    desk = KeyDesk(NETWORK, IDENTITY.public)
    contract, other = b"c" * 32, b"d" * 32
    channels = [ChannelLine(other, 1, contract, 1), ChannelLine(contract, 3, other, 1)]
    for line in (*(ContractLine(contract, epoch) for epoch in (1, 2, 3)), ContractLine(other, 1), *channels):
        desk.want(line)
    desk.want(SigningLine(contract))
    desk.keep(contract, (2, 3))
    instance = Instance(InstanceId(b"i" * 32), EncryptionKey.generate())
    request = desk.due(instance, 0.0)
    kept = {SigningLine(contract), ContractLine(contract, 2), ContractLine(contract, 3)}
    assert set(request.items) == kept | {ContractLine(other, 1)}
    # Channels by themselves, those of past epochs too: what is wanted of them is said anew with each block.
    assert set(desk.due(instance, 0.0).items) == set(channels)
    desk.want_channels(frozenset(channels[:1]))
    assert desk.due(instance, RETRY_SECONDS) is not None
    assert desk.due(instance, RETRY_SECONDS).items == tuple(channels[:1])
    desk.refused(request)
    desk.forget(contract)
    assert desk.due(instance, 9.0).items == (ContractLine(other, 1),)


def test_a_committee_needs_t_verified_members(committee):
    with pytest.raises(BadShare, match="1 of 2"):
        verify_committee(committee.keys, law(2), [registered(committee.members[0].public)])


def test_a_worker_is_no_gatekeeper(committee):
    members = [registered(key.public, "worker") for key in committee.members]
    with pytest.raises(BadShare):
        verify_committee(committee.keys, law(2), members)


def test_a_threshold_below_what_governance_signed_is_refused():
    small = Committee(n=1, t=1)
    members = [registered(small.members[0].public)]
    with pytest.raises(BadShare, match="threshold 1"):
        verify_committee(small.keys, law(2), members)
    assert verify_committee(small.keys, law(2, 1), members).seat_of(small.members[0].public) == 1
    assert least_threshold(law(3, 2, 4)) == 2


@pytest.mark.parametrize("seat", [1, 2, 3])
def test_a_made_up_public_share_is_found_out(committee, seat):
    members = [registered(key.public) for key in committee.members]
    with pytest.raises(BadShare):
        verify_committee(committee.with_share(seat, 5), law(2), members)


def test_a_master_key_that_the_shares_do_not_make_is_refused(committee):
    members = [registered(key.public) for key in committee.members]
    with pytest.raises(BadShare):
        verify_committee(replace(committee.keys, master=Committee(name="two").keys.master), law(2), members)
    with pytest.raises(BadShare, match="group element"):
        verify_committee(replace(committee.keys, master=b"\xff" * 32), law(2), members)


def test_a_member_seated_twice_is_refused(committee):
    seats = committee.keys.seats
    twice = replace(committee.keys, seats=(seats[0], replace(seats[1], member=seats[0].member), seats[2]))
    with pytest.raises(BadShare, match="twice"):
        verify_committee(twice, law(2), [registered(key.public) for key in committee.members])


def test_the_master_key_is_pinned_at_first_sight(committee):
    vault = ForgetfulVault()
    pin(vault, committee.keys)
    pin(vault, committee.keys)
    with pytest.raises(RollbackDetected):
        pin(vault, Committee(name="two").keys)


def test_a_committee_is_succeeded_under_the_same_master_key_and_never_comes_back(committee):
    vault = ForgetfulVault()
    pin(vault, committee.keys)
    pin(vault, replace(committee.keys, sharing_epoch=3))
    pin(vault, replace(committee.keys, sharing_epoch=3))
    for older in (committee.keys, replace(committee.keys, sharing_epoch=2)):
        with pytest.raises(RollbackDetected, match="sharing epoch"):
            pin(vault, older)
    with pytest.raises(RollbackDetected, match="master key"):
        pin(vault, replace(Committee(name="two").keys, sharing_epoch=4))
