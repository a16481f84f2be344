"""What is wrong with a law file: the first mistake, as its key, what stands there, and what may.

`form` compares what TOML says with the shape of the law's records; `sense` asks what no single value shows: that keys
are accounts, and that such a law can be lived under. Both are pure, and say it in words of the file, not of a library.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from msgspec.inspect import Field, IntType, LiteralType, StrType, StructType, Type, VarTupleType

from keephold.base.errors import CryptoError
from keephold.base.limits import MAX_SEATS
from keephold.contract.address import Address
from keephold.crypto.signing import check_public
from keephold.programs.law_tables import HEX32, Law

_SHOWN: Final = 60
_NOTHING: Final = "nothing"
_ACCOUNT: Final = "the address of an account, kh1…"


class Mistake(NamedTuple):
    """One value of the file that cannot stand."""

    key: str
    """Its path from the top, as `committee.seats` or `governance.keys[0]`."""
    found: str
    allowed: str


def form(value: object, kind: Type, at: str = "") -> Mistake | None:
    """Return the first place where a value has another shape than its record asks for; None if there is none.

    Raises:
        TypeError: the record has a field of a type that no law file has.
    """
    match kind:
        case StructType():
            return _table(value, kind, at)
        case VarTupleType():
            if not isinstance(value, list):
                return _mistake(at, value, kind)
            found = (form(item, kind.item_type, f"{at}[{number}]") for number, item in enumerate(value))
            return next((mistake for mistake in found if mistake), None)
        case IntType():
            fits = isinstance(value, int) and not isinstance(value, bool)
            fits = fits and _bounds(kind)[0] <= value <= _bounds(kind)[1]  # type: ignore[operator] # an int by then
        case StrType():
            fits = isinstance(value, str) and _is_text(value, kind)
        case LiteralType():
            fits = isinstance(value, str) and value in kind.values
        case _:
            raise TypeError(f"{at}: {kind}")
    return None if fits else _mistake(at, value, kind)


def _table(value: object, kind: StructType, at: str) -> Mistake | None:
    if not isinstance(value, Mapping):
        return _mistake(at, value, kind)
    fields = {field.encode_name: field for field in kind.fields}
    unknown = next((key for key in value if key not in fields), None)
    if unknown is not None:
        return Mistake(_under(at, str(unknown)), "a key that the law does not have", f"one of {', '.join(fields)}")
    for name, field in fields.items():
        mistake = _field(value, name, field, at)
        if mistake:
            return mistake
    return None


def _field(table: Mapping[str, object], name: str, field: Field, at: str) -> Mistake | None:
    key = _under(at, name)
    if name in table:
        return form(table[name], field.type, key)
    return Mistake(key, _NOTHING, _allowed(field.type)) if field.required else None


def sense(law: Law) -> Iterator[Mistake]:
    """Yield what cannot be lived under, of a law whose form is right."""
    # (1) Keys are accounts, each once, and enough of them.
    governance, committee, attestation = law.governance, law.committee, law.attestation
    for number, text in enumerate(governance.keys):
        at = f"governance.keys[{number}]"
        if not _is_account(text):
            yield Mistake(at, _shown(text), _ACCOUNT)
        elif text in governance.keys[:number]:
            yield Mistake(at, _shown(text), "each account once")
    if governance.threshold > len(governance.keys):
        yield Mistake("governance.threshold", str(governance.threshold), _most(len(governance.keys), "governance.keys"))
    # (2) A committee that outvotes its liars, not smaller than the floor.
    fewest = 2 * committee.threshold - 1
    if committee.seats < fewest or committee.seats > MAX_SEATS:
        yield Mistake(
            "committee.seats",
            str(committee.seats),
            f"2 * committee.threshold - 1, which is {fewest}, to {MAX_SEATS}",
        )
    for floor, of, name in (
        (committee.floor_seats, committee.seats, "seats"),
        (committee.floor_threshold, committee.threshold, "threshold"),
    ):
        if floor > of:
            yield Mistake(f"committee.floor_{name}", str(floor), _most(of, f"committee.{name}"))
    # (3) Somebody can be admitted, in each role.
    if not attestation.vendors:
        yield Mistake("attestation.vendors", "an empty list", "at least one: without, no enclave is ever admitted")
    there = sorted({item.role for item in attestation.measurements})
    if there != ["gatekeeper", "worker"]:
        found = f"measurements for {' and '.join(there) or 'no role'}"
        yield Mistake("attestation.measurements", found, "at least one for each of gatekeeper, worker")


def _is_account(text: str) -> bool:
    try:
        address = Address.parse(text)
        check_public(address.value)
    except (ValueError, CryptoError):
        return False
    return address.kind == "account" and address.text == text


def _most(count: int, key: str) -> str:
    return f"at most {count}, as {key} says" if count else f"none, as {key} is empty"


def _under(at: str, name: str) -> str:
    """Return the path of a key; one that TOML has to quote is quoted."""
    part = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _shown(name)
    return f"{at}.{part}" if at else part


def _mistake(at: str, value: object, kind: Type) -> Mistake:
    return Mistake(at, _shown(value), _allowed(kind))


def _bounds(kind: IntType) -> tuple[int, int]:
    if kind.ge is None or kind.le is None:
        raise TypeError("a number without bounds")
    return kind.ge, kind.le


def _is_text(text: str, kind: StrType) -> bool:
    if kind.pattern is not None and re.fullmatch(kind.pattern, text) is None:
        return False
    return (kind.min_length or 0) <= len(text) <= (len(text) if kind.max_length is None else kind.max_length)


def _allowed(kind: Type) -> str:
    match kind:
        case StructType():
            return f"a table with {', '.join(field.encode_name for field in kind.fields)}"
        case VarTupleType():
            return f"a list, each {_allowed(kind.item_type)}"
        case IntType():
            return "a whole number from {} to {}".format(*_bounds(kind))
        case StrType():
            if kind.pattern == HEX32:
                return "64 hexadecimal digits, lower case"
            if kind.max_length is not None:
                return f"text of {kind.min_length or 0} to {kind.max_length} characters"
            return "text"
        case LiteralType():
            return " or ".join(f'"{value}"' for value in kind.values)
        case _:
            raise TypeError(str(kind))


def _shown(value: object) -> str:
    """Return a value of TOML as a person knows it again, cut."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = json.dumps(value, ensure_ascii=False)
        case list():
            text = f"a list of {len(value)}" if value else "an empty list"
        case dict():
            text = "a table"
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
