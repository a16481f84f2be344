"""Accounts: the nonce that makes each transaction count once, the published key, the permits it revoked."""

from __future__ import annotations

from msgspec.structs import replace

from keephold.base.errors import BadKey
from keephold.base.ids import PublicKey
from keephold.crypto import hpke
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, refused
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, RevokedPermit, account_path, revocation_path
from keephold.protocol.transactions import PublishAccountKey, RevokePermit, RevokePermits, Transaction

NEW_ACCOUNT = AccountRecord()
"""What an absent account stands for."""


def consume_nonce(state: Overlay, transaction: Transaction) -> None:
    """Let each nonce in once, in order.

    Raises:
        LedgerRefused: `bad_nonce`.
    """
    path = account_path(PublicKey(transaction.sender))
    account = state.get(path, NEW_ACCOUNT)
    if transaction.nonce != account.nonce:
        raise refused(Refusal.BAD_NONCE, f"nonce {transaction.nonce}, expected {account.nonce}")
    state.put(path, replace(account, nonce=account.nonce + 1))


def publish_key(
    state: Overlay, _: BlockContext, transaction: Transaction, __: bytes, body: PublishAccountKey
) -> Applied:
    """Publish the sender's encryption key; a later one replaces it.

    Raises:
        LedgerRefused: `malformed`.
    """
    try:
        hpke.check_public(body.encryption_key)
    except BadKey as error:
        raise refused(Refusal.MALFORMED, str(error)) from error
    path = account_path(PublicKey(transaction.sender))
    state.put(path, replace(state.get(path, NEW_ACCOUNT), encryption_key=body.encryption_key))
    return NOTHING


def revoke_permits(state: Overlay, _: BlockContext, transaction: Transaction, __: bytes, ___: RevokePermits) -> Applied:
    """Void every permit that the sender signed so far."""
    path = account_path(PublicKey(transaction.sender))
    account = state.get(path, NEW_ACCOUNT)
    state.put(path, replace(account, generation=account.generation + 1))
    return NOTHING


def revoke_permit(
    state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: RevokePermit
) -> Applied:
    """Void one permit of the sender's; to do so again changes nothing."""
    path = revocation_path(PublicKey(transaction.sender), body.permit)
    if state.find(path, RevokedPermit) is None:
        state.put(path, RevokedPermit(block.height))
    return NOTHING
