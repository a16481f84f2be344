"""Secret bytes that do not print, pickle, copy, compare slowly or survive `wipe` in their own buffer.

CPython cannot reliably erase memory: copies made by libraries live until they are overwritten. This class keeps the
copies *we* make few, in one wipeable buffer, and out of logs, reprs, pickles and tracebacks. A wiped secret is refused
when used: zeros are a key that everybody knows.
"""

from __future__ import annotations

import hmac
import secrets
from typing import NoReturn, Self, final

from keephold.base.errors import BadKey


@final
class SecretBytes:
    """A secret byte string. `reveal()` is the only way out, so a reviewer can list every place that uses it."""

    __slots__ = ("_buffer", "_wiped")

    def __init__(self, value: bytes | bytearray) -> None:
        self._wiped = False
        self._buffer = bytearray()
        self._buffer += memoryview(value)  # refuses an int, of which bytearray() would make that many zeros

    @classmethod
    def random(cls, size: int = 32) -> Self:
        """Draw `size` bytes from the operating system."""
        return cls(secrets.token_bytes(size))

    def reveal(self) -> bytes:
        """Return the plaintext, for the next call into a cryptographic library.

        Raises:
            BadKey: the secret was wiped.
        """
        if self._wiped:
            raise BadKey("this secret was wiped")
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrite our own copy with zeros; `reveal` refuses from now on."""
        self._wiped = True
        self._buffer[:] = bytes(len(self._buffer))

    def __len__(self) -> int:
        return len(self._buffer)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretBytes):
            return NotImplemented
        return hmac.compare_digest(self._buffer, other._buffer)

    __hash__ = None  # type: ignore[assignment] # a secret is no dictionary key: its hash would leak and outlive it

    def __repr__(self) -> str:
        return f"SecretBytes({len(self._buffer)} bytes)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled")

    def __copy__(self) -> NoReturn:
        raise TypeError("secrets are not copied")

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError("secrets are not copied")

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __del__(self) -> None:
        self.wipe()
