"""All families, in the order in which the specification's page lists them."""

from __future__ import annotations

from typing import Final

from vectors import ceremony, chain, channel, encoding, files, holders, keys, law, ledger, sealing
from vectors.base import Family

ALL: Final[tuple[Family, ...]] = (
    encoding.CODEC,
    encoding.PADDING,
    encoding.ADDRESSES,
    encoding.PRIMITIVES,
    keys.IDENTITIES,
    keys.KEYS,
    keys.THRESHOLD,
    sealing.ENVELOPES,
    ledger.TRANSACTIONS,
    ledger.MAP,
    ledger.INBOX,
    ledger.RECEIPTS,
    ledger.VOTES,
    holders.HOLDERS,
    chain.HEADERS,
    chain.LIGHTCLIENT,
    keys.REPORT,
    keys.LEVELS,
    law.GOVERNANCE,
    ceremony.CEREMONY,
    channel.MESSAGES,
    files.KEYSTORE,
)
