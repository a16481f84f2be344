"""Echoes and vouches: the ledger only orders them. What they prove lies in where they stand."""

from __future__ import annotations

from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.committee import NO_COMMITTEE
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, live_registration, refused
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import committee_path
from keephold.protocol.transactions import Echo, Transaction, Vouch


def echo(_: Overlay, __: BlockContext, ___: Transaction, ____: bytes, _____: Echo) -> Applied:
    """Order a nonce: whoever sees it again under a verified header knows that his view is as young as that block."""
    return NOTHING


def vouch(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: Vouch) -> Applied:
    """Carry a gatekeeper's head to a restarted peer.

    Raises:
        LedgerRefused: those of `live_registration`; `not_seated`.
    """
    live_registration(state, block, transaction.sender, "gatekeeper")
    members = state.get(committee_path(), NO_COMMITTEE).members
    if transaction.sender not in members or body.target not in members:
        raise refused(Refusal.NOT_SEATED, "gatekeepers in office vouch for one another")
    return NOTHING
