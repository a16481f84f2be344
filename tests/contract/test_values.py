from __future__ import annotations

import contextlib
import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold import Address, Amount, Record, replace
from keephold.base import limits
from keephold.contract.errors import ContractTypeError, Mismatch
from keephold.contract.text import canonical, parse
from keephold.contract.values import MAX_INTEGER, codec_of

INTEGERS = st.integers(min_value=-MAX_INTEGER + 1, max_value=MAX_INTEGER - 1)
ADDRESSES = st.binary(min_size=32, max_size=32).map(Address)
TEXTS = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


class Point(Record):
    x: int
    y: int = 7


class Nested(Record):
    who: Address
    at: Point
    note: str | None = None


class Loop(Record):
    inner: "Loop | None"  # noqa: UP037 - the quoted spelling is the case


def test_what_is_nested_too_deeply_is_refused_before_a_parser_recurses():
    assert parse("[" * 32 + "]" * 32)
    assert parse(canonical(["[" * 1000, "{" * 1000])) == ["[" * 1000, "{" * 1000]
    for text in ("[" * 33 + "]" * 33, '{"a":' * 33 + "1" + "}" * 33, "[" * 100_000):
        with pytest.raises(Mismatch, match="nested deeper than 32"):
            parse(text)


def test_a_string_that_never_ends_is_read_once():
    """Were it tried again from each quote in it, its brackets would count, and a worker would take minutes over it."""
    with pytest.raises(Mismatch, match="not JSON"):
        parse('"' + '\\"' * 1000 + "[" * 40)


CASES = [
    (bool, st.booleans()),
    (int, INTEGERS),
    (Amount, st.integers(min_value=0, max_value=MAX_INTEGER - 1)),
    (str, TEXTS),
    (bytes, st.binary()),
    (None, st.none()),
    (Address, ADDRESSES),
    (int | None, st.none() | INTEGERS),
    (tuple[int, str], st.tuples(INTEGERS, TEXTS)),
    (tuple[bool, ...], st.lists(st.booleans()).map(tuple)),
    (frozenset[int], st.frozensets(INTEGERS)),
    (frozenset[Address], st.frozensets(ADDRESSES)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Nested, st.builds(Nested, ADDRESSES, st.builds(Point, INTEGERS, INTEGERS), st.none() | TEXTS)),
]


@pytest.mark.parametrize(("hint", "strategy"), CASES, ids=lambda case: str(case)[:40])
@given(data=st.data())
def test_what_is_encoded_decodes_to_itself_and_has_one_text(hint, strategy, data):
    value = data.draw(strategy)
    codec = codec_of(hint)
    text = canonical(codec.encode(value))
    assert text.isascii()
    decoded = codec.decode(parse(text))
    assert decoded == value
    assert type(decoded) is type(value)
    assert canonical(codec.encode(decoded)) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@pytest.mark.parametrize("hint", [case[0] for case in CASES], ids=str)
@given(value=JSON)
def test_any_json_is_decoded_or_a_mismatch(hint, value):
    with contextlib.suppress(Mismatch):
        codec_of(hint).decode(value)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_parses_or_is_a_mismatch(text):
    with contextlib.suppress(Mismatch):
        parse(text)


@pytest.mark.parametrize("text", ["1.5", "NaN", "[Infinity]", "1e3", "{", "[" * 100_000, "9" * 5000])
def test_not_a_value(text):
    with pytest.raises(Mismatch):
        parse(text)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, True), (int, "1"), (int, 1.0), (int, MAX_INTEGER), (Amount, -1), (Amount, MAX_INTEGER), (bytes, "ab"),
     (str, b"ab"), (Address, "kh1"), (tuple[int, ...], [1]), (tuple[int, int], (1,)), (frozenset[int], {1}),
     (Literal["a"], "b"), (Point, Nested), (bool, 1)],
)  # fmt: skip
def test_a_value_of_another_type_is_not_stored(hint, value):
    with pytest.raises(ContractTypeError):
        codec_of(hint).encode(value)


@pytest.mark.parametrize(
    ("hint", "value"),
    [(int, "007"), (int, "-0"), (int, "+1"), (int, "٣"), (int, str(MAX_INTEGER)), (Amount, "-1"), (bytes, "AB"),
     (bytes, "a"), (bytes, "a b "), (str, "\ud800"), (frozenset[int], [1, 1]), (tuple[int, int], [1]),
     (Point, {"x": 1, "z": 2}), (Point, {"y": 1}), (Literal["a"], "b"), (bool, 0)],
)  # fmt: skip
def test_a_second_spelling_or_a_wrong_value_is_refused(hint, value):
    with pytest.raises(Mismatch):
        codec_of(hint).decode(value)


def test_brackets_inside_strings_do_not_nest():
    assert parse(canonical(["[{" * 500 + '"\\', [[[1]]]])) == ["[{" * 500 + '"\\', [[[1]]]]
    with pytest.raises(Mismatch, match="nested"):
        parse("[" * 33 + "]" * 33)
    assert parse("[" * 32 + "]" * 32)


def test_large_integers_are_text_because_others_read_doubles():
    assert codec_of(int).encode(2**53) == str(2**53)
    assert codec_of(int).encode(2**53 - 1) == 2**53 - 1
    assert codec_of(Amount).encode(5) == "5"
    assert codec_of(Amount).decode(5) == 5


def test_sets_are_sorted_by_the_text_of_their_elements():
    assert canonical(codec_of(frozenset[int]).encode(frozenset({10, 9, -1}))) == "[-1,10,9]"


@pytest.mark.parametrize("hint", [float, list[int], dict[str, int], set[int], int | str, object, Literal[1], 3, Loop])
def test_types_without_a_place(hint):
    with pytest.raises(ContractTypeError):
        codec_of(hint)


def test_schemas_are_json_schema():
    schema = codec_of(Nested).schema()
    assert schema["required"] == ["who", "at"]
    assert schema["properties"]["at"]["properties"]["x"] == {"type": ["integer", "string"], "format": "int128"}
    assert schema["properties"]["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    json.dumps(schema)


def test_the_integer_bound_is_the_wire_s():
    assert MAX_INTEGER == limits.MAX_INTEGER


def test_records_are_frozen_values():
    point = Point(1)
    assert point == Point(x=1, y=7) != Point(1, 8)
    assert hash(point) == hash(Point(1))
    assert replace(point, y=9) == Point(1, 9)
    assert repr(point) == "Point(x=1, y=7)"
    with pytest.raises(AttributeError, match="immutable"):
        point.x = 2
    with pytest.raises(AttributeError, match="immutable"):
        del point.x
    for arguments, named in (((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"z": 1})):
        with pytest.raises(TypeError):
            Point(*arguments, **named)
