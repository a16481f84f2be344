"""Another implementation's word on Ethereum transactions and hashes, for the tests: `eth_account`."""

from __future__ import annotations

import sys
from typing import Any

_LIMIT = sys.getrecursionlimit()
from eth_account import Account  # noqa: E402 - one of its dependencies raises the recursion limit when imported,
from eth_account.typed_transactions import TypedTransaction  # noqa: E402 - so far that recursion crashes the
from eth_utils import keccak, to_checksum_address  # noqa: E402 - interpreter; whoever imports this is spared that

sys.setrecursionlimit(_LIMIT)

__all__ = ["checksummed", "digest", "keccak", "sender"]


def sender(raw: bytes) -> str:
    """Return who signed a raw transaction, as a checksummed address."""
    return str(Account.recover_transaction(raw))


def digest(fields: dict[str, Any]) -> bytes:
    """Return what is signed of an unsigned transaction with these fields."""
    return bytes(TypedTransaction.from_dict(fields).hash())


def checksummed(address: bytes) -> str:
    """Return an address of 20 bytes as text."""
    return str(to_checksum_address(address))
