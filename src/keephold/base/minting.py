"""Types that only their own module may make: a `VerifiedX` exists because something verified it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

_T = TypeVar("_T")


class NoPublicConstructor(type):
    """Metaclass: `Class(...)` raises; the module that owns the class says `Class._mint(...)`.

    This guards against mistakes, not against Python: who reaches for `object.__new__` or an underscore means to.
    """

    def __call__(cls, *_args: object, **_fields: object) -> NoReturn:
        """Refuse."""
        raise TypeError(f"{cls.__name__} has no public constructor")

    def _mint(cls: type[_T], *args: Any, **fields: Any) -> _T:
        return type.__call__(cls, *args, **fields)  # type: ignore[no-any-return] # the constructor past the refusal
