"""A wallet's terms and what it is asked to sign, as the tests of it have them."""

from __future__ import annotations

from typing import Any

from judge import checksummed, digest

from custody import Payee, Policy, keccak256, number_bytes, rlp_encode
from keephold.client.account import Account

GWEI, ETHER = 10**9, 10**18
SHOP, BANK, STRANGER = bytes([1]) * 20, bytes([2]) * 20, bytes([3]) * 20
SECOND = 10**9
DELAY, PERIOD = 1, 3600
FEE = 21_000 * 30 * GWEI
LIMIT = ETHER


def policy(*officers: Account, **changes: Any) -> Policy:
    """Return a policy of these officers: two of them, a second's delay, a limit for each payee and for an hour."""
    terms: dict[str, Any] = {
        "officers": tuple(officer.address for officer in officers),
        "quorum": 2,
        "delay_ns": DELAY * SECOND,
        "period_ns": PERIOD * SECOND,
        "period_limit": 3 * (LIMIT + FEE),
        "fee_limit": FEE,
        "payees": (Payee(SHOP, LIMIT), Payee(BANK, 10 * LIMIT, takes_data=True)),
    }
    return Policy(**terms | changes)


def unsigned(**changes: Any) -> bytes:
    """Return an unsigned transaction; that its digest is the right one, another implementation says."""
    said: dict[str, Any] = {
        "chainId": 1,
        "nonce": 0,
        "maxPriorityFeePerGas": GWEI,
        "maxFeePerGas": 30 * GWEI,
        "gas": 21_000,
        "to": checksummed(SHOP),
        "value": LIMIT // 2,
        "data": b"",
        "accessList": (),
        "type": 2,
    } | changes
    numbers = [said[name] for name in ("chainId", "nonce", "maxPriorityFeePerGas", "maxFeePerGas", "gas")]
    access = tuple((octets(entry["address"]), tuple(map(octets, entry["storageKeys"]))) for entry in said["accessList"])
    parts = (*map(number_bytes, numbers), octets(said["to"]), number_bytes(said["value"]), said["data"])
    raw = b"\x02" + rlp_encode((*parts, access))
    if keccak256(raw) != digest(said):
        raise AssertionError(f"another implementation signs another digest of {said}")
    return raw


def octets(prefixed: str) -> bytes:
    """Return the bytes of a hexadecimal text."""
    return bytes.fromhex(prefixed.removeprefix("0x"))
