"""Records: what contracts store, take, return and emit.

A `Record` is a frozen dataclass to the type checker. At run time it is a few lines, because the standard `dataclass`
generates and compiles code for every class, which would cost each transaction (a fresh interpreter) a millisecond.
"""

from __future__ import annotations

import types
from typing import Any, Final, NoReturn, TypeVar, dataclass_transform, get_type_hints

from keephold.contract.errors import ContractTypeError

_MISSING: Final = object()


def own_hints(owner: type | types.FunctionType) -> dict[str, object]:
    """Return the annotations written on `owner` itself, strings resolved, `Annotated` kept.

    Raises:
        ContractTypeError: a name in an annotation does not exist.
    """
    try:
        written: dict[str, object] = owner.__annotations__
        if any(isinstance(hint, str) for hint in written.values()):
            resolved = get_type_hints(owner, include_extras=True)
            return {name: resolved[name] for name in written}
    except NameError as e:
        raise ContractTypeError(f"{owner.__qualname__}: {e}") from e
    return dict(written)


@dataclass_transform(frozen_default=True)
class Record:
    """Named, typed, immutable fields. Compare and hash by value; `replace` makes an altered copy.

    Fields take the types of storage (see `keephold.contract.values`); a value given to a class attribute is the
    field's default.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        fields = record_fields(cls)
        if len(args) > len(fields):
            raise TypeError(f"{cls.__name__} takes {len(fields)} values, not {len(args)}")
        values = dict(zip(fields, args, strict=False))
        for name, value in kwargs.items():
            if name not in fields or name in values:
                raise TypeError(f"{cls.__name__} has no field {name!r}, or it was given twice")
            values[name] = value
        for name in fields:
            if name not in values:
                default = getattr(cls, name, _MISSING)
                if default is _MISSING:
                    raise TypeError(f"{cls.__name__} lacks its field {name!r}")
                values[name] = default
        self.__dict__.update({name: values[name] for name in fields})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"records are immutable: use replace(record, {name}=…)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("records are immutable")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"


class Event(Record):
    """A record that a call emits: sealed to its recipients, or public where the call says so."""


_R = TypeVar("_R", bound=Record)


def replace(record: _R, /, **changes: Any) -> _R:
    """Return a copy of `record` with the named fields changed.

    Raises:
        TypeError: a name is no field.
    """
    return type(record)(**{**record.__dict__, **changes})


def record_fields(cls: type[Record]) -> dict[str, object]:
    """Return the fields of a record class in order, with their types; base classes first."""
    known = cls.__dict__.get("__record_fields__")
    if isinstance(known, dict):
        return known
    fields: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base is not Record and base is not Event and issubclass(base, Record):
            fields.update(own_hints(base))
    type.__setattr__(cls, "__record_fields__", fields)
    return fields
