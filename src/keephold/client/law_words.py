"""The law in sentences, and what a change of it changes: what people read before they sign.

No change is silent: two laws that differ have at least one sentence about it (`tests/client/test_law_words.py` asks it
of laws made at random). A signer sees what is said here and nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from keephold.contract.address import Address
from keephold.crypto.hashing import sha256
from keephold.protocol.codec import encode
from keephold.protocol.evidence import (
    FOREVER,
    AllowedMeasurement,
    AttestationPolicy,
    HardwareVendor,
    SimulatedVendor,
    Vendor,
)
from keephold.protocol.governance import Constitution, GovernanceRules

_SECOND: Final = 10**9
_LAST_S: Final = 253_402_300_799
"""The last second of the year 9999: later ones have no date."""


def moment(time_ns: int) -> str:
    """Return a time of the ledger, in UTC, rounded down to the second."""
    if time_ns >= FOREVER:
        return "for ever"
    seconds = min(time_ns // _SECOND, _LAST_S)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration(length_ns: int) -> str:
    """Return a length of time in the largest unit that divides it."""
    for size, name in ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if length_ns and length_ns % (size * _SECOND) == 0:
            count = length_ns // (size * _SECOND)
            return f"{count} {name}{'s' if count > 1 else ''}"
    return f"{length_ns} ns" if length_ns else "none"


def sentences(law: Constitution) -> tuple[str, ...]:
    """Return everything that a law says."""
    policy, committee, timing = law.attestation, law.committee, law.timing
    return (
        (
            f"governance: {law.governance.threshold} of {len(law.governance.keys)} keys amend the law, "
            f"after a delay of {duration(law.governance.delay_ns)}"
        ),
        *(f"governance key {Address.account(key)}" for key in law.governance.keys),
        *(f"vendor {_vendor(vendor)} is believed" for vendor in policy.vendors),
        *(_admitted(item) for item in policy.measurements),
        f"a quote is accepted for {duration(policy.quote_window_ns)} after its block",
        f"a gatekeeper's confidence level is {policy.gatekeeper_max_level} or better",
        "accepted advisories: " + (", ".join(policy.accepted_advisories) or "none"),
        (
            f"committee: {committee.threshold} of {committee.seats} gatekeepers make a key, never fewer than "
            f"{law.floor.threshold} of {law.floor.seats}; a phase lasts {duration(committee.phase_ns)}"
        ),
        (
            f"timing, fixed by the genesis: lease {duration(timing.lease_ns)}, answers fresh within "
            f"{duration(timing.freshness_ns)}, headers trusted for {duration(timing.trusting_period_ns)}"
        ),
        *(f"validator {entry.public_key.hex()} has power {entry.power}" for entry in law.validators),
        *(f"{Address.account(identity)} is revoked" for identity in law.revoked),
    )


def changes(before: Constitution, after: Constitution) -> tuple[str, ...]:
    """Return what `after` changes, old → new; empty exactly if they are equal."""
    found = (
        *_governance(before.governance, after.governance),
        *_policy(before.attestation, after.attestation),
        *_numbers(before, after),
        *_validators(before, after),
        *(f"{Address.account(key)} is revoked" for key in after.revoked if key not in before.revoked),
    )
    if not found and before != after:
        return ("the order in which the law lists its parts changes, and nothing else",)
    return found


def cautions(after: Constitution) -> tuple[str, ...]:
    """Return what a law allows that somebody may regret: for the proposer's and each signer's eyes."""
    policy = after.attestation
    admitted = {item.role for item in policy.measurements if item.until_ns == FOREVER}
    found = [f"no build is left that may be a {role} for ever" for role in ("worker", "gatekeeper")
             if role not in admitted]  # fmt: skip
    if not policy.vendors:
        found.append("no vendor is left: no enclave is admitted any more")
    if after.governance.threshold == len(after.governance.keys) > 1:
        found.append("every governance key has to sign: one that is lost ends all amendments")
    if after.governance.delay_ns == 0:
        found.append("no delay: what is signed is law with its block, and nobody can leave before")
    if after.committee.threshold == 1:
        found.append("a single gatekeeper holds the MasterKey")
    return tuple(found)


def _governance(before: GovernanceRules, after: GovernanceRules) -> Iterator[str]:
    for key in after.keys:
        if key not in before.keys:
            yield f"governance key {Address.account(key)} is added"
    for key in before.keys:
        if key not in after.keys:
            yield f"governance key {Address.account(key)} is taken off"
    if (before.threshold, len(before.keys)) != (after.threshold, len(after.keys)):
        old, new = (f"{rules.threshold} of {len(rules.keys)}" for rules in (before, after))
        yield f"keys that amend the law: {old} → {new}"
    if before.delay_ns != after.delay_ns:
        yield f"delay of an amendment: {duration(before.delay_ns)} → {duration(after.delay_ns)}"


def _policy(before: AttestationPolicy, after: AttestationPolicy) -> Iterator[str]:
    old_vendors, new_vendors = Counter(map(_vendor, before.vendors)), Counter(map(_vendor, after.vendors))
    yield from (f"vendor {text} is believed" for text in (new_vendors - old_vendors).elements())
    yield from (f"vendor {text} is believed no more" for text in (old_vendors - new_vendors).elements())
    if old_vendors == new_vendors and before.vendors != after.vendors:
        names = ", ".join(vendor.name for vendor in after.vendors)
        yield f"vendors are looked up in another order: {names}"
    old, new = Counter(before.measurements), Counter(after.measurements)
    gone = list((old - new).elements())
    for item in (new - old).elements():
        was = next((o for o in gone if (o.measurement, o.role) == (item.measurement, item.role)), None)
        if was is None:
            yield _admitted(item)
            continue
        gone.remove(was)
        yield f"build {item.measurement.hex()} as a {item.role}: {_span(was)} → {_span(item)}"
    yield from (f"build {item.measurement.hex()} may be a {item.role} no more" for item in gone)
    for advisory in after.accepted_advisories:
        if advisory not in before.accepted_advisories:
            yield f"advisory {advisory} is accepted: it lowers no confidence level any more"
    for advisory in before.accepted_advisories:
        if advisory not in after.accepted_advisories:
            yield f"advisory {advisory} is accepted no more"
    if before.gatekeeper_max_level != after.gatekeeper_max_level:
        yield f"worst confidence level of a gatekeeper: {before.gatekeeper_max_level} → {after.gatekeeper_max_level}"
    if before.quote_window_ns != after.quote_window_ns:
        yield f"a quote is accepted for: {duration(before.quote_window_ns)} → {duration(after.quote_window_ns)}"


def _numbers(before: Constitution, after: Constitution) -> Iterator[str]:
    pairs = (
        ("seats of the committee", str(before.committee.seats), str(after.committee.seats)),
        ("gatekeepers that make a key", str(before.committee.threshold), str(after.committee.threshold)),
        ("phase of a key generation", duration(before.committee.phase_ns), duration(after.committee.phase_ns)),
        ("lease", duration(before.timing.lease_ns), duration(after.timing.lease_ns)),
        ("freshness", duration(before.timing.freshness_ns), duration(after.timing.freshness_ns)),
        ("trusting period", duration(before.timing.trusting_period_ns), duration(after.timing.trusting_period_ns)),
    )
    yield from (f"{name}: {old} → {new}" for name, old, new in pairs if old != new)


def _validators(before: Constitution, after: Constitution) -> Iterator[str]:
    old = {entry.public_key: entry.power for entry in before.validators}
    new = {entry.public_key: entry.power for entry in after.validators}
    for key, power in new.items():
        if key not in old:
            yield f"validator {key.hex()} is added with power {power}"
        elif old[key] != power:
            yield f"validator {key.hex()}: power {old[key]} → {power}"
    yield from (f"validator {key.hex()} is taken off" for key in old if key not in new)


def _vendor(vendor: Vendor) -> str:
    match vendor:
        case HardwareVendor():
            kind = "hardware"
        case SimulatedVendor():
            kind = "SIMULATED: its quotes prove nothing"
    # The digest is over the whole record: a changed signer's name shows as another vendor.
    return f"{vendor.name} ({kind}; root {sha256(vendor.root).hex()[:16]}, record {sha256(encode(vendor)).hex()[:16]})"


def _admitted(item: AllowedMeasurement) -> str:
    return f"build {item.measurement.hex()} may be a {item.role}, {_span(item)}"


def _span(item: AllowedMeasurement) -> str:
    start = f"from {moment(item.from_ns)} " if item.from_ns else ""
    return start + (f"until {moment(item.until_ns)}" if item.until_ns != FOREVER else "for ever")
