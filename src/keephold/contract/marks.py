"""What decorators write on the methods of a contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MARK: Final = "__keephold_method__"

MethodKind = Literal["init", "call", "view", "reply"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What a decorator wrote on a method."""

    kind: MethodKind
    scope: str | None = None
    public: bool = False
