"""Permits on the native backend: issued by the client library's rule, judged by the worker's; no ledger between."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, final

from keephold.base.errors import InputError
from keephold.base.ids import ContractId, NetworkId
from keephold.client.account import Account
from keephold.client.permits import Session, Terms, signed
from keephold.contract.address import Address
from keephold.crypto.bearer import BearerKey
from keephold.crypto.secret import SecretBytes
from keephold.protocol.permits import permit_hash
from keephold.worker.permits import Standing, check

NATIVE_NETWORK: Final = NetworkId(bytes(32))
_GENERATION: Final = 0


@final
class NativePermits:
    """Which permits were revoked."""

    def __init__(self, revoked: frozenset[bytes] = frozenset()) -> None:
        """Begin with these revoked, by their hashes."""
        self._revoked = revoked

    def copy(self) -> NativePermits:
        """Return the same, for a snapshot."""
        return NativePermits(self._revoked)

    def issue(
        self, account: Account, contracts: Sequence[Address], scopes: Sequence[str], expires: timedelta, time_ns: int
    ) -> Session:
        """Return a session under a new permit.

        Raises:
            InputError: see `permits.signed`.
        """
        seed = SecretBytes.random()
        terms = Terms(contracts, scopes, BearerKey(seed).public, expires)
        return Session(signed(NATIVE_NETWORK, account, terms, generation=_GENERATION, time_ns=time_ns), seed)

    def revoke(self, session: Session, account: Account) -> None:
        """Void a permit.

        Raises:
            InputError: another account issued it.
        """
        if session.reader != account.key.public:
            raise InputError("another account issued this permit: only that one can revoke it")
        self._revoked |= {permit_hash(session.permit.permit)}

    def check(self, session: Session, contract: Address, scope: str | None, time_ns: int) -> None:
        """Return if the session's permit holds for a view of this scope.

        Raises:
            PermitRefused: it does not, and why.
        """
        permit = session.permit.permit
        standing = Standing(_GENERATION, permit_hash(permit) in self._revoked, time_ns)
        check(permit, NATIVE_NETWORK, ContractId(contract.value), scope, standing)
