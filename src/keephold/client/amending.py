"""What an amendment says: the law, and what somebody wants otherwise, into the action that governance keys sign.

An action replaces a whole part of the law, so one that is written by hand undoes what it forgets. Here only what is
named changes, and the rest is copied from the law that the action will meet. Pure: no ledger, no clock. Whether the
law that follows can be lived under is `check_constitution`'s to say; the network's timing and the committee's floor
are the genesis' alone, and no action changes them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from msgspec.structs import replace

from keephold.base.errors import InputError
from keephold.protocol.evidence import FOREVER, AllowedMeasurement, HardwareVendor, Role
from keephold.protocol.governance import (
    CommitteeRules,
    Constitution,
    GovernanceRules,
    SetAttestation,
    SetCommittee,
    SetGovernance,
    SetValidators,
    ValidatorEntry,
)

SECOND: Final = 10**9


def allow(law: Constitution, measurement: bytes, role: Role, *, from_ns: int = 0) -> SetAttestation:
    """Return the action that admits a build to a role, from a block time on; a delisted one is admitted anew."""
    others = _others(law, measurement, role)
    entry = AllowedMeasurement(measurement, role, from_ns)
    return SetAttestation(replace(law.attestation, measurements=(*others, entry)))


def delist(law: Constitution, measurement: bytes, role: Role, *, until_ns: int | None) -> SetAttestation:
    """Return the action that ends a build in a role: at `until_ns` of block time, or (None) with the action itself.

    Raises:
        InputError: the law does not admit it.
    """
    others = _others(law, measurement, role)
    if len(others) == len(law.attestation.measurements):
        raise InputError(f"the law admits no build {measurement.hex()} as a {role}")
    if until_ns is None:
        return SetAttestation(replace(law.attestation, measurements=others))
    kept = tuple(
        replace(item, until_ns=until_ns) if (item.measurement, item.role) == (measurement, role) else item
        for item in law.attestation.measurements
    )
    return SetAttestation(replace(law.attestation, measurements=kept))


def attestation(
    law: Constitution,
    *,
    accept: Collection[str] = (),
    reject: Collection[str] = (),
    believe: Collection[HardwareVendor] = (),
    disbelieve: Collection[str] = (),
    gatekeeper_max_level: int | None = None,
    quote_window_s: int | None = None,
) -> SetAttestation:
    """Return the action that changes who is believed and what is forgiven; None and nothing leave a part as it is.

    Raises:
        InputError: an advisory or vendor to take off is not there; a level or window out of range.
    """
    policy = law.attestation
    advisories = _changed(policy.accepted_advisories, set(accept), set(reject), "accepted advisory")
    new = {vendor.name: vendor for vendor in believe}
    known = {vendor.name for vendor in policy.vendors}
    names = _changed(tuple(sorted(known)), set(new), set(disbelieve), "vendor")
    kept = tuple(vendor for vendor in policy.vendors if vendor.name in names and vendor.name not in new)
    level = policy.gatekeeper_max_level if gatekeeper_max_level is None else gatekeeper_max_level
    window_ns = policy.quote_window_ns if quote_window_s is None else quote_window_s * SECOND
    if not 1 <= level <= 5:
        raise InputError(f"a confidence level is 1 to 5, not {level}")
    _check_seconds("the quote window", window_ns)
    return SetAttestation(
        replace(
            policy,
            accepted_advisories=advisories,
            # A vendor that is named again is written as keephold pins it now.
            vendors=(*kept, *(new[name] for name in sorted(new))),
            gatekeeper_max_level=level,
            quote_window_ns=window_ns,
        )
    )


def committee(
    law: Constitution, *, seats: int | None = None, threshold: int | None = None, phase_s: int | None = None
) -> SetCommittee:
    """Return the action that changes size, threshold or phase of the committee; None leaves a part as it is.

    Raises:
        InputError: no seat, no threshold, or a phase that is no time.
    """
    rules = law.committee
    seats = rules.seats if seats is None else seats
    threshold = rules.threshold if threshold is None else threshold
    phase_ns = rules.phase_ns if phase_s is None else phase_s * SECOND
    if seats < 1 or threshold < 1:
        raise InputError("a committee has at least one seat, and a threshold of at least one")
    _check_seconds("a phase", phase_ns)
    return SetCommittee(CommitteeRules(seats, threshold, phase_ns))


def governance(
    law: Constitution,
    *,
    add: Collection[bytes] = (),
    remove: Collection[bytes] = (),
    threshold: int | None = None,
    delay_s: int | None = None,
) -> SetGovernance:
    """Return the action that changes who amends the law, how many it takes, and the delay; None leaves a part.

    Raises:
        InputError: a key to take off is none; a threshold or delay out of range.
    """
    rules = law.governance
    shown = {key.hex(): key for key in (*rules.keys, *add, *remove)}
    keys = _changed(
        tuple(key.hex() for key in rules.keys), {k.hex() for k in add}, {k.hex() for k in remove}, "governance key"
    )
    threshold = rules.threshold if threshold is None else threshold
    delay_ns = rules.delay_ns if delay_s is None else delay_s * SECOND
    if threshold < 1:
        raise InputError("a threshold is at least 1")
    if delay_ns:
        _check_seconds("a delay", delay_ns)
    return SetGovernance(GovernanceRules(tuple(sorted(shown[key] for key in keys)), threshold, delay_ns))


def validators(law: Constitution, powers: dict[bytes, int]) -> SetValidators:
    """Return the action that gives some validators a power; power 0 takes one off.

    Raises:
        InputError: it takes off who is none.
    """
    present = {entry.public_key: entry.power for entry in law.validators}
    for key, power in powers.items():
        if power == 0 and key not in present:
            raise InputError(f"{key.hex()} is no validator")
    wanted = {key: power for key, power in {**present, **powers}.items() if power}
    if wanted == present:
        raise InputError("that changes no validator")
    return SetValidators(tuple(ValidatorEntry(key, power) for key, power in sorted(wanted.items())))


def _others(law: Constitution, measurement: bytes, role: Role) -> tuple[AllowedMeasurement, ...]:
    return tuple(item for item in law.attestation.measurements if (item.measurement, item.role) != (measurement, role))


def _changed(present: tuple[str, ...], add: set[str], remove: set[str], what: str) -> tuple[str, ...]:
    both = add & remove
    if both:
        raise InputError(f"{what} {min(both)}: both put on and taken off")
    unknown = remove - set(present)
    if unknown:
        raise InputError(f"{min(unknown)} is no {what}")
    kept = [item for item in present if item not in remove]
    return (*kept, *sorted(add - set(kept)))


def _check_seconds(what: str, duration_ns: int) -> None:
    if not 0 < duration_ns < FOREVER:
        raise InputError(f"{what} is a number of seconds from 1 on")
