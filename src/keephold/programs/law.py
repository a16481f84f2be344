"""The law file: what a genesis decides, as people write it down.

It has no word for a development vendor, so no file leads to a network whose enclaves are simulated; only the devnet
founds those. What has no safe default has none: governance keys, measurements, the committee. Measurements are those of
builds that somebody reproduced, not of enclaves that somebody met.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import msgspec.inspect

from keephold.attestation import roots
from keephold.base.errors import LawInvalid
from keephold.contract.address import Address
from keephold.programs.law_check import form, sense
from keephold.programs.law_tables import AttestationLaw, CommitteeLaw, GovernanceLaw, Law, Manufacturer
from keephold.protocol.evidence import AllowedMeasurement, AttestationPolicy, HardwareVendor
from keephold.protocol.governance import (
    CommitteeFloor,
    CommitteeRules,
    Constitution,
    GovernanceRules,
    Timing,
    ValidatorEntry,
)

_MANUFACTURERS: Final[Mapping[Manufacturer, Callable[[], HardwareVendor]]] = {"intel": roots.intel}
"""Those whose roots are pinned here."""

_SECOND: Final = 10**9
_POWER: Final = 10

_SHOWN: Final = 60


TEMPLATE: Final = """\
name = "example"
# SHA-256 of the Python guest: all workers run this one. `keephold doctor` shows the one that is installed.
guest = "…"

[governance]
# Accounts (`keephold account new` makes one), each kept by another person.
keys = ["kh1…", "kh1…", "kh1…"]
threshold = 2
# How long everyone can see an amendment before it holds. Revocations hold at once.
delay_seconds = 604800

[committee]
# Gatekeepers that share the master key, and how many make a contract's key; at least 2 * threshold - 1 seats.
seats = 5
threshold = 3
# Below this no amendment goes.
floor_seats = 3
floor_threshold = 2
phase_seconds = 60

[timing]
lease_seconds = 86400
freshness_seconds = 30
trusting_period_seconds = 1209600

[attestation]
vendors = ["intel"]
quote_window_seconds = 3600
gatekeeper_max_level = 2
accepted_advisories = []

# The builds that are admitted, each as its reproduction measures.
[[attestation.measurements]]
role = "worker"
measurement = "…"

[[attestation.measurements]]
role = "gatekeeper"
measurement = "…"
"""
"""A law file to fill in: the dots."""


_TRIAL_DELAY: Final = 60


def trial_law(name: str, guest: bytes, governor: Address) -> Law:
    """Return a law to try nodes under. One account governs, and no enclave is admitted until it admits its build.

    So there is nothing on such a network that anybody could lose; a file that says so is refused, as whoever fills one
    in means to have enclaves.
    """
    return Law(
        name=name,
        guest=guest.hex(),
        governance=GovernanceLaw(keys=(governor.text,), threshold=1, delay_seconds=_TRIAL_DELAY),
        committee=CommitteeLaw(seats=3, threshold=2),
        attestation=AttestationLaw(measurements=()),
    )


_SHAPE: Final = msgspec.inspect.type_info(Law)


def read_law(path: Path) -> Law:
    """Return the law in a file: one that a network can be founded on.

    Raises:
        LawInvalid: with the key that is wrong, what was found, and what is allowed.
    """
    # (1) It is TOML.
    said = _toml(path)
    # (2) Its keys and values have the form of a law.
    mistake = form(said, _SHAPE)
    if mistake:
        raise LawInvalid(str(path), *mistake)
    law = msgspec.convert(said, Law)
    # (3) It can be lived under.
    mistake = next(sense(law), None)
    if mistake:
        raise LawInvalid(str(path), *mistake)
    return law


def _toml(path: Path) -> dict[str, object]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise LawInvalid(str(path), "", str(error.strerror), "a file that can be read") from error
    except UnicodeDecodeError as error:
        raise LawInvalid(str(path), f"byte {error.start}", "bytes that are no UTF-8", "TOML in UTF-8") from error
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # The parser tells the place in its text alone; "at end of document" is the last line.
        place = re.search(r"\(at line (\d+), column (\d+)\)$", str(error))
        lines = text.splitlines() or [""]
        number = min(int(place[1]), len(lines)) if place else len(lines)
        key = f"line {number}" + (f", column {place[2]}" if place else "")
        found = lines[number - 1].strip() or "an empty line"
        raise LawInvalid(str(path), key, found[:_SHOWN], "TOML: a table, or KEY = VALUE") from error


def constitution(law: Law, validators: Sequence[bytes]) -> Constitution:
    """Return a law that `read_law` returned as records, with these validators at equal power."""
    attestation, committee, timing = law.attestation, law.committee, law.timing
    return Constitution(
        governance=GovernanceRules(
            keys=tuple(sorted(Address.parse(key).value for key in law.governance.keys)),
            threshold=law.governance.threshold,
            delay_ns=law.governance.delay_seconds * _SECOND,
        ),
        attestation=AttestationPolicy(
            vendors=tuple(_MANUFACTURERS[name]() for name in sorted(set(attestation.vendors))),
            measurements=tuple(
                AllowedMeasurement(bytes.fromhex(item.measurement), item.role) for item in attestation.measurements
            ),
            quote_window_ns=attestation.quote_window_seconds * _SECOND,
            accepted_advisories=attestation.accepted_advisories,
            gatekeeper_max_level=attestation.gatekeeper_max_level,
        ),
        committee=CommitteeRules(committee.seats, committee.threshold, committee.phase_seconds * _SECOND),
        timing=Timing(
            lease_ns=timing.lease_seconds * _SECOND,
            freshness_ns=timing.freshness_seconds * _SECOND,
            trusting_period_ns=timing.trusting_period_seconds * _SECOND,
        ),
        validators=tuple(ValidatorEntry(key, _POWER) for key in validators),
        floor=CommitteeFloor(committee.floor_seats, committee.floor_threshold),
    )
