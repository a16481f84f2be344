from __future__ import annotations

import contextlib
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold import Address

ACCOUNT = "kh1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq8nzkja"
CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


@given(st.binary(min_size=32, max_size=32), st.sampled_from(["account", "contract"]))
def test_text_and_bytes_are_one_to_one(value, kind):
    address = Address(value, kind)
    again = Address.parse(address.text)
    assert again == address
    assert again.value == bytes(again) == value
    assert again.kind == kind
    assert hash(again) == hash(address)


@given(st.binary(min_size=32, max_size=32), st.integers(min_value=0, max_value=60), st.sampled_from(CHARSET))
def test_any_changed_character_is_noticed(value, place, character):
    text = Address(value).text
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        with pytest.raises(ValueError, match=r"address"):
            Address.parse(changed)


@given(st.text(max_size=80))
def test_any_text_is_an_address_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert Address.parse(text).text == text


def test_the_checksum_is_bech32m():
    # BIP-350: an independent check of the constant, the generator and the expansion of the prefix
    def polymod(values):
        state = 1
        for value in values:
            top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ value
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                state ^= generator if top >> bit & 1 else 0
        return state

    for prefix, kind in (("kh", "account"), ("khc", "contract")):
        text = Address(bytes(range(32)), kind).text
        expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
        assert polymod(expanded + [CHARSET.index(c) for c in text[len(prefix) + 1 :]]) == 0x2BC830A3


@pytest.mark.parametrize(
    "text",
    ["", "kh1", ACCOUNT.upper(), ACCOUNT[:-1], ACCOUNT + "q", ACCOUNT.replace("kh1", "khc1"), "bc1" + ACCOUNT[3:],
     ACCOUNT[:-1] + "b", ACCOUNT[:-1] + "é", " " + ACCOUNT],
)  # fmt: skip
def test_refuses(text):
    with pytest.raises(ValueError):
        Address.parse(text)


def test_refuses_padding_that_is_not_zero():
    from keephold.contract import address as module

    data = bytes(51) + bytes([1])
    check = module._polymod(bytes(6), module._polymod(data, module._SEEDS["kh"])) ^ module._BECH32M
    text = "kh1" + "".join(CHARSET[v] for v in data + bytes(check >> 5 * place & 31 for place in reversed(range(6))))
    with pytest.raises(ValueError, match="padding"):
        Address.parse(text)


def test_is_32_bytes():
    with pytest.raises(ValueError, match="32"):
        Address(bytes(31))


def test_is_immutable_ordered_and_printable():
    low, high = Address(bytes(32)), Address(b"\xff" * 32)
    with pytest.raises(AttributeError):
        low.text = high.text
    with pytest.raises(AttributeError):
        del low.text
    assert sorted({high, low}) == sorted((low, high), key=str)
    assert str(low) == ACCOUNT
    assert low != ACCOUNT
    assert copy.deepcopy(low) == copy.copy(low) == low
    assert repr(low) == f"Address({ACCOUNT})"
