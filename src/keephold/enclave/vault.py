"""What an enclave keeps through a restart: on a sealed disk where the platform can seal, else nothing.

Two classes under one interface, chosen by what the platform *is*: a platform that cannot seal gets a vault that forgets
at shutdown, never one that writes in the clear.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Protocol, final

from keephold.attestation.platforms.base import Platform, SealingPlatform
from keephold.base.ids import NetworkId
from keephold.crypto.hashing import framed
from keephold.crypto.labels import KEY_DISK
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.protocol.evidence import Role
from keephold.sealing.disk import SealedDisk


class Vault(Protocol):
    """Named secrets; `write` is durable for as long as the vault is."""

    def write(self, name: str, plaintext: SecretBytes) -> None:
        """Keep `plaintext` under `name`."""
        ...

    def read(self, name: str) -> SecretBytes:
        """Return what is kept under `name`; raises FileNotFoundError, or SealBroken."""
        ...

    def holds(self, name: str) -> bool:
        """Say whether something is kept under `name`."""
        ...

    def remove(self, name: str) -> None:
        """Forget; no error if there is nothing."""
        ...


@final
class ForgetfulVault(Opaque):
    """For platforms that cannot seal: lives as long as the process."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: Final[dict[str, bytes]] = {}

    def write(self, name: str, plaintext: SecretBytes) -> None:
        """Keep until shutdown."""
        self._held[name] = plaintext.reveal()

    def read(self, name: str) -> SecretBytes:
        """Return a copy.

        Raises:
            FileNotFoundError: nothing is kept under `name`.
        """
        if name not in self._held:
            raise FileNotFoundError(name)
        return SecretBytes(self._held[name])

    def holds(self, name: str) -> bool:
        """Say whether something is kept."""
        return name in self._held

    def remove(self, name: str) -> None:
        """Forget."""
        self._held.pop(name, None)


def open_vault(platform: Platform, network: NetworkId, role: Role, directory: Path) -> Vault:
    """Return the vault of this code, on this machine, for one network and role.

    Raises:
        ConfigurationError, QuoteUnavailable: the platform's sealing interface does not answer.
    """
    if not isinstance(platform, SealingPlatform):
        return ForgetfulVault()
    return SealedDisk(platform.sealing_key(framed(KEY_DISK, network, role.encode())), directory)
