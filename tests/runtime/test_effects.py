from __future__ import annotations

import json

import pytest

from keephold.base.errors import SandboxError
from keephold.base.limits import MAX_SLOT_KEY, MAX_SLOT_VALUE
from keephold.contract.address import Address
from keephold.runtime import effects as host
from keephold.runtime.effects import Effects, HostViolation
from keephold.runtime.outcome import Emitted, KeyName, Posted, Requested


@pytest.fixture
def effects(slots):
    return Effects("call", slots)


def test_reads_see_the_writes_before_them(effects, slots):
    slots["a"] = b"1"
    assert effects.call(host.GET, "a", "")[0] == "=1"
    effects.call(host.PUT, "a", "2")
    assert effects.call(host.GET, "a", "")[0] == "=2"
    effects.call(host.DELETE, "a", "")
    assert effects.call(host.GET, "a", "")[0] == ""
    assert effects.writes == {"a": None}
    effects.call(host.EMIT, 'Moved\n["kh1a","kh1b"]', "{}")
    effects.call(host.EMIT, 'Moved\n"public"', "{}")
    assert effects.events == [Emitted("Moved", "{}", ("kh1a", "kh1b")), Emitted("Moved", "{}", "public")]


def test_every_operation_costs_and_more_bytes_cost_more(effects, slots):
    slots["a"] = b"x" * 1000
    costs = [effects.call(operation, "b", "")[1] for operation in (host.GET, host.PUT, host.DELETE, host.LOG)]
    assert min(costs) > 0
    assert effects.call(host.GET, "a", "")[1] > costs[0]
    assert effects.call(host.PUT, "b", "x" * 1000)[1] > costs[1]


