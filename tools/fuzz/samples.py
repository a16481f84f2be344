"""One small honest instance of each record type, made from the type alone: where a mutation starts."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

import keephold.ledger.snapshots.content
import keephold.protocol
from keephold.protocol.codec import Record

T = TypeVar("T", bound=Record)


def record_types() -> tuple[type[Record], ...]:
    """Return every record type of the protocol and of snapshots that decodes on its own, by name."""
    for module in pkgutil.iter_modules(keephold.protocol.__path__):
        importlib.import_module(f"keephold.protocol.{module.name}")
    found: set[type[Record]] = set()
    waiting: list[type[Record]] = [Record]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            if kind not in found:
                found.add(kind)
                waiting.append(kind)
    ours = (kind for kind in found if kind.__module__.startswith("keephold.") and kind.__struct_fields__)
    return tuple(sorted(ours, key=lambda kind: (kind.__module__, kind.__qualname__)))


def sample(kind: type[T]) -> T:
    """Return the smallest instance whose fields all differ from their defaults where they may."""
    made = _value(inspect.type_info(kind))
    return msgspec.convert(made, kind, builtin_types=(bytes,))


def _value(info: inspect.Type) -> Any:
    match info:
        case inspect.Metadata(type=inner):
            return _value(inner)
        case inspect.BytesType() | inspect.ByteArrayType():
            return b"\1" * max(1, info.min_length or 0)
        case inspect.StrType():
            return "a" * max(1, info.min_length or 0)
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return max(1, info.ge or 0, (info.gt or 0) + 1)
        case inspect.LiteralType():
            return info.values[-1]
        case inspect.VarTupleType() | inspect.ListType():
            return [_value(info.item_type)] * max(1, info.min_length or 0)
        case inspect.TupleType():
            return [_value(item) for item in info.item_types]
        case inspect.DictType():
            return {_value(info.key_type): _value(info.value_type)}
        case inspect.UnionType():
            return _value(info.types[0])
        case inspect.StructType():
            return _fields(info)
        case _:
            raise TypeError(f"no sample of {info}")


def _fields(info: inspect.StructType) -> dict[str, Any]:
    tag = {info.tag_field: info.tag} if info.tag_field is not None else {}
    return tag | {field.encode_name: _value(field.type) for field in info.fields}
