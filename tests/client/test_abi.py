"""Arguments fit the contract's own ABI before they are sent; results fit it when they come back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import AbiError
from keephold.client.abi import decode_value, encode_value, owned_keys, parse_abi
from keephold.contract.address import Address
from keephold.contract.check import check_source
from keephold.contract.values import Amount, canonical, codec_of

SOURCE = '''
from keephold import Address, Amount, Call, Contract, Map, PublicView, Record, View, call, init, require, view

class Line(Record):
    payee: Address
    memo: str = ""

class Sample(Contract, pad=(256,)):
    """A sample."""
    notes: Map[int, bytes]

    @init
    def setup(self, ctx: Call, owner: Address) -> None:
        """Set up."""

    @call
    def put(self, ctx: Call, key: int, value: bytes = b"", lines: tuple[Line, ...] = ()) -> Amount:
        """Put."""
        require(key > 0, "too_small")
        return 1

    @view(public=True)
    def size(self, ctx: PublicView) -> int:
        return 0
'''
ALICE = Address.account(bytes(range(32)))


@pytest.fixture(scope="module")
def sample():
    return parse_abi(canonical(check_source(SOURCE).abi).encode())


def test_the_interface_is_read(sample) -> None:
    assert (sample.name, sample.doc, sample.pad) == ("Sample", "A sample.", (256,))
    assert sample.init.usage() == "setup(owner)"
    put = sample.method("put", "call")
    assert put.usage() == "put(key, value=…, lines=…)"
    assert put.rejects == ("too_small",)
    assert sample.method("size", "view").public


def test_arguments_in_order_and_by_name(sample) -> None:
    put = sample.method("put", "call")
    assert json.loads(put.encode([1])) == [1, "", []]
    line = {"payee": ALICE, "memo": "rent"}
    assert json.loads(put.encode([2], {"lines": [line], "value": b"\x01"})) == [
        2, "01", [{"memo": "rent", "payee": ALICE.text}],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "named", "message"),
    [
        ([], {}, "key is missing"),
        (["x"], {}, "whole number"),
        ([True], {}, "whole number"),
        ([1 << 128], {}, "below 2"),
        ([1], {"key": 2}, "given twice"),
        ([1], {"nothing": 2}, "unknown"),
        ([1, b"", (), 4], {}, "takes 3"),
        ([1, "zz"], {}, "value: expected bytes"),
        ([1, b"", [{"payee": "kh1nonsense"}]], {}, r"lines\[0\].payee"),
        ([1, b"", [{}]], {}, "missing"),
        ([1, b"", 5], {}, "array"),
    ],
)
def test_what_does_not_fit_is_refused(sample, arguments, named, message) -> None:
    with pytest.raises(AbiError, match=message):
        sample.method("put", "call").encode(arguments, named)


def test_results(sample) -> None:
    assert sample.method("put", "call").decode(b'"12"') == 12
    assert sample.method("setup", "init").decode(b"null") is None
    for wrong in (b'"-1"', b"[]", b"\xff", b"1.5", b"{"):
        with pytest.raises(AbiError):
            sample.method("put", "call").decode(wrong)


def test_unknown_methods_name_those_that_exist(sample) -> None:
    with pytest.raises(AbiError, match=r"there: put.*size is a view"):
        sample.method("size", "call")


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"abi":2}', b"[" * 5000, b'{"abi":1,"methods":[]}', b"\xff"])
def test_what_is_no_abi_is_refused(raw: bytes) -> None:
    with pytest.raises(AbiError):
        parse_abi(raw)


INTEGERS = st.integers(1 - (1 << 128), (1 << 128) - 1)
SPELLED = [
    (int, INTEGERS),
    (Amount, st.integers(0, (1 << 128) - 1)),
    (str, st.text()),
    (bool, st.booleans()),
    (bytes, st.binary()),
    (Address, st.binary(min_size=32, max_size=32).map(Address.account)),
    (tuple[int, ...], st.lists(INTEGERS).map(tuple)),
    (tuple[int, str], st.tuples(INTEGERS, st.text())),
    (frozenset[int], st.frozensets(INTEGERS)),
    (int | None, st.none() | INTEGERS),
]


@given(st.sampled_from(SPELLED).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])))
def test_client_and_sandbox_spell_alike(case) -> None:
    hint, value = case
    codec = codec_of(hint)
    spelled = encode_value(codec.schema(), value, "x")
    assert spelled == codec.encode(value)
    assert decode_value(codec.schema(), spelled, "x") == value


def test_keys_of_an_interface_and_of_none() -> None:
    keys = [{"label": "b", "scheme": "ed25519"}, {"label": "a", "scheme": "bip340"}]
    described = {"abi": 1, "name": "N", "doc": "", "pad": [512], "methods": {}, "events": {}}
    assert owned_keys(json.dumps(described | {"keys": keys}).encode()) == ("a (bip340)", "b (ed25519)")
    for raw in (json.dumps(described).encode(), b"", b"{}", json.dumps(described | {"keys": 7}).encode()):
        assert owned_keys(raw) == ()


def test_text_that_no_message_can_carry_is_refused_before_it_is_sent() -> None:
    schema = codec_of(str).schema()
    assert encode_value(schema, "çay ☕", "x") == "çay ☕"
    with pytest.raises(AbiError, match="x: expected text without lone surrogates"):
        encode_value(schema, "\ud800", "x")