VIOLATIONS = [
    (0, "a", ""), (99, "a", ""), (host.GET, "", ""), (host.GET, "k" * (MAX_SLOT_KEY + 1), ""),
    (host.PUT, "", ""), (host.PUT, "é" * (MAX_SLOT_KEY // 2 + 1), ""), (host.PUT, "a", "x" * (MAX_SLOT_VALUE + 1)),
    (host.EMIT, 'a b\n"public"', "{}"), (host.EMIT, "A", "{}"), (host.EMIT, "A\n[]", "{}"),
    (host.EMIT, "A\n[1]", "{}"), (host.EMIT, 'A\n["a","a"]', "{}"), (host.EMIT, 'A\n"private"', "{}"),
    (host.EMIT, "A\n" + "[" * 100_000, "{}"), (host.EMIT, 'A\n"public"', "x" * (MAX_SLOT_VALUE + 1)),
]  # fmt: skip


@pytest.mark.parametrize(("operation", "a", "b"), VIOLATIONS, ids=range(len(VIOLATIONS)))
def test_violations(effects, operation, a, b):
    with pytest.raises(HostViolation):
        effects.call(operation, a, b)
    assert (effects.writes, effects.events) == ({}, [])


@pytest.mark.parametrize("operation", [host.PUT, host.DELETE, host.EMIT])
def test_a_view_has_no_effects(slots, operation):
    with pytest.raises(HostViolation, match="view"):
        Effects("view", slots).call(operation, "a", "{}")


def test_logs_are_bounded(effects):
    for _ in range(host.MAX_LOGS + 5):
        effects.call(host.LOG, "x" * (host.MAX_LOG + 5), "")
    assert len(effects.logs) == host.MAX_LOGS
    assert len(effects.logs[0]) == host.MAX_LOG


# --- keys ---

KEYS = frozenset({("k", "ed25519"), ("c", "secp256k1")})
KEY = '["ed25519","k",["a"]]'
REQUEST = {"key": KEY, "message": "6d", "to": ["kh1a", "kh1b"]}


@pytest.fixture
def keyed(slots):
    return Effects("call", slots, KEYS)


def test_a_public_key_is_looked_up_in_calls_and_views(slots):
    for kind in ("call", "view"):
        answer, cost = Effects(kind, slots, KEYS).call(host.KEY, KEY, "")
        assert bytes.fromhex(answer) == b"ed25519/k/a"
        assert cost > Effects(kind, slots).call(host.GET, "a", "")[1]


@pytest.mark.parametrize(
    "key",
    ["", "k", "[]", "[1,2,3]", '["ed25519","k"]', '["rsa","k",[]]', '["bip340","k",[]]', '["ed25519","other",[]]',
     '["ed25519","k",[""]]', '["ed25519","k",["a","a","a","a","a","a","a","a","a"]]', "[" * 5000],
)  # fmt: skip
def test_only_declared_keys_with_good_names(keyed, slots, key):
    for operation, a, b in ((host.KEY, key, ""), (host.RELEASE, "t", json.dumps({**REQUEST, "key": key}))):
        with pytest.raises(HostViolation):
            keyed.call(operation, a, b)
    assert (slots.asked, keyed.releases) == ([], {})


def test_a_request_is_collected_once_for_each_topic(keyed):
    keyed.call(host.RELEASE, "t", json.dumps(REQUEST))
    keyed.call(host.RELEASE, "t", json.dumps({**REQUEST, "message": "6e"}))
    name = KeyName("ed25519", "k", ("a",))
    assert keyed.releases == {"t": Requested("t", name, b"n", ("kh1a", "kh1b"))}


@pytest.mark.parametrize(
    ("topic", "change"),
    [
        ("", {}),
        ("x" * 97, {}),
        ("t", {"message": "6"}),
        ("t", {"message": "00" * 4097}),
        ("t", {"key": '["secp256k1","c",[]]'}),
        ("t", {"to": []}),
        ("t", {"to": ["kh1a", "kh1a"]}),
        ("t", {"to": [f"kh1{at}" for at in range(65)]}),
        ("t", {"to": [7]}),
        ("t", {"more": 1}),
    ],
)
def test_no_other_request(keyed, topic, change):
    with pytest.raises(HostViolation):
        keyed.call(host.RELEASE, topic, json.dumps({**REQUEST, **change}))
    assert keyed.releases == {}


def test_requests_are_bounded_and_a_view_makes_none(keyed, slots):
    for at in range(host.MAX_RELEASES):
        keyed.call(host.RELEASE, f"t{at}", json.dumps(REQUEST))
    with pytest.raises(HostViolation, match="64"):
        keyed.call(host.RELEASE, "one more", json.dumps(REQUEST))
    with pytest.raises(HostViolation, match="view"):
        Effects("view", slots, KEYS).call(host.RELEASE, "t", json.dumps(REQUEST))


@pytest.mark.parametrize("abi", [b'{"keys":1}', b'{"keys":[{}]}', b'{"keys":[{"label":"a","scheme":1}]}'])
def test_an_interface_whose_keys_are_no_keys_is_refused(abi):
    with pytest.raises(SandboxError):
        host.declared_keys(abi)
    assert host.declared_keys(b'{"name":"x"}') == frozenset()


PEER, OWN = Address.contract(b"p" * 32).text, Address.contract(b"o" * 32).text


def test_messages_are_collected(slots):
    effects = Effects("call", slots, own=OWN, room=2)
    effects.call(host.SEND, f"{PEER}\npay\non_paid", "[1]")
    effects.call(host.SEND, f"{PEER}\npay\n", "[2]")
    assert effects.messages == [Posted(PEER, "pay", "[1]", "on_paid"), Posted(PEER, "pay", "[2]", "")]
    with pytest.raises(HostViolation, match="at most 2"):
        effects.call(host.SEND, f"{PEER}\npay\n", "[3]")


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (f"{OWN}\npay\n", "[]"),
        (f"{Address.account(b'a' * 32).text}\npay\n", "[]"),
        ("nobody\npay\n", "[]"),
        (f"{PEER}\nno name\n", "[]"),
        (f"{PEER}\n{'x' * 65}\n", "[]"),
        (f"{PEER}\npay\nno name", "[]"),
        (f"{PEER}\npay\n{'x' * 65}", "[]"),
        (f"{PEER}\npay\non_paid\nmore", "[]"),
        (PEER, "[]"),
        (f"{PEER}\npay\n", "x" * (MAX_SLOT_VALUE + 1)),
    ],
)
def test_messages_that_the_host_refuses(slots, head, body):
    with pytest.raises(HostViolation):
        Effects("call", slots, own=OWN, room=8).call(host.SEND, head, body)


def test_a_view_sends_nothing(slots):
    with pytest.raises(HostViolation, match="reads"):
        Effects("view", slots, own=OWN, room=8).call(host.SEND, f"{PEER}\npay\n", "[]")
