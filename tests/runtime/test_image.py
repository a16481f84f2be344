from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.runtime.image import split
from keephold.runtime.linking.wasm import PAGE

MAGIC = b"\0asm\x01\0\0\0"
COMPONENT = b"\0asm\x0d\0\x01\0"


def section(number: int, body: bytes) -> bytes:
    return bytes([number, len(body) & 0x7F | 0x80, len(body) >> 7]) + body


def module(*segments: bytes, memory: bytes = b"\x01\x00\x02") -> bytes:
    data = section(11, bytes([len(segments)]) + b"".join(segments)) if segments else b""
    return MAGIC + section(5, memory) + data + section(0, b"\x01x")


def segment(offset: bytes, data: bytes) -> bytes:
    return b"\0\x41" + offset + b"\x0b" + bytes([len(data)]) + data


def component(core: bytes) -> bytes:
    return COMPONENT + section(7, b"types") + section(1, core) + section(1, MAGIC + b"\0\0") + section(3, b"rest")


def test_it_takes_the_segments_out_and_applies_them():
    parts = split(component(module(segment(b"\x03", b"abc"), segment(b"\xff\xff\x07", b"z"))))
    assert len(parts.memory) == 2 * PAGE
    assert parts.memory[:8] == b"\0\0\0abc\0\0"
    assert parts.memory[-1:] == b"z"
    assert parts.code == split(component(module())).code
    assert split(parts.code).memory == bytes(2 * PAGE)


BAD = {
    "nothing": b"",
    "a core module": module(),
    "no core module": COMPONENT + section(7, b"x"),
    "no memory": component(MAGIC),
    "two memories": component(module(memory=b"\x02\x00\x01\x00\x01")),
    "passive data": component(module(b"\x01\x01x")),
    "an offset that is computed": component(module(b"\0\x23\0\x0b\x01x")),
    "an offset of two instructions": component(module(b"\0\x41\x00\x41\x0b\x01x")),
    "a segment beyond the memory": component(module(segment(b"\xff\xff\x07", b"zz"))),
    "a segment at a negative place": component(module(segment(b"\x7f", b"z"))),
    "a section beyond the end": component(module())[:-1],
    "data before the memory": component(MAGIC + section(11, b"\0") + section(5, b"\x01\x00\x01")),
    "a count of data": component(MAGIC + section(5, b"\x01\x00\x01") + section(12, b"\0")),
}


@pytest.mark.parametrize("name", BAD)
def test_anything_else_is_refused(name):
    with pytest.raises(ValueError, match=r"module|component|segment|section|data|constant"):
        split(BAD[name])


GOOD = component(module(segment(b"\x03", b"abc")))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_an_altered_component_splits_or_is_refused(place, byte):
    altered = bytearray(GOOD)
    altered[place] = byte
    try:
        parts = split(bytes(altered))
    except ValueError:
        return
    assert len(parts.memory) % PAGE == 0
