"""JSON as text: one spelling out, any spelling in.

Text is canonical (sorted names, no spaces), because storage keys are compared as text, and ASCII, so that no lone
surrogate can leave the sandbox unescaped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, TypeAlias, cast

from keephold.contract.errors import Mismatch

Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
Schema: TypeAlias = "dict[str, Json]"

MAX_DEPTH: Final = 32
"""Nesting of a JSON value. The parser recurses on the machine's stack, whose end is a trap, not an exception."""

_BRACKETS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)
"""Strings, which may hold brackets, and brackets. A string that never ends goes to the end of the text, and is not
tried again from each quote in it: time is linear, whatever the text. It runs outside the sandbox too, on anybody's."""

_encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
canonical: Final[Callable[[Json], str]] = _encoder.encode
"""Return the one text of a JSON value."""


def check_depth(text: str) -> None:
    """Check that no value is nested too deeply for a parser that recurses; of what is no JSON, that is all it says.

    Raises:
        Mismatch: it is.
    """
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for token in _BRACKETS.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Mismatch(f"nested deeper than {MAX_DEPTH}")
        elif token[0] in "]}":
            depth -= 1


def parse(text: str) -> Json:
    """Return the JSON value of `text`.

    Raises:
        Mismatch: not JSON, a float, or nested too deeply.
    """
    check_depth(text)
    try:
        return cast(Json, _decoder.decode(text))
    except Mismatch:
        raise
    except (ValueError, RecursionError) as e:
        raise Mismatch("not JSON") from e


def _no_float(text: str) -> None:
    raise Mismatch(f"{text[:20]} is not an integer: write large or fractional amounts as integers of a smaller unit")


_decoder: Final = json.JSONDecoder(parse_float=_no_float, parse_constant=_no_float)
