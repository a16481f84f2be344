"""Roots that manufacturers publish, pinned: what an operator puts into a genesis instead of fetching it."""

from __future__ import annotations

import hashlib
import ssl
from importlib.resources import files
from typing import Final

from keephold.base.errors import ConfigurationError
from keephold.protocol.evidence import HardwareVendor

_INTEL_ROOT: Final = "intel-sgx-root-ca.pem"
_INTEL_FINGERPRINT: Final = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
"""SHA-256 of the DER. Compare it with the manufacturer's own publication before a first genesis."""


def intel() -> HardwareVendor:
    """Return Intel as a policy names it: the SGX root, which certifies SGX and TDX alike.

    Raises:
        ConfigurationError: the installed file is not the pinned certificate.
    """
    pem = files(__package__).joinpath(_INTEL_ROOT).read_text("ascii")
    root = ssl.PEM_cert_to_DER_cert(pem)
    if hashlib.sha256(root).hexdigest() != _INTEL_FINGERPRINT:
        raise ConfigurationError(f"{_INTEL_ROOT}: not the pinned root certificate")
    return HardwareVendor(
        name="intel",
        root=root,
        tcb_signer="Intel SGX TCB Signing",
        processor_authority="Intel SGX PCK Processor CA",
        platform_authority="Intel SGX PCK Platform CA",
    )
