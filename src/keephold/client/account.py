"""Who acts: a key with a name for messages."""

from __future__ import annotations

from dataclasses import dataclass

from keephold.contract.address import Address
from keephold.crypto.signing import SigningKey


@dataclass(frozen=True, slots=True)
class Account:
    """An account that this process holds the key of."""

    key: SigningKey
    name: str = "account"

    @property
    def address(self) -> Address:
        """Return the account's address."""
        return Address.account(self.key.public)

    @classmethod
    def generate(cls, name: str = "account") -> Account:
        """Return a new account that is nowhere stored."""
        return cls(SigningKey.generate(), name)
