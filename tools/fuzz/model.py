"""What is fuzzed."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from keephold.base.errors import KeepholdError


@dataclass(frozen=True)
class Parser:
    """A function of bytes from outside: it accepts them or raises one of its declared errors; all else is a fault."""

    name: str
    parse: Callable[[bytes], object]
    refusals: type[Exception] | tuple[type[Exception], ...]
    samples: tuple[bytes, ...]
    """Honest inputs, from the production encoders: where a campaign starts, as random bytes rarely get far."""
    spell: Callable[[object], bytes] | None = None
    """The encoder, where only one spelling of a value is accepted: what was read must be spelled as it was."""

    def feed(self, raw: bytes) -> bool:
        """Parse `raw`; say whether it was accepted.

        Raises:
            AssertionError: it was accepted in a second spelling.
        """
        try:
            value = self.parse(raw)
        except self.refusals:
            return False
        if self.spell is not None and self.spell(value) != raw:
            raise AssertionError(f"{self.name}: accepted in a second spelling")
        return True


def text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    """Return a parser of text as one of bytes; what is not UTF-8 stands for itself, as in a command's arguments."""
    return lambda raw: parse(raw.decode("utf-8", "surrogateescape"))


def file(parse: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a parser of files as one of bytes."""

    @functools.wraps(parse)
    def parse_bytes(raw: bytes) -> object:
        with tempfile.NamedTemporaryFile() as stored:
            stored.write(raw)
            stored.flush()
            return parse(Path(stored.name))

    return parse_bytes


ANY: tuple[type[Exception], ...] = (KeepholdError,)
"""For functions that verify, and declare several errors of the one tree."""
