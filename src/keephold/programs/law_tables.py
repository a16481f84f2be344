"""The tables of a law file, key by key, with the bounds that a single value has."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from keephold.protocol.evidence import Role

Manufacturer = Literal["intel"]
"""Those whose roots are pinned in `attestation.roots`."""

HEX32: Final = "^[0-9a-f]{64}$"

_DAY: Final = 86_400

_Hex32 = Annotated[str, msgspec.Meta(pattern=HEX32)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
_Seconds = Annotated[int, msgspec.Meta(ge=1, le=100 * 366 * _DAY)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the law file."""


class GovernanceLaw(_File, frozen=True, kw_only=True):
    """`[governance]`."""

    keys: tuple[str, ...]
    """Addresses of accounts."""
    threshold: _Count
    delay_seconds: Annotated[int, msgspec.Meta(ge=0, le=366 * _DAY)] = 7 * _DAY


class CommitteeLaw(_File, frozen=True, kw_only=True):
    """`[committee]`."""

    seats: _Count
    threshold: _Count
    floor_seats: _Count = 1
    floor_threshold: _Count = 1
    phase_seconds: _Seconds = 60


class TimingLaw(_File, frozen=True, kw_only=True):
    """`[timing]`."""

    lease_seconds: _Seconds = _DAY
    freshness_seconds: _Seconds = 30
    trusting_period_seconds: _Seconds = 14 * _DAY


class MeasurementLaw(_File, frozen=True, kw_only=True):
    """`[[attestation.measurements]]`."""

    role: Role
    measurement: _Hex32


class AttestationLaw(_File, frozen=True, kw_only=True):
    """`[attestation]`."""

    measurements: tuple[MeasurementLaw, ...]
    vendors: tuple[Manufacturer, ...] = ("intel",)
    """Manufacturers whose roots are pinned in `attestation.roots`."""
    quote_window_seconds: _Seconds = 3600
    gatekeeper_max_level: Annotated[int, msgspec.Meta(ge=1, le=5)] = 2
    accepted_advisories: tuple[_Name, ...] = ()


class Law(_File, frozen=True, kw_only=True):
    """The law file."""

    name: _Name
    guest: _Hex32
    governance: GovernanceLaw
    committee: CommitteeLaw
    attestation: AttestationLaw
    timing: TimingLaw = TimingLaw()
