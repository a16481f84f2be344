from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.chain import proto
from keephold.chain.validators import (
    MAX_TOTAL_POWER,
    Validator,
    ValidatorSet,
    decode_validator_set,
    encode_validator_set,
)

KEYS = st.binary(min_size=32, max_size=32)
SETS = st.dictionaries(KEYS, st.integers(1, MAX_TOTAL_POWER // 8), min_size=1, max_size=8).map(
    lambda powers: ValidatorSet.of(Validator(key, power) for key, power in powers.items())
)


def member(seed: int, power: int) -> Validator:
    return Validator(bytes([seed]) * 32, power)


def entry(validator: Validator, *, address: bytes | None = None, power: int | None = None, rest: bytes = b"") -> bytes:
    """One validator on the wire, each field as told."""
    return (
        proto.data(1, validator.address if address is None else address)
        + proto.message(2, proto.data(1, validator.public_key))
        + proto.number(3, validator.power if power is None else power)
        + rest
    )


def listing(*entries: bytes) -> bytes:
    return b"".join(proto.message(1, each) for each in entries) + proto.message(2, entries[0])


@given(SETS)
def test_round_trip(validators) -> None:
    decoded = decode_validator_set(encode_validator_set(validators))
    assert decoded == validators
    assert decoded.hash() == validators.hash()


@given(SETS, st.data())
def test_altered_bytes_are_accepted_or_an_encoding_error(validators, data) -> None:
    encoded = bytearray(encode_validator_set(validators))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(EncodingError):
        assert encode_validator_set(decode_validator_set(bytes(encoded))) == encoded


@given(st.binary(max_size=120))
def test_any_bytes_are_accepted_or_an_encoding_error(encoded) -> None:
    with suppress(EncodingError):
        assert encode_validator_set(decode_validator_set(encoded)) == encoded


def test_address_is_the_head_of_the_hash_of_the_key() -> None:
    assert member(1, 1).address == hashlib.sha256(b"\x01" * 32).digest()[:20]


def test_order_is_power_then_address() -> None:
    validators = ValidatorSet.of([member(1, 5), member(2, 9), member(3, 5)])
    assert [validator.power for validator in validators.validators] == [9, 5, 5]
    assert validators.validators[1].address < validators.validators[2].address
    assert validators.proposer == validators.validators[0] == member(2, 9)
    assert validators.total_power == 19
    with pytest.raises(EncodingError, match="order"):
        ValidatorSet(validators.validators[::-1])


@pytest.mark.parametrize("power", [0, -1, MAX_TOTAL_POWER + 1])
def test_powers_are_positive_and_bounded(power) -> None:
    with pytest.raises(EncodingError, match="power"):
        member(1, power)


def test_the_total_does_not_overflow() -> None:
    half = MAX_TOTAL_POWER // 2
    assert ValidatorSet.of([member(1, half), member(2, half)]).total_power == 2 * half
    with pytest.raises(EncodingError, match="overflows"):
        ValidatorSet.of([member(1, half), member(2, half), member(3, 2)])


@pytest.mark.parametrize("powers", [(5, 5), (9, 5)])
def test_nobody_is_listed_twice(powers) -> None:
    with pytest.raises(EncodingError, match=r"order|twice"):
        ValidatorSet.of(member(1, power) for power in powers)


def test_a_set_is_not_empty() -> None:
    with pytest.raises(EncodingError, match="empty"):
        ValidatorSet(())
    with pytest.raises(EncodingError):
        decode_validator_set(b"")


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_have_32_bytes(size) -> None:
    with pytest.raises(EncodingError):
        Validator(b"\x00" * size, 1)


def test_hostile_listings_are_refused() -> None:
    one, two = member(1, 9), member(2, 5)
    assert decode_validator_set(listing(entry(one), entry(two))) == ValidatorSet.of([one, two])
    hostile = [
        listing(entry(one), entry(one)),
        listing(entry(two), entry(one)),
        listing(entry(one, address=two.address)),
        listing(entry(one, address=b"")),
        listing(entry(one, power=-9)),
        listing(entry(one, power=0)),
        listing(entry(one, rest=proto.number(4, 7))),  # a proposer priority
        listing(entry(one), entry(two)) + proto.number(3, 14),  # a total
        proto.message(1, entry(one)),  # no proposer
        proto.message(1, entry(one)) + proto.message(2, entry(two)),
        proto.message(1, entry(one)) + proto.message(1, entry(two)) + proto.message(2, entry(two)),
    ]
    for encoded in hostile:
        with pytest.raises(EncodingError):
            decode_validator_set(encoded)


def test_other_kinds_of_key_are_refused() -> None:
    one = member(1, 9)
    for key in (proto.data(2, b"\x02" * 33), b"", proto.data(1, one.public_key) + proto.data(2, b"\x02" * 33)):
        encoded = proto.data(1, one.address) + proto.message(2, key) + proto.number(3, 9)
        with pytest.raises(EncodingError):
            decode_validator_set(listing(encoded))
