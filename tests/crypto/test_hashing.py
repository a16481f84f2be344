from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.crypto import labels
from keephold.crypto.hashing import equal, framed, frames, number, sha256, tagged_hash, tagged_hash_512
from keephold.crypto.labels import Label

LABELS = st.sampled_from([labels.NETWORK, labels.CODE, labels.CONTRACT])
PARTS = st.lists(st.binary(max_size=12), max_size=4)


def unframe(data: bytes) -> list[bytes]:
    parts = []
    while data:
        size = int.from_bytes(data[:8], "big")
        parts.append(data[8 : 8 + size])
        data = data[8 + size :]
    return parts


@given(LABELS, PARTS)
def test_a_frame_gives_back_its_label_and_parts(label: Label, parts: list[bytes]) -> None:
    assert unframe(framed(label, *parts)) == [label.encoded, *parts]


@given(LABELS, PARTS, LABELS, PARTS)
def test_hashes_agree_only_where_label_and_parts_do(a: Label, x: list[bytes], b: Label, y: list[bytes]) -> None:
    assert (tagged_hash(a, *x) == tagged_hash(b, *y)) == ((a, x) == (b, y))
    assert (tagged_hash_512(a, *x) == tagged_hash_512(b, *y)) == ((a, x) == (b, y))


@given(LABELS, PARTS)
def test_frames_are_what_framed_puts_around_the_parts(label: Label, parts: list[bytes]) -> None:
    around = frames(label, *(len(part) for part in parts))
    joined = b"".join(frame + part for frame, part in zip(around, parts, strict=True))
    assert joined == (framed(label, *parts) if parts else b"")


def test_sizes_and_functions() -> None:
    frame = framed(labels.CODE, b"x")
    assert tagged_hash(labels.CODE, b"x") == hashlib.sha256(frame).digest()
    assert tagged_hash_512(labels.CODE, b"x") == hashlib.sha512(frame).digest()
    assert sha256(b"abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4


def test_equal_compares() -> None:
    assert equal(b"same", b"same")
    assert not equal(b"same", b"sane")
    assert not equal(b"same", b"sam")


def test_numbers_are_eight_bytes() -> None:
    assert number(0) == bytes(8)
    assert number(2**64 - 1) == b"\xff" * 8
    for value in (-1, 2**64):
        with pytest.raises(OverflowError):
            number(value)
