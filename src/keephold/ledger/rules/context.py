"""What a rule sees besides the state, what it answers, and the checks that several families share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from keephold.base.errors import LedgerRefused
from keephold.base.ids import NetworkId, PublicKey
from keephold.ledger.overlay import Anchor, Overlay
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Backing, Registration, registration_path
from keephold.protocol.transactions import Transaction


@dataclass(frozen=True, slots=True)
class BlockContext:
    """The block that a transaction is judged in."""

    network: NetworkId
    height: int
    time_ns: int
    """Nanoseconds since the Unix epoch, from the header: the only time that rules know."""
    anchor: Callable[[int], Anchor | None]
    """Hash and time of an earlier block, while a quote window may still reach it; a pure look-up."""


@dataclass(frozen=True, slots=True)
class Appended:
    """A call, or what another contract's result carries, became an entry of an inbox."""

    contract: bytes
    entry: int
    id: bytes = b""
    """Of an entry that no account signed; empty for a call, whose transaction has one."""
    raw: bytes = b""
    """Such an entry's bytes."""
    sender: bytes = b""
    """The contract at its other end."""


@dataclass(frozen=True, slots=True)
class Consumed:
    """A result was accepted: `count` entries from `first` on are done."""

    contract: bytes
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Deployed:
    """A contract came to be."""

    contract: bytes


Event = Appended | Consumed | Deployed


@dataclass(frozen=True, slots=True)
class Applied:
    """What an applied transaction answers; its changes are in the overlay."""

    events: tuple[Event, ...] = ()
    """For indexes; no rule reads them."""
    data: bytes = b""
    """Hashed into `last_results_hash`."""


NOTHING = Applied()


def refused(refusal: Refusal, detail: str = "") -> LedgerRefused:
    """Return the error that refuses a transaction."""
    return LedgerRefused(refusal.word, detail)


def is_live(registration: Registration, block: BlockContext) -> bool:
    """Say whether a registration counts in this block; a lease ends by time, whether or not anyone noted it."""
    return registration.status == "live" and registration.lease_ns > block.time_ns


def live_registration(state: Overlay, block: BlockContext, identity: bytes, role: str) -> Registration:
    """Return the live registration of `identity` in `role`.

    Raises:
        LedgerRefused: `not_registered`, `revoked`, `lease_lapsed` or `wrong_role`.
    """
    registration = state.find(registration_path(PublicKey(identity)), Registration)
    if registration is None:
        raise refused(Refusal.NOT_REGISTERED, f"no {role} of this identity")
    if registration.status == "revoked":
        raise refused(Refusal.REVOKED, "revoked by governance")
    if not is_live(registration, block):
        raise refused(Refusal.LEASE_LAPSED, "attest again")
    if registration.role != role:
        raise refused(Refusal.WRONG_ROLE, f"registered as {registration.role}, not as {role}")
    return registration


def backing(state: Overlay, transaction: Transaction, identity: bytes) -> Backing:
    """Return what an entitled worker's vote rests on; `identity` is the vote's id."""
    registration = state.find(registration_path(PublicKey(transaction.sender)), Registration)
    if registration is None:
        raise refused(Refusal.NOT_REGISTERED)
    return Backing(identity, registration.transaction, registration.judged_by)


def check_instance(registration: Registration, instance: bytes) -> None:
    """Refuse an instance that a newer attestation of its identity ended.

    Raises:
        LedgerRefused: `superseded`.
    """
    if registration.instance != instance:
        raise refused(Refusal.SUPERSEDED, "a newer instance of this identity is registered")
