"""The vault's own parser and digests, held against another implementation: one meaning, or refused."""

from __future__ import annotations

import pytest
from btclib.exceptions import BTClibException
from hypothesis import given, settings
from hypothesis import strategies as st
from psbts import Spent, digests, psbt
from vault import Transaction, parse_psbt

from keephold import Reject

OURS = b"\x51\x20" + bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
SHOP = b"\x00\x14" + b"\1" * 20

SATS = st.integers(0, 10**12)
SCRIPTS = st.sampled_from((OURS, SHOP, b"\xa9\x14" + b"\2" * 20 + b"\x87", b"\x6a\x04note"))
COINS = st.builds(
    Spent,
    st.just(OURS),
    SATS,
    txid=st.binary(min_size=32, max_size=32).filter(any),
    number=st.integers(0, 2**32 - 2),
    sequence=st.integers(0, 2**32 - 1),
    hash_type=st.sampled_from((None, 0, 1)),
)


@st.composite
def psbts(draw):
    """PSBTs that pay no more than they spend."""
    coins = draw(st.lists(COINS, min_size=1, max_size=4, unique_by=lambda coin: (coin.txid, coin.number)))
    left, paid = sum(coin.sats for coin in coins), []
    for script in draw(st.lists(SCRIPTS, min_size=1, max_size=4)):
        paid.append((script, draw(st.integers(0, left))))
        left -= paid[-1][1]
    return psbt(coins, paid, version=draw(st.sampled_from((1, 2))), lock_time=draw(st.integers(0, 2**32 - 1)))


@given(raw=psbts())
@settings(max_examples=40)
def test_digests_are_bitcoins(raw):
    assert parse_psbt(raw).digests() == digests(raw)


def parsed_or_refused(raw: bytes) -> Transaction | None:
    try:
        return parse_psbt(raw)
    except Reject as refused:
        assert refused.code == "bad_psbt"  # noqa: PT017 - one of the two outcomes
        return None


RAW = psbt([Spent(OURS, 70_000, hash_type=1), Spent(OURS, 30_000, number=1, hash_type=1)], [(SHOP, 60_000), (OURS, 1)])
EDITS = st.tuples(st.integers(0, len(RAW)), st.integers(0, 8), st.binary(max_size=8))


@given(raw=st.one_of(st.binary(max_size=400), st.binary(max_size=400).map(lambda tail: b"psbt\xff" + tail)))
def test_any_bytes_are_a_psbt_or_refused(raw):
    parsed_or_refused(raw)


@given(edits=st.lists(EDITS, min_size=1, max_size=3))
@settings(max_examples=150, derandomize=True)  # what the library raises on bytes of chance is not ours to answer for
def test_what_both_read_both_sign(edits):
    raw = RAW
    for at, size, put in edits:
        raw = raw[:at] + put + raw[at + size :]
    parsed = parsed_or_refused(raw)
    if parsed is None:
        return
    try:
        theirs = digests(raw)
    except BTClibException:
        return  # of what the vault skips, they refuse more: keys that are none, fields that contradict each other
    assert parsed.digests() == theirs


@given(at=st.integers(0, len(RAW) - 1), value=st.integers(0, 255))
@settings(max_examples=150)
def test_an_altered_psbt_is_refused_or_says_something_else(at, value):
    altered = RAW[:at] + bytes([value]) + RAW[at + 1 :]
    parsed = parsed_or_refused(altered)
    assert parsed is None or (parsed == parse_psbt(RAW)) == (altered == RAW)
    if parsed is not None and altered != RAW:
        assert parsed.digests() != parse_psbt(RAW).digests()


# --- by hand ---

INPUT = b"\x11" * 32 + bytes(4) + b"\0" + b"\xfd\xff\xff\xff"


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def sized(data: bytes) -> bytes:
    return (bytes([len(data)]) if len(data) < 0xFD else b"\xfd" + number(len(data), 2)) + data


def output(sats: int, script: bytes) -> bytes:
    return number(sats, 8) + sized(script)


def fields(*pairs: tuple[bytes, bytes]) -> bytes:
    return b"".join(sized(key) + sized(value) for key, value in pairs) + b"\0"


PAID = output(60_000, SHOP)


def unsigned(inputs=(INPUT,), outputs=(PAID,), *, count=None) -> bytes:
    counted = bytes([len(inputs)]) if count is None else count
    return number(2, 4) + counted + b"".join((*inputs, bytes([len(outputs)]), *outputs)) + bytes(4)


CLAIM = (b"\1", output(70_000, OURS))


def whole(raw: bytes | None = None, *, of_all=(), of_inputs=((CLAIM,),), of_outputs=((),), more=b"") -> bytes:
    maps = ((b"\0", unsigned() if raw is None else raw), *of_all), *of_inputs, *of_outputs
    return b"psbt\xff" + b"".join(fields(*one) for one in maps) + more


def claimed(value: bytes) -> bytes:
    return whole(of_inputs=(((b"\1", value),),))


def asked(kind: bytes) -> bytes:
    return whole(of_inputs=((CLAIM, (b"\3", kind)),))


