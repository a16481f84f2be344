"""An example of any record: every field set, every value from a name alone."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

from vectors.base import fixed

_BYTES = 32
_TEXT = 12


def example(kind: type, name: str) -> Any:
    """Return a record of this type with all its fields, none at its default.

    Raises:
        TypeError: a field of a type that records do not hold.
    """
    return _value(inspect.type_info(kind), name)


def _value(info: inspect.Type, name: str) -> Any:
    match info:
        case inspect.BytesType():
            return fixed(name, info.min_length or min(info.max_length or _BYTES, _BYTES))
        case inspect.IntType():
            lowest = info.ge or 0
            highest = min(info.le if info.le is not None else 1 << 20, 1 << 20)
            return lowest + int.from_bytes(fixed(name, 4)) % (highest - lowest) + 1 if highest > lowest else lowest
        case inspect.StrType():
            return name.rpartition(".")[2][:_TEXT]
        case inspect.BoolType():
            return True
        case inspect.LiteralType():
            return info.values[-1]
        case inspect.VarTupleType():
            return tuple(_value(info.item_type, f"{name}.{at}") for at in range(max(2, info.min_length or 0)))
        case inspect.StructType():
            return _struct(info, name)
        case inspect.UnionType():
            return _value(info.types[0], name)
        case _:
            raise TypeError(f"{name}: {info}")


def _struct(info: inspect.StructType, name: str) -> msgspec.Struct:
    return info.cls(**{field.name: _value(field.type, f"{name}.{field.name}") for field in info.fields})
