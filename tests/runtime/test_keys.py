"""Keys across the boundary: names go out of the execution process, public halves come in, and nothing else does."""

from __future__ import annotations

import json

import pytest

from keephold.base.errors import BadKey, ExecutionCrashed
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import KeyName
from keephold.runtime import wire
from keephold.runtime.outcome import KeyName as Name
from keephold.runtime.outcome import Outcome, Requested
from keephold.sealing.owned_keys import OwnedKeys

VAULT = """
from keephold import Call, Contract, View, call, view, Reject
class Vault(Contract):
    @call
    def sign(self, ctx: Call, topic: str, message: bytes, refuse: bool) -> bytes:
        key = ctx.key("k", "ed25519").derive("a")
        ctx.release(topic, key, message)
        if refuse:
            raise Reject("no")
        return key.public
    @call
    def undeclared(self, ctx: Call, label: str) -> bytes:
        return ctx.key(label, "ed25519").public
    @view
    def public(self, ctx: View) -> bytes:
        return ctx.key("k", "ed25519").public
    @view
    def forge(self, ctx: View) -> None:
        ctx._host.release("t", '{"key":"[\\\\"ed25519\\\\",\\\\"k\\\\",[]]","message":"6d","to":["kh1a"]}')
"""
KEY = Name("ed25519", "k", ("a",))
PUBLIC = b"ed25519/k/a".hex()


@pytest.fixture
def vault(process):
    return process(VAULT)


def test_the_interface_names_the_keys(vault):
    assert json.loads(vault.info.abi_json)["keys"] == [{"label": "k", "scheme": "ed25519"}]


def test_a_call_sees_public_keys_and_asks_for_signatures(vault, slots, call):
    outcome = vault.execute(call("sign", '["t","6d",false]'), slots)
    assert outcome.value_json == f'"{PUBLIC}"'
    assert outcome.releases == (Requested("t", KEY, b"m", (outcome.releases[0].readers[0],)),)
    assert outcome.writes == {}


def test_a_refused_call_asks_for_none(vault, slots, call):
    outcome = vault.execute(call("sign", '["t","6d",true]'), slots)
    assert (outcome.status, outcome.releases) == ("rejected", ())


def test_a_key_is_asked_for_once_in_a_process_and_burns_the_same_each_time(vault, slots, call):
    first, second = (vault.execute(call("sign", '["t","6d",false]'), slots) for _ in range(2))
    assert [name for name in slots.asked if isinstance(name, Name)] == [KEY]
    assert first == second


def test_views_look_keys_up_and_release_nothing(vault, slots, query):
    assert vault.query(query("public"), slots).value_json == f'"{b"ed25519/k".hex()}"'
    outcome = vault.query(query("forge"), slots)
    assert (outcome.status, outcome.releases) == ("failed", ())
    assert "view" in outcome.detail


def test_an_undeclared_key_fails_its_call(vault, slots, call):
    outcome = vault.execute(call("undeclared", '["other"]'), slots)
    assert outcome.status == "failed"
    assert "declares no key" in outcome.detail


def test_a_process_that_asks_for_what_is_not_declared_is_ended(vault, slots, call, monkeypatch):
    """The parent does not take the child's word for what the interface declares."""

    def refuse(name):
        raise BadKey(name.label)

    monkeypatch.setattr(slots, "public_key", refuse, raising=False)
    with pytest.raises(ExecutionCrashed, match="a key that is not there"):
        vault.execute(call("sign", '["t","6d",false]'), slots)
    assert not vault.is_alive


REQUEST = Requested("t", KEY, b"m", ("kh1a",))


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(status="rejected", releases=(REQUEST,)),
        Outcome(status="failed", releases=(REQUEST,)),
        Outcome(status="ok", releases=(REQUEST, REQUEST)),
        Outcome(status="ok", releases=tuple(Requested(f"t{at:03}", KEY, b"m", ("kh1a",)) for at in range(65))),
        Outcome(status="ok", releases=tuple(Requested(f"t{at}", KEY, b"m", ("kh1a",)) for at in (2, 1))),
    ],
)
def test_a_broken_process_cannot_ask_for_more(outcome):
    assert not wire.is_within_limits(outcome)
    assert wire.is_within_limits(Outcome(status="ok", releases=(REQUEST,)))


def test_no_private_byte_crosses_to_the_process(vault, slots, call, query, monkeypatch):
    """Everything the parent sends and receives, while real keys are looked up and used."""
    seed = b"seed" * 8
    owned = OwnedKeys(SecretBytes(seed), bytes(32), b"c" * 32)
    name = KeyName("ed25519", "k", ("a",))
    monkeypatch.setattr(slots, "public_key", lambda n: owned.public(KeyName(n.scheme, n.label, n.path)), raising=False)
    frames: list[bytes] = []
    send, receive = wire.Channel.send, wire.Channel.receive
    monkeypatch.setattr(wire.Channel, "send", lambda self, data: frames.append(data) or send(self, data))
    monkeypatch.setattr(wire.Channel, "receive", lambda self: frames.append(receive(self)) or frames[-1])
    outcome = vault.execute(call("sign", '["t","6d",false]'), slots)
    vault.query(query("public"), slots)
    signature = owned.sign(name, b"m")
    seen = b"".join(frames)
    assert owned.public(name) in seen
    assert bytes.fromhex(json.loads(outcome.value_json)) == owned.public(name)
    material = owned._material(name, 0).reveal()
    for secret in (seed, owned._root.reveal(), material, signature):
        assert secret not in seen
        assert secret.hex().encode() not in seen
