"""The vendor's signed JSON: TCB info version 3 and QE identity version 2.

One TCB info lists a level for every status, so the machine's version numbers alone decide which status its quotes
get, and one set of collateral serves all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from keephold.protocol.evidence import Tee
from keephold.testing.vendor.wire import PCE_VERSION, QE_PRODUCT, QE_SIGNER, QE_VERSION

Status = Literal[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
    "BelowEveryLevel",
]
"""A TCB status; the last one is our word for a machine older than the lowest level listed."""

_VERSION_OF: Final[Mapping[Status, int]] = {
    "UpToDate": 20,
    "SWHardeningNeeded": 19,
    "ConfigurationNeeded": 18,
    "ConfigurationAndSWHardeningNeeded": 17,
    "OutOfDate": 16,
    "OutOfDateConfigurationNeeded": 15,
    "Revoked": 14,
    "BelowEveryLevel": 13,
}
_LISTED: Final = tuple(status for status in _VERSION_OF if status != "BelowEveryLevel")
_COMPONENTS: Final = 16


def cpu_svn(status: Status) -> bytes:
    """Return the 16 version numbers of a machine that has this status."""
    return bytes([_VERSION_OF[status]]) + bytes(_COMPONENTS - 1)


def tcb_info(
    tee: Tee, fmspc: bytes, *, issued_s: int, expires_s: int, evaluation: int, advisories: Sequence[str], pce_id: bytes
) -> str:
    """Return the TCB info; `advisories` belong to every level but `UpToDate`."""
    document: dict[str, object] = {
        "id": tee.upper(),
        "version": 3,
        "issueDate": _instant(issued_s),
        "nextUpdate": _instant(expires_s),
        "fmspc": fmspc.hex().upper(),
        "pceId": pce_id.hex(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": evaluation,
    }
    if tee == "tdx":
        document["tdxModule"] = {
            "mrsigner": "00" * 48,
            "attributes": "00" * 8,
            "attributesMask": "FF" * 8,
        }
    document["tcbLevels"] = [_level(tee, status, issued_s, advisories) for status in _LISTED]
    return json.dumps(document, separators=(",", ":"))


def qe_identity(tee: Tee, *, issued_s: int, expires_s: int, evaluation: int) -> str:
    """Return the identity of the quoting enclave."""
    document = {
        "id": "QE" if tee == "sgx" else "TD_QE",
        "version": 2,
        "issueDate": _instant(issued_s),
        "nextUpdate": _instant(expires_s),
        "tcbEvaluationDataNumber": evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": QE_SIGNER.hex().upper(),
        "isvprodid": QE_PRODUCT[tee],
        "tcbLevels": [{"tcb": {"isvsvn": QE_VERSION}, "tcbDate": _instant(issued_s), "tcbStatus": "UpToDate"}],
    }
    return json.dumps(document, separators=(",", ":"))


def _level(tee: Tee, status: Status, issued_s: int, advisories: Sequence[str]) -> dict[str, object]:
    components = [{"svn": svn} for svn in cpu_svn(status)]
    tcb: dict[str, object] = {"sgxtcbcomponents": components, "pcesvn": PCE_VERSION}
    if tee == "tdx":
        tcb["tdxtcbcomponents"] = [{"svn": 0}] * _COMPONENTS
    level: dict[str, object] = {"tcb": tcb, "tcbDate": _instant(issued_s), "tcbStatus": status}
    if advisories and status != "UpToDate":
        level["advisoryIDs"] = list(advisories)
    return level


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
