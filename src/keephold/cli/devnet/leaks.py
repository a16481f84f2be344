"""`keephold leaks`: which arguments of a contract shape what an operator sees."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import ConfigurationError, ContractError, InputError
from keephold.cli.arguments import parse_words
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared
from keephold.client.abi import parse_abi
from keephold.client.source import code_from_file
from keephold.contract.model import Contract

if TYPE_CHECKING:
    from keephold.testing.meter import Shape

_WIDEST: Final = 40
_MODULE: Final = "keephold_leaks_contract"
_QUESTIONS: Final = (
    "Views leave nothing on the ledger: of a question, the gateway that carries it and the host of the worker that "
    "answers see the sizes and the time, and which slots it reads nobody sees."
)
_COLUMNS: Final = ("method", "argument", "shapes", "one secret", "is seen as", "another", "seen as")

Row = tuple[str, str, str, str, str, str, str]


def leaks(
    contract: Annotated[str, Parameter(help="path/to/file.py, or path/to/file.py:Class")],
    *words: Annotated[str, Parameter(help="Arguments of @init (default: made up).", allow_leading_hyphen=False)],
    examples: Annotated[int, Parameter(help="Pairs of secrets tried for each finding.")] = 200,
    time: Annotated[
        bool, Parameter(help="Run each call and view in the sandbox as well, for the time it takes.")
    ] = True,
    shared: Shared = SHARED,
) -> None:
    """Try each argument of each call and view with made-up secrets, and say what of it an operator can see.

    Nothing is sent anywhere. What is found is real; what is not found may still be there.
    """
    if find_spec("hypothesis") is None:
        raise ConfigurationError("hypothesis is not installed; keephold[test] brings it")
    from keephold.testing.fuel import FuelMeter
    from keephold.testing.meter import shapes
    from keephold.testing.native import NativeBackend
    from keephold.testing.pytest_plugin import ACCOUNTS

    if examples < 1:
        raise InputError("--examples is at least 1")
    code = code_from_file(contract)
    backends = [NativeBackend(ACCOUNTS), *([NativeBackend(ACCOUNTS, FuelMeter())] if time else [])]
    people = {name: account.address for name, account in backends[0].accounts.items()}
    init = parse_abi(code.abi).init
    setup: list[object] | None = None
    if words and init is None:
        raise InputError(f"{code.name} takes no arguments: it has no @init method")
    if words and init is not None:
        setup, named = parse_words(init, words, people)
        setup += [named[parameter.name] for parameter in init.parameters if parameter.name in named]
    found: list[Shape] = []
    try:
        tell = (lambda _: None) if shared.json else (lambda what: print(f"  {what}…", file=sys.stderr))
        found.extend(shapes(_loaded(contract, code.name), backends, examples=examples, setup=setup, tell=tell))
    except ContractError as error:
        raise InputError(f"@init does not take {setup or 'what was made up'}: {error}; give its arguments") from error
    finally:
        for backend in backends:
            backend.close()
    known = {address.text: name for name, address in people.items()}
    rows = [_row(shape, known) for shape in found]
    body = {"contract": code.name, "shaped": [dict(zip(_COLUMNS, row, strict=True)) for row in rows]}
    has_views = any(method.kind == "view" for method in parse_abi(code.abi).methods.values())
    text = _text(code.name, rows)
    emit(body, f"{text}\n\n{_QUESTIONS}" if has_views else text, as_json=shared.json)


def _loaded(target: str, name: str) -> type[Contract]:
    """Return the class in its own file: checked before, and executed here, as its tests do."""
    path, _, _ = target.partition(".py:")
    file = Path(path if path.endswith(".py") else path + ".py").resolve()
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    found = getattr(module, name)
    if not isinstance(found, type) or not issubclass(found, Contract):
        raise InputError(f"{name} in {file} is no contract class")
    return found


def _row(shape: Shape, known: Mapping[str, str]) -> Row:
    (first, second), (left, right) = shape.secrets, shape.seen
    return shape.method, shape.argument, shape.what, _shown(first, known), left, _shown(second, known), right


def _shown(secret: object, known: Mapping[str, str]) -> str:
    text = str(secret)
    return known.get(text, text if text.isascii() and text.isprintable() and text else json.dumps(text))


def _text(name: str, rows: list[Row]) -> str:
    if not rows:
        return f"{name}: no argument was found to shape what an operator sees"
    cells = [_COLUMNS, *rows]
    cut = [[cell if len(cell) <= _WIDEST else f"{cell[: _WIDEST - 1]}…" for cell in line] for line in cells]
    widths = [max(len(line[column]) for line in cut) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cut]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])
