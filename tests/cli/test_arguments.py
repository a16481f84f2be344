"""Words become what the ABI asks for, or an AbiError."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import AbiError
from keephold.cli.arguments import parse_words, spelled
from keephold.client.abi import Method, Parameter
from keephold.contract.address import Address
from keephold.contract.values import Amount, codec_of

ALICE = Address.account(bytes(range(32)))
NAMES = {"alice": ALICE}


def method(**hints: object) -> Method:
    parameters = tuple(Parameter(name, codec_of(hint).schema()) for name, hint in hints.items())
    return Method("m", "call", "", parameters, None, (), public=False)


def encoded(described: Method, *words: str) -> list[object]:
    arguments, named = parse_words(described, words, NAMES)
    return json.loads(described.encode(arguments, named))


@pytest.mark.parametrize(
    ("hint", "word", "value"),
    [
        (int, "-5", -5),
        (int, str(1 << 100), str(1 << 100)),
        (Amount, "5", "5"),
        (str, "5", "5"),
        (str, "a=b", "a=b"),
        (bool, "true", True),
        (bytes, "00ff", "00ff"),
        (Address, "alice", ALICE.text),
        (Address, ALICE.text, ALICE.text),
        (tuple[int, ...], "[1, 2]", [1, 2]),
        (tuple[Address, ...], '["alice"]', [ALICE.text]),
        (int | None, "null", None),
        (int | None, "3", 3),
    ],
)
def test_words(hint, word, value) -> None:
    assert encoded(method(x=hint), word) == [value]


def test_by_name() -> None:
    assert encoded(method(to=Address, amount=Amount), "alice", "amount=5") == [ALICE.text, "5"]
    assert encoded(method(to=Address, amount=Amount), "amount=5", "to=alice") == [ALICE.text, "5"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["alice"],
        ["alice", "5", "6"],
        ["nobody", "5"],
        ["alice", "-5"],
        ["alice", "1.5"],
        ["to=alice", "5"],
        ["to=alice", "to=alice"],
        ["alice", "amount=x"],
    ],
)
def test_what_does_not_fit(words) -> None:
    with pytest.raises(AbiError):
        encoded(method(to=Address, amount=Amount), *words)


@pytest.mark.parametrize(("hint", "word"), [(bool, "yes"), (tuple[int, ...], "1,2"), (tuple[int, ...], "[1.5]")])
def test_spelling(hint, word) -> None:
    with pytest.raises(AbiError):
        encoded(method(x=hint), word)


HINTS = [int, Amount, str, bool, bytes, Address, tuple[int, ...], frozenset[int], int | None, tuple[int, str]]


@given(st.sampled_from(HINTS), st.lists(st.text() | st.from_regex(r"-?[0-9]{1,45}"), max_size=3))
def test_any_words_fit_or_are_refused(hint, words) -> None:
    described = method(x=hint)
    try:
        [value] = encoded(described, *words)
    except AbiError:
        return
    codec_of(hint).decode(value)


@given(st.integers(1 - (1 << 128), (1 << 128) - 1))
def test_every_integer_can_be_written(number) -> None:
    [value] = encoded(method(x=int), str(number))
    assert codec_of(int).decode(value) == number


def test_what_is_shown_before_it_is_sent() -> None:
    assert spelled([ALICE, 5], {"memo": "x"}) == f'"{ALICE}", 5, memo="x"'
