"""Lines of keys: each spelled one way, and what ends it."""

from __future__ import annotations

import pytest

from keephold.base.errors import EncodingError
from keephold.protocol.codec import decode, encode
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, Party, SigningLine, order, parties
from keephold.protocol.transactions import KeyRequest

ONE, OTHER = b"c" * 32, b"d" * 32
LINES: list[KeyLine] = [ContractLine(ONE, 1), SigningLine(ONE), ChannelLine(ONE, 1, OTHER, 2)]


def test_lines_travel_in_one_request_and_stay_what_they_are() -> None:
    request = KeyRequest(b"i" * 32, tuple(LINES))
    assert decode(encode(request), KeyRequest) == request


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_another_kind_is_no_spelling_of_it(line: KeyLine) -> None:
    for kind in {ContractLine, SigningLine, ChannelLine} - {type(line)}:
        with pytest.raises(EncodingError):
            decode(encode(line), kind)


def test_what_ends_a_line() -> None:
    assert parties(LINES[0]) == (Party(ONE, 1),)
    assert parties(LINES[1]) == (Party(ONE, None),)
    assert parties(LINES[2]) == (Party(ONE, 1), Party(OTHER, 2))
    assert len({order(line) for line in LINES}) == len(LINES)
