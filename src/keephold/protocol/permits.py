"""Permits: what an account signs once, so that another key may ask in its name.

A permit names the key that may use it (the bearer), so whoever copies it has nothing. It names contracts and scopes, so
an application that shows balances does not read the mail. It ends by itself, within `LONGEST_NS`; and before that in
two ways, both of which the ledger knows and a worker has proven to itself at each use: all permits of an account by
raising its generation, a single one by its hash.

The hash is over the permit without its signature: sr25519 signatures are randomised, and revoking one must end all.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from keephold.base.limits import MAX_PERMIT_ITEMS, MAX_PERMIT_SECONDS
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import PERMIT
from keephold.protocol.codec import Record, encode
from keephold.protocol.types import Bytes16, Bytes32, Positive, PublicKeyBytes, SignatureBytes, Text, Uint63

LONGEST_NS: Final = MAX_PERMIT_SECONDS * 10**9
"""Between `not_before_ns` and `expires_ns`."""

EVENTS_SCOPE: Final = "$events"
"""Scope of the key to the issuer's events, which every contract tells. No view of a contract can have it."""

RELEASED_SCOPE: Final = "$released"
"""Scope of the signatures that contracts release to the issuer."""

EVERYWHERE: Final = "*"


class Permit(Record):
    """Who may ask what, of whom, in whose name, and for how long."""

    network: Bytes32
    issuer: PublicKeyBytes
    """In whose name: what views see as the reader."""
    contracts: Literal["*"] | Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MAX_PERMIT_ITEMS)]
    """Ids, sorted; `*`: every contract of the network."""
    scopes: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=MAX_PERMIT_ITEMS)]
    """Scopes of views, sorted."""
    bearer: Bytes32
    """Ed25519 public key that signs each question."""
    origin: Text
    """What asked for it: the site or program that a person saw when agreeing. Empty where nobody did."""
    not_before_ns: Uint63
    """Block time from which it holds."""
    expires_ns: Positive
    """Block time from which it does not hold any more."""
    generation: Uint63
    """The issuer's generation when it was signed; it holds for that one alone."""
    salt: Bytes16
    """Random: two permits over the same are two."""


class SignedPermit(Record):
    """A permit with its issuer's sr25519 signature."""

    permit: Permit
    signature: SignatureBytes


def permit_hash(permit: Permit) -> bytes:
    """Return the 32 bytes that a permit is revoked by, and that each question under it names."""
    return tagged_hash(PERMIT, encode(permit))
