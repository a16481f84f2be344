"""A vault's terms and what it is asked to pay, as the tests of it have them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psbts import Spent, psbt
from vault import Payee, Policy

from keephold.client.account import Account

SHOP, BANK, STRANGER = (b"\x00\x14" + bytes([at]) * 20 for at in (1, 2, 3))
SECOND = 10**9
DELAY, PERIOD = 1, 86_400
FEE = 1_000
LIMIT = 1_000_000
COIN = 2 * LIMIT


def policy(*officers: Account, **changes: Any) -> Policy:
    """Return a policy of these officers: two of them, a second's delay, a limit for each payee and for a day."""
    terms: dict[str, Any] = {
        "officers": tuple(officer.address for officer in officers),
        "quorum": 2,
        "delay_ns": DELAY * SECOND,
        "period_ns": PERIOD * SECOND,
        "period_limit": 3 * (LIMIT + FEE),
        "fee_limit": FEE,
        "payees": (Payee(SHOP, LIMIT), Payee(BANK, 10 * LIMIT)),
    }
    return Policy(**terms | changes)


def coin(script: bytes, at: int = 1, sats: int = COIN, **said: Any) -> Spent:
    """Return a coin of its own for each `at`."""
    return Spent(script, sats, bytes([at]) * 32, **said)


def payment(
    spent: Sequence[Spent], sats: int = LIMIT // 2, *, to: bytes = SHOP, fee: int = FEE, change: bytes | None = None
) -> bytes:
    """Return a PSBT that pays one payee, and has the rest come back to the first coin's script, or another."""
    back = sum(one.sats for one in spent) - sats - fee
    return psbt(spent, [(to, sats), (spent[0].script if change is None else change, back)])
