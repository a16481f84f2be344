from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.chain.chain_id import chain_id, network_id


@given(st.binary(min_size=32, max_size=32))
def test_round_trip_in_43_characters(network) -> None:
    encoded = chain_id(network)
    assert len(encoded) == 43
    assert network_id(encoded) == network


@given(st.text(max_size=60))
def test_accepted_or_encoding_error(text) -> None:
    with contextlib.suppress(EncodingError):
        assert chain_id(network_id(text)) == text


@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "A" * 42,
        "A" * 44,
        "A" * 42 + "B",  # bits beyond the 32 bytes
        "A" * 42 + "=",
        "A" * 42 + "+",
        "A" * 20 + "\n" + "A" * 22,
        "é" * 43,
    ],
)
def test_other_spellings_are_refused(encoded) -> None:
    with pytest.raises(EncodingError):
        network_id(encoded)


def test_a_network_id_has_32_bytes() -> None:
    with pytest.raises(EncodingError):
        chain_id(b"\x00" * 31)
