"""Does a permit hold, here and now? Decided from the permit and from what the ledger proves of its issuer. No I/O.

The permit's and the bearer's signatures were checked (`sealing.query.verify_query`). What is left, in this order; the
word in brackets is what the bearer is told, under his own answer key:

1. It is for this network [permit_network] and for this contract [permit_contract].
2. It lives no longer than permits may [permit_lifetime], its time has come [permit_not_yet] and is not over
   [permit_expired]. Time is the block's that proves 3 and 4: nobody's clock decides.
3. Its issuer has not revoked all permits since [permit_generation]. Equal, not at least: a permit signed for a
   generation to come would survive the revocation that it was to be ended by.
4. Its issuer has not revoked this one [permit_revoked]: its absence among the revoked is proven.
5. The view that is asked is in a scope it names [permit_scope]. Views that anybody may ask need none.

A proof of 3 and 4 is asked for at each question, under a header not older than the newest this enclave has seen. That
it has seen a recent one is the echo's promise: a node that hides a revocation has W seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import PermitRefused
from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.follower.view import ProvenValues
from keephold.protocol.codec import decode
from keephold.protocol.permits import EVERYWHERE, LONGEST_NS, Permit, permit_hash
from keephold.protocol.state import AccountRecord, account_path, revocation_path

NOBODYS: Final = "$none"
"""Scope of what is no view: no permit names it, because a scope begins with a letter, `$events` excepted."""


@final
@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger proves about a permit."""

    generation: int
    """Of its issuer."""
    is_revoked: bool
    time_ns: int
    """Of the block that proves it."""


def paths(permit: Permit) -> tuple[bytes, bytes]:
    """Return the paths that `standing` needs proven: the issuer's account, and this permit among the revoked."""
    issuer = PublicKey(permit.issuer)
    return account_path(issuer), revocation_path(issuer, permit_hash(permit))


def standing(permit: Permit, proven: ProvenValues) -> Standing:
    """Return what proven values of `paths` say; the header they are proven under is the caller's to choose."""
    account, revoked = paths(permit)
    raw = proven[account]
    generation = 0 if raw is None else decode(raw, AccountRecord).generation
    return Standing(generation, proven[revoked] is not None, proven.time_ns)


def scope_of(method: str, scopes: Mapping[str, str | None]) -> str | None:
    """Return the scope that asking `method` needs; None if anybody may."""
    return scopes.get(method, NOBODYS)


def check(permit: Permit, network: NetworkId, contract: ContractId, scope: str | None, standing: Standing) -> None:
    """Return if the permit holds.

    Raises:
        PermitRefused: the first step that does not hold.
    """
    # (1) For here.
    if permit.network != network:
        raise PermitRefused("permit_network", "for another network")
    if permit.contracts != EVERYWHERE and contract not in permit.contracts:
        raise PermitRefused("permit_contract", "for other contracts")
    # (2) For now.
    if permit.expires_ns - permit.not_before_ns > LONGEST_NS:
        raise PermitRefused("permit_lifetime", "longer than permits may live")
    if standing.time_ns < permit.not_before_ns:
        raise PermitRefused("permit_not_yet", "its time has not come")
    if standing.time_ns >= permit.expires_ns:
        raise PermitRefused("permit_expired", "its time is over")
    # (3) Of the issuer's present generation.
    if permit.generation != standing.generation:
        raise PermitRefused("permit_generation", "its issuer revoked all permits")
    # (4) Not revoked by itself.
    if standing.is_revoked:
        raise PermitRefused("permit_revoked", "its issuer revoked it")
    # (5) For this view.
    if scope is not None and scope not in permit.scopes:
        raise PermitRefused("permit_scope", f"it does not name the scope {scope}")
