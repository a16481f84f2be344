"""Words of a command line into a contract's arguments, as its ABI describes them.

Integers, amounts, text and bytes (hexadecimal) are written as they are; an address may be written as the name of an
account or contract; lists, objects and optional values are written as JSON. `name=word` names an argument.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from keephold.base.errors import AbiError
from keephold.client.abi import Method
from keephold.contract.address import Address
from keephold.contract.errors import Mismatch
from keephold.contract.values import Schema, parse


def parse_words(
    method: Method, words: Sequence[str], names: Mapping[str, Address]
) -> tuple[list[object], dict[str, object]]:
    """Return the arguments that `words` spell: those in order, and those by name.

    Raises:
        AbiError: a word does not fit its parameter, or there are too many.
    """
    parameters = {parameter.name: parameter for parameter in method.parameters}
    ordered: list[object] = []
    named: dict[str, object] = {}
    for word in words:
        name, equals, rest = word.partition("=")
        if equals and name in parameters:
            if name in named:
                raise AbiError(f"{name} is given twice")
            named[name] = parse_word(parameters[name].schema, rest, names, name)
            continue
        if named:
            raise AbiError(f"{word!r} comes after an argument by name")
        if len(ordered) == len(method.parameters):
            raise AbiError(f"{method.usage()} takes {len(method.parameters)} arguments, not {len(words)}")
        parameter = method.parameters[len(ordered)]
        ordered.append(parse_word(parameter.schema, word, names, parameter.name))
    return ordered, named


def parse_word(schema: Schema, word: str, names: Mapping[str, Address], where: str) -> object:
    """Return the value that one word spells; the ABI checks its range.

    Raises:
        AbiError: it is no such value.
    """
    if schema.get("format") == "address":
        return names.get(word, word)
    match schema.get("type"):
        case "boolean":
            if word not in ("true", "false"):
                raise AbiError(f"{where}: expected true or false, got {word!r}")
            return word == "true"
        case "array" | "object":
            return _resolved(schema, _json(word, where), names)
        case None if "anyOf" in schema:
            if word == "null":
                return None
            return parse_word(cast("list[Schema]", schema["anyOf"])[0], word, names, where)
    return word


def _json(word: str, where: str) -> Any:
    try:
        return parse(word)
    except Mismatch as error:
        raise AbiError(f"{where}: {error}; lists and objects are written as JSON") from error


def _resolved(schema: Schema, value: Any, names: Mapping[str, Address]) -> Any:
    """Replace names by addresses inside JSON, where the schema says address."""
    if schema.get("format") == "address" and isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list) and "items" in schema:
        return [_resolved(cast(Schema, schema["items"]), item, names) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        fields = cast("dict[str, Schema]", schema["properties"])
        return {name: _resolved(fields.get(name, {}), item, names) for name, item in value.items()}
    return value


def spelled(arguments: Sequence[object], named: Mapping[str, object]) -> str:
    """Return arguments for a person's eyes."""
    shown = [json.dumps(item, default=str) for item in arguments]
    return ", ".join([*shown, *(f"{name}={json.dumps(item, default=str)}" for name, item in named.items())])
