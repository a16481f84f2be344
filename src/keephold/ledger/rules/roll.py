"""The roll of each role: who is live until when. Ending a registration and leaving the roll are one step."""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.assignments import unassign
from keephold.ledger.rules.context import BlockContext
from keephold.ledger.rules.rotation import expel
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.state import (
    Departures,
    Registration,
    Roll,
    RollEntry,
    departures_path,
    registration_path,
    roll_path,
)

ROLES: Final = ("gatekeeper", "worker")

MAX_LAPSES: Final = 16
"""Leases noted as lapsed in one block. One that waits for its turn counts as lapsed all the same: see `is_live`."""


def enrol(state: Overlay, registration: Registration) -> None:
    """Put a live registration on its role's roll."""
    path = roll_path(registration.role)
    entries = [entry for entry in state.get(path, Roll()).entries if entry.identity != registration.identity]
    entries.append(RollEntry(registration.identity, registration.lease_ns))
    state.put(path, Roll(tuple(sorted(entries, key=lambda entry: entry.identity))))


def end(state: Overlay, block: BlockContext, registration: Registration, status: Literal["lapsed", "revoked"]) -> None:
    """End a registration: off the roll, and its contracts go to others.

    Their key epochs go on: whoever ends it for a reason that lies in the enclave calls `expel` after this.
    """
    state.put(registration_path(PublicKey(registration.identity)), replace(registration, status=status))
    path = roll_path(registration.role)
    left = tuple(entry for entry in state.get(path, Roll()).entries if entry.identity != registration.identity)
    if left:
        state.put(path, Roll(left))
    else:
        state.delete(path)
    if registration.role == "worker":
        unassign(state, block, registration.identity)


def lapse(state: Overlay, block: BlockContext) -> None:
    """Note the leases that ran out, the oldest first."""
    due = sorted(
        (entry.lease_ns, entry.identity)
        for role in ROLES
        for entry in state.get(roll_path(role), Roll()).entries
        if entry.lease_ns <= block.time_ns
    )
    for _, identity in due[:MAX_LAPSES]:
        registration = state.find(registration_path(PublicKey(identity)), Registration)
        if registration is not None:
            end(state, block, registration, "lapsed")


def revoke(state: Overlay, block: BlockContext, identity: bytes) -> None:
    """End an identity for good; the constitution remembers it. Every key epoch that it may hold keys of ends."""
    registration = state.find(registration_path(PublicKey(identity)), Registration)
    if registration is None or registration.status == "revoked":
        return
    if registration.status == "live":
        end(state, block, registration, "revoked")
    else:
        state.put(registration_path(PublicKey(identity)), replace(registration, status="revoked"))
    expel(state, identity)


def delist(state: Overlay, block: BlockContext) -> None:
    """End every registration whose code lost its place in the policy since the block before, and the key epochs.

    Workers whose lease lapsed before are looked at too, while contracts that they left are in the same epoch. The
    scan runs only when the set of allowed measurements changed, by an action or by the end of a handover.
    """
    allowed = allowed_at(state.law.attestation, block.time_ns)
    if allowed == allowed_at(state.base.law.attestation, state.base.time_ns):
        return
    for role in ROLES:
        for entry in state.get(roll_path(role), Roll()).entries:
            registration = state.find(registration_path(PublicKey(entry.identity)), Registration)
            if registration is not None and (registration.measurement, role) not in allowed:
                end(state, block, registration, "lapsed")
    for identity in state.get(departures_path(), Departures()).workers:
        registration = state.find(registration_path(PublicKey(identity)), Registration)
        if registration is not None and (registration.measurement, registration.role) not in allowed:
            expel(state, identity)


def allowed_at(policy: AttestationPolicy, time_ns: int) -> frozenset[tuple[bytes, str]]:
    """Return which code may take which role at a time."""
    return frozenset(
        (entry.measurement, entry.role) for entry in policy.measurements if entry.from_ns <= time_ns < entry.until_ns
    )
