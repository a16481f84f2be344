from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import ConfigurationError, EncodingError
from keephold.crypto.padding import PREFIX, pad, padded_size, unpad

BUCKETS = st.lists(st.integers(1, 300), min_size=1, max_size=5, unique=True).map(sorted)


@given(st.binary(max_size=1000), BUCKETS)
def test_padding_comes_off_again(plaintext: bytes, buckets: list[int]) -> None:
    padded = pad(plaintext, buckets)
    assert len(padded) == padded_size(len(plaintext), buckets)
    assert unpad(padded) == plaintext


@given(st.integers(0, 5000), BUCKETS)
def test_the_size_is_the_smallest_that_fits(length: int, buckets: list[int]) -> None:
    size, needed, last = padded_size(length, buckets), PREFIX + length, buckets[-1]
    assert size >= needed
    if size <= last:
        assert size in buckets
        assert not [bucket for bucket in buckets if needed <= bucket < size]
    else:
        assert size % last == 0
        assert size - last < needed


@given(st.binary(max_size=40))
def test_accepted_bytes_are_canonical_or_raise_the_one_declared_error(data: bytes) -> None:
    try:
        plaintext = unpad(data)
    except EncodingError:
        return
    assert pad(plaintext, [len(data)]) == data


@pytest.mark.parametrize("position", range(PREFIX + 3, 64))
def test_every_byte_of_the_fill_is_checked(position: int) -> None:
    padded = bytearray(pad(b"abc", [64]))
    padded[position] = 1
    with pytest.raises(EncodingError):
        unpad(bytes(padded))


def test_sizes_reveal_the_bucket_only() -> None:
    assert {len(pad(bytes(length), [256, 1024])) for length in range(253)} == {256}
    assert padded_size(253, [256, 1024]) == 1024
    assert padded_size(1021, [256, 1024]) == 2048


@pytest.mark.parametrize("buckets", [[], [0], [-1, 5], [8, 8], [16, 8]])
def test_buckets_ascend(buckets: list[int]) -> None:
    with pytest.raises(ConfigurationError):
        padded_size(1, buckets)


@pytest.mark.parametrize("length", [-1, 1 << 32])
def test_the_length_fits_its_prefix(length: int) -> None:
    with pytest.raises(EncodingError):
        padded_size(length, [64])
