"""A trust domain under Linux 6.7 or later: quotes through configfs-tsm. It has no sealing key of its own.

Each quote makes its own entry under `report/`, so that readers do not race for one: write the report data, read the
quote, and see from the entry's generation counter that nobody wrote in between. Memory of the domain is all the
secrecy there is: after a restart, keys come from attested peers.
"""

from __future__ import annotations

import errno
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, final

from keephold.attestation.platforms.base import check_report_data
from keephold.base.errors import ConfigurationError, QuoteUnavailable
from keephold.base.limits import MAX_QUOTE
from keephold.protocol.evidence import Evidence

CONFIGFS: Final = Path("/sys/kernel/config/tsm/report")
_PROVIDER: Final = "tdx_guest"
_TRANSIENT: Final = frozenset({errno.EBUSY, errno.EINTR, errno.ETIMEDOUT})
_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.05


class Entries(Protocol):
    """Makes and removes report entries."""

    def make(self, path: Path) -> None:
        """Make the entry; its attributes appear with it."""
        ...

    def remove(self, path: Path) -> None:
        """Remove the entry."""
        ...


@final
class KernelEntries:
    """Entries of configfs: directories that the kernel fills."""

    def make(self, path: Path) -> None:
        """Make the entry."""
        path.mkdir()

    def remove(self, path: Path) -> None:
        """Remove the entry; the kernel takes its attributes away."""
        path.rmdir()


@final
class TdxPlatform:
    """The trust domain that this process runs in."""

    name: Final = "tdx"

    def __init__(
        self,
        *,
        vendor: str,
        root: Path = CONFIGFS,
        entries: Entries | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take the policy's name of the vendor, and where configfs-tsm is mounted."""
        self._vendor: Final = vendor
        self._root: Final = root
        self._entries: Final[Entries] = entries or KernelEntries()
        self._pause: Final = pause

    def quote(self, report_data: bytes) -> Evidence:
        """Return evidence that binds `report_data`, 64 bytes.

        Raises:
            ConfigurationError: no configfs-tsm here, or its provider is not TDX.
            QuoteUnavailable: busy for too long, or somebody else wrote to our entry.
        """
        check_report_data(report_data)
        entry = self._root / f"keephold-{secrets.token_hex(8)}"
        try:
            self._entries.make(entry)
        except OSError as error:
            raise ConfigurationError(f"{self._root}: no report entries here: {error.strerror}") from error
        try:
            return Evidence(vendor=self._vendor, quote=self._read_quote(entry, report_data))
        except (OSError, ValueError) as error:
            raise QuoteUnavailable(f"{entry}: {error}") from error
        finally:
            self._entries.remove(entry)

    def _read_quote(self, entry: Path, report_data: bytes) -> bytes:
        provider = (entry / "provider").read_text("ascii").strip()
        if provider != _PROVIDER:
            raise ConfigurationError(f"{self._root}: provider {provider!r}, not {_PROVIDER!r}")
        before = int((entry / "generation").read_bytes())
        with (entry / "inblob").open("wb", buffering=0) as file:
            file.write(report_data)
        quote = self._read_patiently(entry / "outblob")
        if int((entry / "generation").read_bytes()) != before + 1:
            raise QuoteUnavailable(f"{entry}: somebody else wrote report data")
        if not 0 < len(quote) <= MAX_QUOTE:
            raise QuoteUnavailable(f"{entry}: a quote of {len(quote)} bytes")
        return quote

    def _read_patiently(self, path: Path) -> bytes:
        for _ in range(_ATTEMPTS - 1):
            try:
                return path.read_bytes()
            except OSError as error:
                if error.errno not in _TRANSIENT:
                    raise
            self._pause(_PAUSE_S)
        return path.read_bytes()
