"""What a program inside a TEE asks of the machine: quotes and, where the hardware can, a sealing key.

None of the implementations has run on TEE hardware yet: they follow documented behaviour and are tested against
emulations of it. What they produce is judged by `verify` like everything else.
"""

from __future__ import annotations

from typing import Final, Protocol, runtime_checkable

from keephold.base.errors import ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import Evidence

REPORT_DATA_SIZE: Final = 64


class Platform(Protocol):
    """A machine that can quote. One that only quotes loses every secret at shutdown: keys come from attested peers."""

    @property
    def name(self) -> str:
        """A word for logs and status pages."""
        ...

    def quote(self, report_data: bytes) -> Evidence:
        """Return evidence that binds `report_data`, 64 bytes.

        Raises:
            ConfigurationError: this is not such a machine, or its interface is not accessible.
            QuoteUnavailable: it gave no quote this time.
        """
        ...


@runtime_checkable
class SealingPlatform(Platform, Protocol):
    """A machine that gives the same code, on the same hardware, the same secret again after a restart.

    A different type, not an optional answer: whoever keeps a share at rest asks for this one. Sealing keeps secrets
    from the host; it does not keep the host from handing back an older sealed file.
    """

    def sealing_key(self, context: bytes) -> SecretBytes:
        """Return the 32-byte key of this code on this hardware for `context`.

        Raises:
            ConfigurationError: the platform's interface is not accessible.
            QuoteUnavailable: it gave no key this time.
        """
        ...


def check_report_data(report_data: bytes) -> None:
    """Check the size: the hardware would pad a shorter value, and the comparison is whole.

    Raises:
        ConfigurationError: not 64 bytes.
    """
    if len(report_data) != REPORT_DATA_SIZE:
        raise ConfigurationError(f"report data of {len(report_data)} bytes; a quote binds {REPORT_DATA_SIZE}")
