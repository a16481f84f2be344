from __future__ import annotations

import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.runtime import wire


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(5)
        right.settimeout(5)
        yield left, right


@given(st.lists(st.binary(max_size=5000), max_size=8))
def test_frames_arrive_as_sent(frames):
    left, right = socket.socketpair()
    with left, right:
        sender, receiver = wire.Channel(left), wire.Channel(right)
        for frame in frames:
            sender.send(frame)
        assert [receiver.receive() for _ in frames] == frames


def test_a_closed_peer_a_cut_frame_and_a_frame_out_of_bounds(pair):
    left, right = pair
    left.sendall((wire.MAX_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(wire.Closed, match="bounds"):
        wire.Channel(right).receive()
    left.sendall(b"\0\0\0\5abc")
    left.close()
    with pytest.raises(wire.Closed, match="gone"):
        wire.Channel(right).receive()
    with pytest.raises(wire.Closed, match="gone"):
        wire.Channel(right).send(b"x" * (1 << 22))


def test_silence_is_a_timeout(pair):
    pair[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        wire.Channel(pair[0]).receive()


@given(st.binary())
def test_what_a_child_says_is_a_message_or_ends_the_conversation(data):
    with contextlib.suppress(wire.Closed):
        wire.decode_to_parent(data)
