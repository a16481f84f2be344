"""Why the rules refuse a transaction: one stable number (hashed into `last_results_hash`) and one stable word each."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class Refusal(IntEnum):
    """The `code` of a transaction's result. 0 is acceptance and has no member."""

    MALFORMED = 1
    BAD_SIGNATURE = 2
    WRONG_NETWORK = 3
    BAD_NONCE = 4
    QUOTA = 5
    TOO_LARGE = 6
    UNKNOWN_CONTRACT = 10
    CONTRACT_NOT_ACTIVE = 11
    WRONG_EPOCH = 12
    CODE_REFUSED = 13
    INBOX_FULL = 14
    POLICY_INVALID = 15
    ROTATING = 16
    NOT_CREATOR = 17
    ATTESTATION = 20
    WRONG_ROLE = 21
    OPERATOR_UNPROVEN = 22
    ANCHOR = 23
    NOT_REGISTERED = 24
    LEASE_LAPSED = 25
    SUPERSEDED = 26
    REVOKED = 27
    SEATED = 28
    NOT_ASSIGNED = 30
    OUT_OF_ORDER = 31
    WRONG_PRE_STATE = 32
    ALREADY_VOTED = 33
    RESULT_MALFORMED = 34
    ALREADY_PUBLISHED = 35
    NOT_ROTATING = 36
    NOT_DRAINED = 37
    NOT_AGREED = 38
    NOT_SEATED = 40
    WRONG_ROUND = 41
    WRONG_PHASE = 42
    DEALING_REFUSED = 43
    GOVERNANCE = 50
    COLLATERAL = 51

    @property
    def word(self) -> str:
        """The stable word, as in `LedgerRefused.reason`."""
        return self.name.lower()
