"""How a contract refuses. Any other exception is a bug of the contract and reaches its caller as one code."""

from __future__ import annotations

import re
from typing import Final

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
MAX_DETAIL: Final = 1024
"""Characters of a rejection's detail or a failure's message; longer ones are cut."""


class Reject(Exception):
    """The contract refuses the call: `code` for programs, `detail` for people. Every write of the call is dropped.

    Both are sealed to the caller. Whoever sees which check failed learns that the later ones were not reached: test
    first what the caller may know.

    Raises:
        ValueError: the code is not a lower-case word of at most 64 letters, digits and underscores.
    """

    def __init__(self, code: str, detail: object = "") -> None:
        if _CODE.fullmatch(code) is None:
            raise ValueError("a rejection code is a lower-case word, e.g. `insufficient_balance`")
        self.code: Final = code
        self.detail: Final = str(detail)[:MAX_DETAIL]
        super().__init__(f"{code}: {self.detail}" if self.detail else code)


class ContractTypeError(TypeError):
    """A declaration or value that the contract's types do not allow. Seen at deploy where it is a declaration's."""


class BadResult(ContractTypeError):
    """A method returned what its annotation has no place for; `line` is its only `return`'s, 0 where it has several."""

    def __init__(self, message: str, line: int) -> None:
        self.line: Final = line
        super().__init__(f"the result: {message}")


class Mismatch(ValueError):
    """Data that does not fit the type it is read as; the message says where and what was expected."""


def require(condition: bool, code: str, detail: object = "") -> None:  # noqa: FBT001 - reads as a sentence
    """Raise `Reject(code, detail)` unless `condition` holds."""
    if not condition:
        raise Reject(code, detail)
