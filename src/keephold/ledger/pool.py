"""What waits to be ordered: the standing of senders between commits, and the plan of the next block."""

from __future__ import annotations

from collections import Counter
from typing import Final, final

from keephold.base.errors import LedgerRefused
from keephold.base.limits import ACCOUNT_QUOTA_PER_BLOCK, MAX_BATCH, MAX_BLOCK_TRANSACTIONS
from keephold.ledger import rules
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import accounts
from keephold.ledger.rules.context import BlockContext
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Call, Transaction

MAX_WAITING_PER_SENDER: Final = 8 * ACCOUNT_QUOTA_PER_BLOCK
"""Transactions of one sender that may wait at a time."""


@final
class Standing:
    """The state as it would be if everything that waits were applied; used under the engine's pool lock only."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay: Final = overlay
        self._waiting: Counter[bytes] = Counter()

    def admit(self, transaction: Transaction, identity: bytes, block: BlockContext) -> None:
        """Let a transaction wait.

        Raises:
            LedgerRefused: it would be refused; or `quota`: too many of its sender wait already.
        """
        if self._waiting[transaction.sender] >= MAX_WAITING_PER_SENDER:
            raise LedgerRefused(Refusal.QUOTA.word, f"{MAX_WAITING_PER_SENDER} transactions of this sender wait")
        rules.preview(self._overlay, block, transaction, identity)
        self._waiting[transaction.sender] += 1

    def keep(self, transaction: Transaction) -> None:
        """Let a transaction that waited before a commit go on waiting, if its nonce still fits.

        Raises:
            LedgerRefused: `bad_nonce`.
        """
        accounts.consume_nonce(self._overlay, transaction)
        self._waiting[transaction.sender] += 1


@final
class Planner:
    """Fills one block. What exceeds a quota is put off, and so is everything later from the same sender."""

    def __init__(self, max_bytes: int) -> None:
        self._bytes_left = max_bytes
        self._transactions_left = MAX_BLOCK_TRANSACTIONS
        self._senders: Counter[bytes] = Counter()
        self._batches: Counter[bytes] = Counter()
        self._put_off: set[bytes] = set()

    def takes(self, transaction: Transaction, size: int) -> bool:
        """Say whether the transaction goes into this block, and count it if so."""
        body = transaction.body
        contract = body.contract if isinstance(body, Call) else None
        if (
            transaction.sender in self._put_off
            or self._transactions_left == 0
            or size > self._bytes_left
            or self._senders[transaction.sender] >= ACCOUNT_QUOTA_PER_BLOCK
            or (contract is not None and self._batches[contract] >= MAX_BATCH)
        ):
            self._put_off.add(transaction.sender)
            return False
        self._transactions_left -= 1
        self._bytes_left -= size
        self._senders[transaction.sender] += 1
        if contract is not None:
            self._batches[contract] += 1
        return True