def noted(*pairs: tuple[bytes, bytes]) -> bytes:
    return whole(of_outputs=(pairs,))


def test_what_is_built_by_hand_is_what_the_library_builds():
    assert whole() == psbt([Spent(OURS, 70_000)], [(SHOP, 60_000)])


SKIPPED = {
    "version 0 named": whole(of_all=((b"\xfb", bytes(4)),)),
    "an extended public key": whole(of_all=((b"\1" + b"\5" * 78, bytes(4)),)),
    "where a key comes from": whole(of_inputs=((CLAIM, (b"\x16" + OURS[2:], bytes(5))),)),
    "a field of somebody's own": noted((b"\xfc\3own", b"said")),
    "a long type": noted((b"\xfd\0\1", b"said")),
    "DEFAULT named": asked(bytes(4)),
}


@pytest.mark.parametrize("name", SKIPPED)
def test_what_nothing_signed_depends_on_is_skipped(name):
    assert parse_psbt(SKIPPED[name]) == parse_psbt(whole())


TWO = (output(30_000, SHOP), output(40_001, SHOP))
MANY = tuple(number(at, 32) + INPUT[32:] for at in range(17))
REFUSED = {
    "nothing": b"",
    "no magic": whole()[1:],
    "base64": b"cHNidP8B",
    "too long": noted(*((b"\x99" + number(at, 2), bytes(250)) for at in range(40))),
    "cut short": whole()[:-1],
    "bytes behind the end": whole(more=b"\0"),
    "an input map too many": whole(of_inputs=((CLAIM,), (CLAIM,))),
    "an input map too few": whole(of_inputs=()),
    "an output map too few": whole(of_outputs=()),
    "no transaction": b"psbt\xff" + fields() + fields(CLAIM) + fields(),
    "an empty transaction": whole(b""),
    "version 2": whole(of_all=((b"\xfb", number(2, 4)),)),
    "version 0 in one byte": whole(of_all=((b"\xfb", b"\0"),)),
    "the transaction twice": whole(of_all=((b"\0", unsigned()),)),
    "a claim twice": whole(of_inputs=((CLAIM, CLAIM),)),
    "two claims": whole(of_inputs=((CLAIM, (b"\1", output(80_000, OURS))),)),
    "an unknown key twice": noted((b"\x99", b"a"), (b"\x99", b"b")),
    "a type in a longer spelling": noted((b"\xfd\1\0", b"")),
    "a type cut short": noted((b"\xfd\1", b"")),
    "a key's length in a longer spelling": whole()[:-1] + b"\xfd\1\0\x99\0\0",
    "a value's length in a longer spelling": whole()[:-1] + b"\1\x99\xfe\1\0\0\0\x07\0",
    "an end in a longer spelling": whole()[:-1] + b"\xfd\0\0",
    "a length beyond everything": whole()[:-1] + b"\xff" * 9,
    "no claim": whole(of_inputs=((),)),
    "an empty claim": claimed(b""),
    "a claim cut short": claimed(output(70_000, OURS)[:-1]),
    "a claim with more behind it": claimed(output(70_000, OURS) + b"\0"),
    "a claim of more than there is": claimed(output(21 * 10**14 + 1, OURS)),
    "claims of more than there is together": whole(
        unsigned((MANY[0], MANY[1])), of_inputs=(((b"\1", output(2 * 10**15, OURS)),),) * 2
    ),
    "a negative claim": claimed(output(2**64 - 1, OURS)),
    "a script too long": claimed(output(70_000, bytes(129))),
    "more out than in": claimed(output(59_999, OURS)),
    "more out than in, together": whole(unsigned(outputs=TWO), of_outputs=((), ())),
    "NONE": asked(number(2, 4)),
    "SINGLE": asked(number(3, 4)),
    "ANYONECANPAY": asked(number(0x80, 4)),
    "ALL, ANYONECANPAY": asked(number(0x81, 4)),
    "ALL in one byte": asked(b"\1"),
    "ALL and more": asked(number(0x101, 4)),
    "no inputs": whole(unsigned(inputs=()), of_inputs=()),
    "17 inputs": whole(unsigned(MANY), of_inputs=((CLAIM,),) * 17),
    "an input twice": whole(unsigned((INPUT, INPUT)), of_inputs=((CLAIM,), (CLAIM,))),
    "inputs counted in a longer spelling": whole(unsigned(count=b"\xfd\1\0")),
    "a witness already": whole(unsigned(count=b"\0\1\1")),
    "a script already": whole(unsigned((INPUT[:36] + b"\1\x51" + INPUT[37:],))),
    "no outputs": whole(unsigned(outputs=()), of_outputs=()),
    "17 outputs": whole(unsigned(outputs=(output(1, SHOP),) * 17), of_outputs=((),) * 17),
    "a negative output": whole(unsigned(outputs=(output(2**64 - 10, SHOP),))),
    "a transaction with more behind it": whole(unsigned() + b"\0"),
    "a transaction cut short": whole(unsigned()[:-1]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_nothing_else_is_a_psbt(name):
    with pytest.raises(Reject, match="bad_psbt"):
        parse_psbt(REFUSED[name])
