"""What a report must say: the data it binds, the code it measures, and what the policy allows of both."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from keephold.attestation.quotes import Report, SgxReport, TdReport
from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused
from keephold.base.ids import Measurement
from keephold.crypto.hashing import number, tagged_hash, tagged_hash_512
from keephold.crypto.labels import MEASUREMENT_SGX, MEASUREMENT_TDX, MEASUREMENT_TDX_EVENTS, REPORT_DATA
from keephold.protocol.evidence import AttestationPolicy, Claim, Role, RuntimeEvent

_RUNTIME_EVENT: Final = (0x08000001).to_bytes(4, "little")
"""Type of an event that a guest extends RTMR3 by."""
_REGISTER: Final = 48
_VARIES: Final = "instance-id"
"""The one event that differs between two machines of one build; at most one in a log."""


def report_data(claim: Claim) -> bytes:
    """Return the 64 bytes that a quote for this claim carries as report data: they fill the field, so no byte is free.

    Bound and why: the label (evidence for another purpose); the network (evidence for other law); the role (a worker
    seated as gatekeeper); both keys (a swapped half); the operator (a stolen quote, or two seats of one operator); the
    instance (clones); a block of the enclave's own chain (old quotes: DCAP proves no time of its own).
    """
    return tagged_hash_512(
        REPORT_DATA,
        claim.network,
        claim.role.encode(),
        claim.signing_key,
        claim.encryption_key,
        claim.operator,
        claim.instance,
        number(claim.anchor_height),
        claim.anchor_hash,
    )


def measurement(report: Report, events: Sequence[RuntimeEvent] = ()) -> Measurement:
    """Return what identifies the code that made the report.

    SGX: MRENCLAVE, MRSIGNER and product id. MRENCLAVE alone fixes code and initial data; which attributes the enclave
    may run with is fixed by its signature structure, that is, by who signed it. The security version is left out: it
    only separates keys sealed to the signer, which are not used.

    TDX: MRTD (firmware), RTMR0 (the virtual machine's configuration: each memory size and processor count is another
    build), RTMR1 (kernel), RTMR2 (command line and initial file system), RTMR3 (extended at run time), and the three
    fields in which the host configures the domain, since a guest may obey them. The TDX module's MRSEAM is left out: it
    changes with each of the vendor's updates, and the vendor judges it by signer and version in the TCB status.

    TDX with a log of runtime events: in place of RTMR3 the events, each by name and payload, without the instance id.
    The log is believed only because it replays to RTMR3.

    Raises:
        AttestationRefused: `event_log`.
    """
    if isinstance(report, SgxReport):
        if events:
            raise AttestationRefused(Reason.EVENT_LOG, "SGX has no runtime events")
        return Measurement(
            tagged_hash(
                MEASUREMENT_SGX,
                bytes.fromhex(report.mr_enclave),
                bytes.fromhex(report.mr_signer),
                number(report.isv_prod_id),
            )
        )
    launch = [
        bytes.fromhex(register)
        for register in (
            report.mr_td,
            report.mr_config_id,
            report.mr_owner,
            report.mr_owner_config,
            report.rt_mr0,
            report.rt_mr1,
            report.rt_mr2,
        )
    ]
    if not events:
        return Measurement(tagged_hash(MEASUREMENT_TDX, *launch, bytes.fromhex(report.rt_mr3)))
    return Measurement(tagged_hash(MEASUREMENT_TDX_EVENTS, *launch, *_constant_events(report, events)))


def _constant_events(report: TdReport, events: Sequence[RuntimeEvent]) -> list[bytes]:
    """Return name and payload of each event but the instance id, after replaying all of them to RTMR3.

    The digest joins name and payload by a colon, so a colon in a name would let a log be split in two ways.
    """
    register = bytes(_REGISTER)
    constant: list[bytes] = []
    varying = 0
    for event in events:
        if not event.name or ":" in event.name:
            raise AttestationRefused(Reason.EVENT_LOG, f"event name {event.name!r}")
        name = event.name.encode()
        digest = hashlib.sha384(b":".join((_RUNTIME_EVENT, name, event.payload))).digest()
        register = hashlib.sha384(register + digest).digest()
        if event.name == _VARIES:
            varying += 1
        else:
            constant += (name, event.payload)
    if varying > 1:
        raise AttestationRefused(Reason.EVENT_LOG, "more than one instance id")
    if register.hex() != report.rt_mr3:
        raise AttestationRefused(Reason.EVENT_LOG, "the events do not replay to RTMR3")
    return constant


def check_allowed(policy: AttestationPolicy, measured: Measurement, role: Role, *, now_ns: int) -> None:
    """Check that the policy lets this code take this role now.

    Raises:
        AttestationRefused: `role` when the code may only take another one; else `measurement`.
    """
    allowed = {
        entry.role
        for entry in policy.measurements
        if entry.measurement == measured and entry.from_ns <= now_ns < entry.until_ns
    }
    if role in allowed:
        return
    reason = Reason.ROLE if allowed else Reason.MEASUREMENT
    raise AttestationRefused(reason, f"{measured.hex()} as {role}")


def check_level(policy: AttestationPolicy, level: int, role: Role) -> None:
    """Check the confidence level that the role asks for; what a contract asks for is checked where keys are released.

    Raises:
        AttestationRefused: `level`.
    """
    if role == "gatekeeper" and level > policy.gatekeeper_max_level:
        raise AttestationRefused(Reason.LEVEL, f"{level} where a gatekeeper has at most {policy.gatekeeper_max_level}")


def check_anchor(policy: AttestationPolicy, *, anchor_ns: int, now_ns: int) -> None:
    """Check a quote's age: `anchor_ns` is the time of its anchor block *on the caller's own chain*.

    Raises:
        AttestationRefused: `anchor`.
    """
    if not 0 <= now_ns - anchor_ns <= policy.quote_window_ns:
        raise AttestationRefused(Reason.ANCHOR, f"{now_ns - anchor_ns} ns old")
