"""Keys that are used, not read: no pickle, no copy, no revealing repr.

A key object is a capability. Whoever holds it may seal, open or sign; nobody gets its bytes. Python offers many ways
to turn an object into bytes by accident (a pickle to a child process, a deep copy into a cache, a repr in a log), and
this base closes them once instead of in every class.
"""

from __future__ import annotations

from typing import NoReturn


class Opaque:
    """Base of every key object. Subclasses are final, keep their key in a slot and add no way to read it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(opaque)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("keys are not pickled")

    def __copy__(self) -> NoReturn:
        raise TypeError("keys are not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("keys are not copied")
