"""An SGX enclave under Gramine: quotes and a sealing key through its pseudo-files.

The two files that make a quote are global to the process, so one lock covers both steps. The sealing key is the one
bound to MRENCLAVE: another build, and so an update, cannot open what this one sealed, and neither can another enclave
of the same signer. It feeds a derivation of ours and nothing else: never use the same key for Gramine's own encrypted
mounts.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final, final

from keephold.attestation.platforms.base import check_report_data
from keephold.base.errors import ConfigurationError, QuoteUnavailable
from keephold.base.limits import MAX_QUOTE
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_PLATFORM
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import Evidence

ATTESTATION: Final = Path("/dev/attestation")
_HARDWARE_KEY: Final = 16


@final
class GraminePlatform:
    """The enclave that this process runs in."""

    name: Final = "gramine"

    def __init__(self, *, vendor: str, root: Path = ATTESTATION) -> None:
        """Take the policy's name of the vendor, and where Gramine shows its files."""
        self._vendor: Final = vendor
        self._root: Final = root
        self._lock: Final = threading.Lock()

    def quote(self, report_data: bytes) -> Evidence:
        """Return evidence that binds `report_data`, 64 bytes.

        Raises:
            ConfigurationError: not inside Gramine, or remote attestation is not in its manifest.
            QuoteUnavailable: the quoting enclave gave none.
        """
        check_report_data(report_data)
        with self._lock:
            try:
                with (self._root / "user_report_data").open("r+b", buffering=0) as file:
                    file.write(report_data)
            except OSError as error:
                raise ConfigurationError(f"{self._root}: {error.strerror}") from error
            try:
                quote = (self._root / "quote").read_bytes()
            except OSError as error:
                raise QuoteUnavailable(f"{self._root}: {error.strerror}") from error
        if not 0 < len(quote) <= MAX_QUOTE:
            raise QuoteUnavailable(f"{self._root}: a quote of {len(quote)} bytes")
        return Evidence(vendor=self._vendor, quote=quote)

    def sealing_key(self, context: bytes) -> SecretBytes:
        """Return the 32-byte key of this build on this processor for `context`.

        Raises:
            ConfigurationError: the manifest grants no such key.
        """
        path = self._root / "keys" / "_sgx_mrenclave"
        try:
            key = SecretBytes(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        if len(key) != _HARDWARE_KEY:
            raise ConfigurationError(f"{path}: {len(key)} bytes where the hardware key has {_HARDWARE_KEY}")
        return derive(key, KEY_PLATFORM, self.name.encode(), context)
