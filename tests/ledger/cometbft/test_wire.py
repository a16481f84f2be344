from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.ledger.engines.cometbft.wire import MAX_FRAME, Frames, frame


@given(st.lists(st.binary(max_size=300)), st.lists(st.integers(1, 40)))
def test_messages_come_out_as_they_went_in_however_they_were_cut(messages, cuts):
    stream = b"".join(map(frame, messages))
    frames = Frames()
    found = []
    at = 0
    for cut in [*cuts, len(stream) + 1]:
        found += frames.feed(stream[at : at + cut])
        at += cut
    assert found == messages
    assert not frames.is_torn


@given(st.binary())
def test_any_bytes_are_messages_or_the_one_declared_error(received):
    frames = Frames()
    try:
        found = frames.feed(received)
    except EncodingError:
        return
    assert sum(map(len, found)) <= len(received)


def test_a_message_under_way_is_torn():
    frames = Frames()
    assert frames.feed(b"\x05ab") == []
    assert frames.is_torn
    assert frames.feed(b"cde") == [b"abcde"]
    assert not frames.is_torn


@pytest.mark.parametrize(
    ("prefix", "word"),
    [
        (b"\xff\xff\xff\x7f", f"a message of {2**28 - 1} bytes"),
        (b"\x80\x80\x80\x80", "does not end"),
        (b"\xff\xff\xff\xff\x01", "does not end"),
    ],
)
def test_lengths_that_are_too_large_or_endless_are_refused(prefix, word):
    with pytest.raises(EncodingError, match=word):
        Frames().feed(prefix)


def test_the_largest_length_is_waited_for():
    assert Frames().feed(frame(bytes(MAX_FRAME))[:100]) == []
