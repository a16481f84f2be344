"""Confidence levels: what a TCB status is worth. Levels gate keys; contracts name the lowest one they accept.

`UpToDate` is level 1 whatever advisories are listed with it: the vendor says that this platform has the fixes.
Hardening or configuration needed means that a fix is partly somebody else's task: software (2), or firmware settings
that nobody can attest (3 when each advisory is one that governance accepted, else 4). Everything out of date is 5.
A status outside the table, the relaunch statuses of TDX 1.5 included, is refused until it is given a level here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused

_LEVEL_WHEN_ACCEPTED: Final = {
    "UpToDate": 1,
    "SWHardeningNeeded": 2,
    "ConfigurationNeeded": 3,
    "ConfigurationAndSWHardeningNeeded": 3,
    "OutOfDate": 5,
    "OutOfDateConfigurationNeeded": 5,
}
_CONFIGURATION: Final = 3
_CONFIGURATION_UNACCEPTED: Final = 4


def level(status: str, advisories: Collection[str], accepted: Collection[str]) -> int:
    """Return the confidence level, 1 (best) to 5, of a TCB status with its advisories.

    Raises:
        AttestationRefused: `revoked` for a revoked level, `tcb_status` for a status that has no level.
    """
    if status == "Revoked":
        raise AttestationRefused(Reason.REVOKED, "the platform's TCB level")
    found = _LEVEL_WHEN_ACCEPTED.get(status)
    if found is None:
        raise AttestationRefused(Reason.TCB_STATUS, status)
    if found == _CONFIGURATION and not set(advisories) <= set(accepted):
        return _CONFIGURATION_UNACCEPTED
    return found
