"""What all families share: fixed bytes, the maker of cases, and the judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, final

import msgspec

from keephold.base.errors import AttestationRefused, KeepholdError, LedgerRefused
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import Record

DIRECTORY: Final = Path(__file__).parents[2] / "docs" / "spec" / "vectors"
ACCEPT: Final = "accept"

Given = Mapping[str, Any]
Function = Callable[[Given], dict[str, Any]]
Case = dict[str, Any]


class Family(NamedTuple):
    """One file of vectors."""

    name: str
    about: str
    functions: Mapping[str, Function]
    make: Callable[[Maker], None]


def fixed(name: str, size: int = 32) -> bytes:
    """Return bytes that depend on a name alone."""
    return hashlib.shake_256(b"keephold vector " + name.encode()).digest(size)


def secret(name: str) -> SecretBytes:
    """Return a fixed secret of 32 bytes."""
    return SecretBytes(fixed(name))


def octets(given: Given, field: str) -> bytes:
    """Return a field's bytes."""
    return bytes.fromhex(given[field])


def shown(value: object) -> Any:
    """Return a record as JSON holds it: its fields, with byte strings as CBOR's diagnostic notation writes them."""
    if isinstance(value, Record):
        return shown(msgspec.to_builtins(value, builtin_types=(bytes,)))
    if isinstance(value, dict):
        return {name: shown(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shown(inner) for inner in value]
    return f"h'{value.hex()}'" if isinstance(value, bytes) else value


def judge(function: Function, given: Given) -> tuple[str, dict[str, Any]]:
    """Return the outcome of a case and what came out."""
    try:
        return ACCEPT, function(given)
    except (LedgerRefused, AttestationRefused) as error:
        return f"{error.code}/{error.reason}", {}
    except KeepholdError as error:
        return error.code, {}


@final
class Maker:
    """Collects the cases of a family; each must come to the outcome that its author names."""

    def __init__(self, functions: Mapping[str, Function], recorded: Sequence[Case]) -> None:
        self._functions: Final = functions
        self._recorded: Final = {case["name"]: case for case in recorded}
        self.cases: Final[list[Case]] = []

    def add(self, name: str, function: str, given: Given, outcome: str = ACCEPT) -> dict[str, Any]:
        """Add a case; return what came out.

        Raises:
            ValueError: it came to another outcome, or there is a case of that name.
        """
        found, out = judge(self._functions[function], given)
        if found != outcome or name in {case["name"] for case in self.cases}:
            raise ValueError(f"{name}: {found}, not {outcome}; or twice")
        case: Case = {"name": name, "function": function, "in": dict(given), "outcome": outcome}
        self.cases.append({**case, "out": out} if out else case)
        return out

    def kept(self, name: str, field: str, function: str, make: Callable[[], Given]) -> Given:
        """Return what the case of that name was given, if it still means the same, else what `make` makes.

        For what is random, in `field`: the same has to come out as of a new one, and all other fields to be equal.
        """
        fresh = make()
        before = self._recorded.get(name, {}).get("in")
        if before is None or {**before, field: ""} != {**fresh, field: ""}:
            return fresh
        judged = self._functions[function]
        return dict(before) if judge(judged, before) == judge(judged, fresh) else fresh


def made(family: Family, directory: Path = DIRECTORY) -> str:
    """Return the text of a family's file, as it is now."""
    path = directory / f"{family.name}.json"
    recorded = json.loads(path.read_text())["cases"] if path.exists() else []
    maker = Maker(family.functions, recorded)
    family.make(maker)
    return json.dumps({"about": family.about, "cases": maker.cases}, indent=1, ensure_ascii=False) + "\n"
