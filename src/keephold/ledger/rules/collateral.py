"""Collateral: anyone brings it, the verifier judges it, and it only ever gets newer."""

from __future__ import annotations

from keephold.attestation.collateral import unverified_subject, verify_collateral
from keephold.base.errors import AttestationRefused
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, refused
from keephold.protocol.evidence import CollateralFloor, collateral_key
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CollateralRecord, collateral_path
from keephold.protocol.transactions import Transaction, UpdateCollateral


def update(state: Overlay, block: BlockContext, _: Transaction, identity: bytes, body: UpdateCollateral) -> Applied:
    """Replace the collateral of one kind of platform by newer one.

    Raises:
        LedgerRefused: `collateral`.
    """
    policy = state.law.attestation
    try:
        # (1) Whose floor it has to pass, then (2) the vendor's own, current, and not below that floor.
        subject = unverified_subject(body.collateral, policy)
        path = collateral_path(collateral_key(subject))
        before = state.find(path, CollateralRecord)
        floor = CollateralFloor() if before is None else before.floor
        verified = verify_collateral(body.collateral, policy, floor, now_ns=block.time_ns)
    except AttestationRefused as error:
        raise refused(Refusal.COLLATERAL, str(error)) from error
    # (3) What it says of itself is what it was verified to be, and something in it is new.
    if verified.subject != subject:
        raise refused(Refusal.COLLATERAL, "another subject than it was looked up by")
    if before is not None and verified.floor == before.floor:
        raise refused(Refusal.COLLATERAL, "nothing in it is newer")
    state.put(path, CollateralRecord(identity, verified.floor))
    state.attach(path, body.collateral)
    return NOTHING
