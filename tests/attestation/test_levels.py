from __future__ import annotations

import pytest

from keephold.attestation.levels import level
from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused

ACCEPTED = ("SA-1", "SA-2")


@pytest.mark.parametrize(
    ("status", "advisories", "expected"),
    [
        ("UpToDate", (), 1),
        ("UpToDate", ("SA-9",), 1),
        ("SWHardeningNeeded", (), 2),
        ("SWHardeningNeeded", ("SA-9",), 2),
        ("ConfigurationNeeded", (), 3),
        ("ConfigurationNeeded", ("SA-1",), 3),
        ("ConfigurationNeeded", ("SA-1", "SA-9"), 4),
        ("ConfigurationAndSWHardeningNeeded", ("SA-2", "SA-1"), 3),
        ("ConfigurationAndSWHardeningNeeded", ("SA-9",), 4),
        ("OutOfDate", (), 5),
        ("OutOfDate", ("SA-1",), 5),
        ("OutOfDateConfigurationNeeded", (), 5),
    ],
)
def test_each_status_has_its_level(status, advisories, expected) -> None:
    assert level(status, advisories, ACCEPTED) == expected


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("Revoked", Reason.REVOKED),
        ("TDRelaunchAdvised", Reason.TCB_STATUS),
        ("TDRelaunchAdvisedConfigurationNeeded", Reason.TCB_STATUS),
        ("uptodate", Reason.TCB_STATUS),
        ("", Reason.TCB_STATUS),
    ],
)
def test_a_status_without_a_level_is_refused(status, reason) -> None:
    with pytest.raises(AttestationRefused, check=lambda error: error.reason == reason):
        level(status, (), ACCEPTED)
