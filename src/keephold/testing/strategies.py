"""Hypothesis strategies for what contracts take, from their interface.

    @given(arguments=strategies.for_method(Token.transfer))
    def test_nothing_breaks_it(net, arguments): ...

Values lean towards what programs trip over: small numbers, ends of ranges, empty texts, accounts that the tests know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from hypothesis import strategies as st

from keephold.base.errors import InputError
from keephold.client.abi import Parameter, encode_value
from keephold.contract.address import Address
from keephold.contract.model import method_of
from keephold.contract.values import Schema
from keephold.testing.native import native_account
from keephold.testing.pytest_plugin import ACCOUNTS

_LIMIT: Final = 1 << 128
_SMALL: Final = 300
_LONGEST: Final = 600
"""Characters, bytes: past the first size of most contracts."""
_SHORT: Final = 12
_MOST: Final = 5
_DISTINCT: Final = 12
_ELEMENT: Final = 8
"""Bytes that an element of an array takes at least, about."""
_ALPHABET: Final = "abcxyz 019-\"'\\\n\x00é☃𝄞"


def for_method(method: Callable[..., object], addresses: Sequence[Address] = ()) -> st.SearchStrategy[tuple[Any, ...]]:
    """Return tuples of arguments for a contract's method, as `handle.method(*arguments)` takes them.

    `addresses` are those that addresses are drawn from: alice to judy of the native network if none are given.

    Raises:
        InputError: the function is no contract method.
        ContractTypeError: its annotations make none.
    """
    found = method_of(method)
    if found is None:
        raise InputError(f"{getattr(method, '__qualname__', method)} is no method of a contract: @init, @call or @view")
    parameters, _ = found.signature()
    drawn = []
    for parameter in parameters:
        schema = parameter.codec.schema()
        drawn.append(for_schema(schema, addresses).map(_typed(parameter.name, schema, parameter.codec.decode)))
    return st.tuples(*drawn)


def _typed(name: str, schema: Schema, decode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: decode(encode_value(schema, value, name))


def for_parameter(parameter: Parameter, addresses: Sequence[Address] = ()) -> st.SearchStrategy[Any]:
    """Return values for one argument of an interface, as a client takes them."""
    return for_schema(parameter.schema, addresses)


def for_schema(schema: Schema, addresses: Sequence[Address] = (), *, longest: int = _LONGEST) -> st.SearchStrategy[Any]:
    """Return values that fit a schema of an interface, as a client takes them: records as dictionaries.

    Texts, bytes and arrays take up to about `longest` bytes each.
    """
    if "anyOf" in schema:
        return st.none() | for_schema(cast("list[Schema]", schema["anyOf"])[0], addresses, longest=longest)
    if "enum" in schema:
        return st.sampled_from(cast("list[str]", schema["enum"]))
    match schema.get("format"):
        case "uint128":
            return st.integers(0, _SMALL) | st.integers(0, _LIMIT - 1)
        case "int128":
            return st.integers(-_SMALL, _SMALL) | st.integers(1 - _LIMIT, _LIMIT - 1)
        case "hex":
            return st.binary(max_size=_SHORT) | st.integers(0, longest // 2).map(bytes)
        case "address":
            return st.sampled_from(list(addresses) or [native_account(name).address for name in ACCOUNTS])
    match schema.get("type"):
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return _array(schema, addresses, longest)
        case "object":
            fields = cast("dict[str, Schema]", schema["properties"])
            of = {name: for_schema(field, addresses, longest=longest) for name, field in fields.items()}
            return st.fixed_dictionaries(of)
    return st.text(_ALPHABET, max_size=_SHORT) | st.integers(0, longest).map(lambda size: "x" * size)


def _array(schema: Schema, addresses: Sequence[Address], longest: int) -> st.SearchStrategy[Any]:
    if "prefixItems" in schema:
        parts = cast("list[Schema]", schema["prefixItems"])
        return st.tuples(*(for_schema(part, addresses, longest=longest) for part in parts))
    element = for_schema(cast(Schema, schema["items"]), addresses, longest=longest)
    if schema.get("uniqueItems"):
        return st.lists(element, max_size=_DISTINCT, unique_by=repr).map(tuple)
    few = st.lists(element, max_size=_MOST).map(tuple)
    many = st.tuples(
        for_schema(cast(Schema, schema["items"]), addresses, longest=_SHORT), st.integers(0, longest // _ELEMENT)
    )
    return few | many.map(lambda drawn: (drawn[0],) * drawn[1])
