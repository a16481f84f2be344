"""An enclave's identity: one seed, sealed where the platform can seal, else new at each boot.

The identity's encryption pair is not used for anything that is sealed to an enclave: what gatekeepers seal goes to a
pair born at each attestation (`Instance`), which is never written anywhere and dies with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keephold.base.ids import InstanceId
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import Vault

_SEED: Final = "identity"
_SEED_SIZE: Final = 32


@dataclass(frozen=True, slots=True)
class Instance:
    """One attestation of this process: its id, and the pair that only it ever holds."""

    id: InstanceId
    encryption: EncryptionKey

    @classmethod
    def fresh(cls) -> Instance:
        """Return an instance nobody has seen."""
        return cls(InstanceId(SecretBytes.random(32).reveal()), EncryptionKey.generate())


def open_identity(vault: Vault) -> EntityKeys:
    """Return the identity kept in the vault; a first boot draws it, and keeps it before anyone can see it.

    Raises:
        SealBroken: what the disk holds was sealed by other code or another machine, or altered. Nothing is replaced:
            whoever lost an identity decides to start another one by removing the file.
    """
    if vault.holds(_SEED):
        return EntityKeys(vault.read(_SEED))
    seed = SecretBytes.random(_SEED_SIZE)
    vault.write(_SEED, seed)
    return EntityKeys(seed)
