"""Keys in contract code: names with a public half; requests that are checked before anything keeps them."""

from __future__ import annotations

import json

import pytest

from keephold import Address, Block, Call, Contract, PublicView, View, call, view
from keephold.contract.abi import abi
from keephold.contract.check import check_source
from keephold.contract.dispatch import execute
from keephold.contract.errors import ContractTypeError
from keephold.contract.native import MemoryHost, NativeContract, NativeFailure

ALICE, BOB = Address(b"a" * 32), Address(b"b" * 32)
VAULT = Address(b"v" * 32, "contract")


def host() -> MemoryHost:
    return MemoryHost(keys=lambda spelled: spelled.encode().hex())


def ctx(of: MemoryHost) -> Call:
    return Call(of, Block(1, 1), VAULT, ALICE, bytes(32))


def test_a_key_is_a_name_with_a_public_half() -> None:
    key = ctx(host()).key("treasury", "secp256k1")
    assert json.loads(key.public) == ["secp256k1", "treasury", []]
    assert json.loads(key.derive("a").derive("b").public) == ["secp256k1", "treasury", ["a", "b"]]
    assert (key.label, key.scheme, key.path) == ("treasury", "secp256k1", ())
    assert repr(key.derive("a")) == "Key(treasury/a, secp256k1)"


def test_views_name_keys_and_release_nothing() -> None:
    for context in (View(host(), Block(1, 1), VAULT, BOB), PublicView(host(), Block(1, 1), VAULT)):
        assert context.key("treasury", "ed25519").public
        assert not hasattr(context, "release")


@pytest.mark.parametrize("name", ["", "x" * 97, "tab\t", "é", 7, None])
def test_names_are_short_printable_ascii(name: object) -> None:
    key = ctx(host()).key("treasury", "ed25519")
    for use in (
        lambda: ctx(host()).key(name, "ed25519"),  # type: ignore[arg-type] # on purpose
        lambda: key.derive(name),  # type: ignore[arg-type] # on purpose
        lambda: ctx(host()).release(name, key, b"m"),  # type: ignore[arg-type] # on purpose
    ):
        with pytest.raises(ContractTypeError):
            use()


def test_schemes_and_paths_are_bounded() -> None:
    with pytest.raises(ContractTypeError, match="scheme"):
        ctx(host()).key("treasury", "rsa")  # type: ignore[arg-type] # on purpose
    key = ctx(host()).key("treasury", "ed25519")
    for step in "12345678":
        key = key.derive(step)
    with pytest.raises(ContractTypeError, match="8 steps"):
        key.derive("9")


def test_a_request_names_key_message_and_readers() -> None:
    kept = host()
    ctx(kept).release("t", ctx(kept).key("k", "bip340").derive("s"), bytes(32), to=(BOB, ALICE, BOB))
    asked = json.loads(kept.releases["t"])
    assert asked == {"key": '["bip340","k",["s"]]', "message": "00" * 32, "to": [BOB.text, ALICE.text]}
    ctx(kept).release("t", ctx(kept).key("k", "ed25519"), b"m")
    assert json.loads(kept.releases["t"])["to"] == [ALICE.text]


@pytest.mark.parametrize(
    ("scheme", "message", "to"),
    [
        ("secp256k1", b"", None),
        ("secp256k1", bytes(31), None),
        ("bip340", bytes(33), None),
        ("ed25519", bytes(4097), None),
        ("ed25519", "text", None),
        ("ed25519", b"m", ()),
        ("ed25519", b"m", (VAULT,)),
        ("ed25519", b"m", ("kh1…",)),
        ("ed25519", b"m", tuple(Address(bytes([at]) * 32) for at in range(65))),
    ],
)
def test_what_cannot_be_signed_or_read_is_refused_at_once(scheme, message, to) -> None:
    kept = host()
    with pytest.raises(ContractTypeError):
        ctx(kept).release("t", ctx(kept).key("k", scheme), message, to=to)
    assert kept.releases == {}


def test_release_takes_keys_only() -> None:
    with pytest.raises(ContractTypeError):
        ctx(host()).release("t", b"x" * 32, b"m")  # type: ignore[arg-type] # on purpose


SOURCE = """
from keephold import Call, Contract, View, call, view
LABEL = "computed"
class Vault(Contract):
    @call
    def sign(self, ctx: Call, digest: bytes) -> bytes:
        ctx.release("a", ctx.key("eth", "secp256k1").derive("x"), digest)
        ctx.key(scheme="ed25519", label="sui")
        ctx.key("eth", "secp256k1"), ctx.key(LABEL, "ed25519"), ctx.key("bad", "rsa"), {}.get("key")
        return b""
"""


def test_the_abi_lists_the_keys_that_are_written_as_literals() -> None:
    described = check_source(SOURCE).abi
    assert described["keys"] == [{"label": "eth", "scheme": "secp256k1"}, {"label": "sui", "scheme": "ed25519"}]


class Vault(Contract):
    """Signs what its caller wants, unless told to refuse."""

    @call
    def sign(self, ctx: Call, topic: str, refuse: bool) -> None:
        """Ask for one or two signatures."""
        ctx.release(topic, ctx.key("k", "ed25519"), b"m")
        if refuse:
            raise ValueError(topic)

    @view
    def public(self, ctx: View) -> bytes:
        """Return the public key."""
        return ctx.key("k", "ed25519").public


def test_without_keys_there_is_nothing_in_the_abi() -> None:
    assert "keys" not in abi(Vault)  # no source given, so no literals


@pytest.mark.parametrize("refuse", [False, True])
def test_a_call_that_fails_asks_for_nothing(refuse: bool) -> None:
    kept = host()
    who = {"sender": ALICE.text, "creator": ALICE.text, "seed": "00" * 32}
    env = json.dumps({"contract": VAULT.text, "height": 1, "time_ns": 1, **who})
    outcome = json.loads(execute(Vault, "call", "sign", json.dumps(["t", refuse]), env, kept))
    assert outcome["status"] == ("failed" if refuse else "ok")
    assert list(kept.releases) == ([] if refuse else ["t"])


def test_a_native_contract_says_where_keys_are() -> None:
    vault = NativeContract(Vault, creator=ALICE)
    with pytest.raises(NativeFailure, match="`net`"):
        vault.view("public", reader=ALICE)
