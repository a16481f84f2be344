"""Who acts: a key with a name for messages. And who asks: an account, or a session that an account permitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from keephold.base.ids import PublicKey
from keephold.contract.address import Address
from keephold.crypto.signing import SigningKey
from keephold.protocol.messages import PermittedQuery, QueryBody, SignedQuery
from keephold.sealing.query import sign_query


class Reader(Protocol):
    """Whoever can ask a contract: an `Account`, or a `permits.Session`."""

    @property
    def reader(self) -> PublicKey:
        """In whose name is asked."""
        ...

    def ask(self, body: QueryBody) -> SignedQuery | PermittedQuery:
        """Return the question, signed."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """An account that this process holds the key of."""

    key: SigningKey
    name: str = "account"

    @property
    def address(self) -> Address:
        """Return the account's address."""
        return Address.account(self.key.public)

    @property
    def reader(self) -> PublicKey:
        """See `Reader`."""
        return self.key.public

    def ask(self, body: QueryBody) -> SignedQuery:
        """See `Reader`."""
        return sign_query(self.key, body)

    @classmethod
    def generate(cls, name: str = "account") -> Account:
        """Return a new account that is nowhere stored."""
        return cls(SigningKey.generate(), name)
