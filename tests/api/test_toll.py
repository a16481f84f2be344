"""What is costly to judge comes at a pace: by sender, by address, and nothing else pays."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.api import toll
from keephold.api.machine import MachineApi
from keephold.api.toll import ADDRESS, COSTLY, PEER, SENDER, Buckets, Pace, Toll
from keephold.base.ids import NetworkId
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.custody import DkgVerdict
from keephold.protocol.governance import Proposal, RevokeIdentity, SignedProposal
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Deploy, Govern, RevokePermits, sign
from keephold.protocol.wire import Submission, Verdicts

NETWORK = NetworkId(b"n" * 32)


def key(number: int) -> SigningKey:
    return SigningKey(SecretBytes(number.to_bytes(32, "big")))


def costly(sender: SigningKey, nonce: int, network: bytes = NETWORK) -> bytes:
    action = Govern(SignedProposal(Proposal(network, 1, RevokeIdentity(b"i" * 32)), ()))
    return sign(NetworkId(network), sender, nonce, action)


class Watch:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0

    def now_ns(self) -> int:
        return int(self.now * 10**9)

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Watch:
    return Watch()


@pytest.fixture
def gate(clock) -> Toll:
    return Toll(NETWORK, clock)


def passed(gate: Toll, raws: list[bytes], address: str = "a") -> int:
    refusals = gate.refusals(raws, address)
    assert all(item is None or item.code == Refusal.QUOTA for item in refusals)
    return refusals.count(None)


def test_a_sender_has_a_bucket_that_fills_again(gate, clock):
    raws = [costly(key(1), nonce) for nonce in range(int(SENDER.burst) + 5)]
    assert passed(gate, raws) == SENDER.burst
    assert passed(gate, [costly(key(2), 0)]) == 1, "another sender's is full"
    clock.now += 3 / SENDER.rate
    assert passed(gate, raws) == 3
    clock.now += 1e6
    assert passed(gate, raws) == SENDER.burst, "never more than full"


def test_an_address_bounds_a_crowd_of_fresh_keys(gate):
    crowd = [costly(key(number), 0) for number in range(1, int(ADDRESS.burst) + 20)]
    assert passed(gate, crowd) == ADDRESS.burst
    assert passed(gate, [costly(key(9999), 0)], "b") == 1


def test_nobody_empties_anothers_bucket(gate):
    """Bytes that claim a sender who did not sign them are not charged to him; the engine refuses them."""
    genuine = costly(key(1), 0)
    forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
    assert passed(gate, [forged] * 100) == 100
    assert passed(gate, [costly(key(1), 0, b"x" * 32)] * 100) == 100, "another network's"
    assert passed(gate, [costly(key(1), nonce) for nonce in range(int(SENDER.burst))]) == SENDER.burst


def test_everything_else_passes_even_if_it_has_the_words_in_it(gate):
    plain = sign(NETWORK, key(1), 0, RevokePermits())
    code = Code("python", b"\x64type\x66govern", "X", b"{}")
    dressed = sign(NETWORK, key(1), 0, Deploy(code, ContractPolicy()))
    assert passed(gate, [plain, dressed, b"", b"rubbish"] * 100) == 400


def test_each_costly_kind_is_found_in_its_canonical_spelling():
    assert {kind.__struct_config__.tag for kind in COSTLY} >= {"register", "collateral", "govern", "dkg-dealing"}
    for body in (Govern(SignedProposal(Proposal(NETWORK, 1, RevokeIdentity(bytes(32))), ())), DkgVerdict(1)):
        assert toll._LOOKS_COSTLY.search(sign(NETWORK, key(1), 0, body))


def test_the_endpoint_refuses_in_place_and_passes_the_rest(node, clock):
    reader, engine, network = node
    api = MachineApi(reader, engine, clock)
    many = [costly(key(1), nonce, network) for nonce in range(int(SENDER.burst) + 2)]
    plain = sign(network, key(2), 0, RevokePermits())

    async def submit() -> Verdicts:
        PEER.set("somewhere")
        return decode(await api.submit(encode(Submission((*many, plain)))), Verdicts)

    verdicts = asyncio.run(submit()).verdicts
    codes = [item.code for item in verdicts]
    assert codes[: SENDER.burst] == [Refusal.GOVERNANCE, *[codes[1]] * (SENDER.burst - 1)], "judged, and refused"
    assert codes[SENDER.burst : -1] == [Refusal.QUOTA] * 2
    assert codes[-1] == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 5)), max_size=60))
def test_a_bucket_never_gives_more_than_its_burst_and_its_rate(story):
    buckets, pace, now = Buckets(Pace(3, 2)), Pace(3, 2), 0.0
    taken: dict[str, int] = {"a": 0, "b": 0}
    for who, pause in story:
        now += pause
        if buckets.has(who, now):
            buckets.take(who, now)
            taken[who] += 1
        assert taken[who] <= pace.burst + pace.rate * now + 1e-6


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(toll, "_REMEMBERED", 10)
    buckets = Buckets(Pace(1, 1))
    for number in range(100):
        buckets.take(str(number), 0.0)
    assert len(buckets._left) == 10
