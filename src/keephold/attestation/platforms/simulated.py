"""A machine whose hardware is a development vendor: everything but the secrecy is real.

Quotes have the production format and pass the production verifier, under the development vendor's root. The sealing
key comes from a secret in a file of the user, in place of one burnt into the processor: whoever reads the file opens
what was sealed. Only `keephold.testing` may import this module, so nothing that production starts reaches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from keephold.attestation.platforms.base import check_report_data
from keephold.base.ids import Measurement
from keephold.crypto.kdf import derive
from keephold.crypto.labels import KEY_PLATFORM
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import Evidence


@final
class SimulatedPlatform:
    """One simulated machine running one simulated build."""

    name: Final = "simulated"

    def __init__(
        self, *, vendor: str, issue: Callable[[bytes], bytes], processor_secret: SecretBytes, measurement: Measurement
    ) -> None:
        """Take the vendor's name and issuer of quotes, the machine's secret, and what the build measures as."""
        self._vendor: Final = vendor
        self._issue: Final = issue
        self._processor_secret: Final = processor_secret
        self.measurement: Final = measurement

    def quote(self, report_data: bytes) -> Evidence:
        """Return evidence that binds `report_data`, 64 bytes."""
        check_report_data(report_data)
        return Evidence(vendor=self._vendor, quote=self._issue(report_data))

    def sealing_key(self, context: bytes) -> SecretBytes:
        """Return the 32-byte key of this build on this machine for `context`."""
        return derive(self._processor_secret, KEY_PLATFORM, self.measurement, context)
