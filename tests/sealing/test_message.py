"""The envelope between two contracts: opens in its place under its line, and says the same every time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.errors import SealBroken
from keephold.base.ids import NetworkId
from keephold.crypto.aead import OVERHEAD, ContextSealer
from keephold.crypto.hashing import number
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_CHANNEL, SEAL_MESSAGE_ANSWER
from keephold.crypto.padding import pad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import MessagePlain, Reply
from keephold.sealing.message import ChannelKey

NETWORK = NetworkId(b"n" * 32)
LINE = ChannelLine(b"a" * 32, 1, b"b" * 32, 2)
PLAIN, REPLY, PAD = MessagePlain("pay", b"[1]"), Reply("ok", b"1"), (512, 4096)


def key(line: ChannelLine = LINE, network: NetworkId = NETWORK, seed: bytes = b"s" * 32) -> ChannelKey:
    return ChannelKey(SecretBytes(seed), network, line)


@given(st.integers(0, 1 << 62), st.text(max_size=64), st.binary(max_size=2000))
def test_opens_where_it_was_sealed_and_is_the_same_each_time(at: int, method: str, arguments: bytes) -> None:
    plain = MessagePlain(method, arguments)
    sealed = key().seal_message(at, plain, PAD)
    assert key().open_message(at, sealed) == plain
    assert key().seal_message(at, plain, PAD) == sealed
    assert len(sealed) - OVERHEAD in (*PAD, 8192)


@pytest.mark.parametrize(
    "other",
    [
        key(replace(LINE, source=b"c" * 32)),
        key(replace(LINE, target=b"c" * 32)),
        key(replace(LINE, source_epoch=2)),
        key(replace(LINE, target_epoch=3)),
        key(ChannelLine(LINE.target, 2, LINE.source, 1)),
        key(network=NetworkId(b"m" * 32)),
        key(seed=b"t" * 32),
    ],
    ids=["source", "target", "source epoch", "target epoch", "direction", "network", "seed"],
)
def test_bound_to_everything(other: ChannelKey) -> None:
    with pytest.raises(SealBroken):
        other.open_message(5, key().seal_message(5, PLAIN, PAD))
    with pytest.raises(SealBroken):
        other.open_answer(5, key().seal_answer(5, REPLY, PAD))


def test_bound_to_number_and_use() -> None:
    sealed, answer = key().seal_message(5, PLAIN, PAD), key().seal_answer(5, REPLY, PAD)
    for opened in (
        lambda: key().open_message(6, sealed),
        lambda: key().open_answer(5, sealed),
        lambda: key().open_message(5, answer),
        lambda: key().open_answer(6, answer),
        lambda: key().open_message(5, sealed[:-1]),
    ):
        with pytest.raises(SealBroken):
            opened()
    assert key().open_answer(5, answer) == REPLY


def test_an_answer_that_says_nothing_is_unreadable_and_still_the_answer() -> None:
    bound = (NETWORK, LINE.source, number(1), LINE.target, number(2))
    made = ContextSealer(derive(SecretBytes(b"s" * 32), KEY_CHANNEL, *bound), SEAL_MESSAGE_ANSWER)
    odd = made.seal(pad(b"no reply", PAD), *bound, number(5))
    assert key().open_answer(5, odd) == Reply("failed", code="unreadable")
