"""What an execution may look up: the contract's own slots, and the public keys that it owns. Never a private one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from keephold.base.errors import BadKey
from keephold.protocol.messages import KeyName
from keephold.runtime import outcome
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.code import ContractCode
from keephold.worker.state import ContractState


@final
@dataclass(frozen=True, slots=True)
class Reading:
    """One state of a contract, with its public keys: a `StateReader`."""

    state: ContractState
    code: ContractCode
    owned: OwnedKeys | None
    """None where the contract declares no key."""

    def get(self, key: str) -> bytes | None:
        """Return the value under one of the contract's own keys.

        Raises:
            SealBroken, EncodingError: as `ContractState.get`.
        """
        return self.state.get(key)

    def public_key(self, name: outcome.KeyName) -> bytes:
        """Return the public key of a key that the interface declares.

        Raises:
            BadKey: it declares no such key.
        """
        if self.owned is None or (name.label, name.scheme) not in self.code.keys:
            raise BadKey(f"the interface declares no key {name.label!r}")
        return self.owned.public(KeyName(name.scheme, name.label, name.path))
