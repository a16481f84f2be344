"""How a devnet's genesis comes to be: fresh keys for validator, governance, operators and accounts, in files.

Every seed lies in the devnet's directory in the clear. That is a property of a devnet, not of its programs: each is
handed its own key as an operator would hand it, and reads no other's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from keephold.base.errors import ConfigurationError
from keephold.client.keystore import replace_file
from keephold.client.pinned import GENESIS, PinnedNetwork, write_devnet_accounts
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.programs.config import read_genesis
from keephold.programs.founding import speakable
from keephold.programs.members import Member, draw
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import (
    CommitteeRules,
    Constitution,
    GovernanceRules,
    Timing,
    ValidatorEntry,
)
from keephold.testing.build import build_of
from keephold.testing.vendor import DevelopmentVendor, measurement_of

ACCOUNTS: Final = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")

VALIDATOR_SEED: Final = "validator.seed"
_SEED_SIZE: Final = 32
_GOVERNORS: Final = 3
_SECOND: Final = 10**9
_DAY: Final = 86_400 * _SECOND
_POWER: Final = 10
_MAX_VALIDATORS: Final = 16
_MAX_WORKERS: Final = 64

EngineName = Literal["embedded", "cometbft"]
"""What orders transactions: the node alone, or CometBFT."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How large a devnet is."""

    gatekeepers: int = 3
    threshold: int = 2
    workers: int = 1
    validators: int = 1
    engine: EngineName | None = None
    """By default the embedded one for one validator, CometBFT for several."""

    @property
    def is_on_comet(self) -> bool:
        """Whether CometBFT orders transactions."""
        return self.engine == "cometbft" or self.validators > 1

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes, one for each validator; the first is the one that clients are told."""
        return ("node",) if self.validators == 1 else tuple(f"n{number}" for number in range(self.validators))

    def check(self) -> None:
        """Refuse a shape that cannot run.

        Raises:
            ConfigurationError
        """
        if not 1 <= self.threshold <= self.gatekeepers <= 2 * self.threshold - 1:
            raise ConfigurationError(
                f"--threshold {self.threshold} of --gatekeepers {self.gatekeepers}: a threshold is more than half, "
                "so that no two groups can act apart"
            )
        if not 0 <= self.workers <= _MAX_WORKERS:
            raise ConfigurationError(f"--workers {self.workers} is not in 0..{_MAX_WORKERS}")
        if not 1 <= self.validators <= _MAX_VALIDATORS:
            raise ConfigurationError(f"--validators {self.validators} is not in 1..{_MAX_VALIDATORS}")
        if self.engine == "embedded" and self.validators > 1:
            raise ConfigurationError(
                f"--engine embedded is one validator, not {self.validators}: leave it out, or say --engine cometbft"
            )


def found(
    directory: Path, urls: Sequence[str], vendor: DevelopmentVendor, guest: bytes, shape: Shape, now_ns: int
) -> PinnedNetwork:
    """Return the devnet of a directory: as it was left there, or founded now; its nodes answer at these URLs.

    Raises:
        ConfigurationError: what is there was founded by other code, or for another shape.
    """
    if (directory / GENESIS).exists():
        return _refound(directory, urls, vendor, guest, shape)
    shape.check()
    governors = [new_seed(directory / f"governor-{number}.seed") for number in range(_GOVERNORS)]
    seeds = {name: SecretBytes.random(_SEED_SIZE) for name in ACCOUNTS}
    write_devnet_accounts(directory, seeds)
    law = Constitution(
        governance=GovernanceRules(
            keys=tuple(sorted(SigningKey(seed).public for seed in governors)),
            threshold=_GOVERNORS // 2 + 1,
            delay_ns=0,
        ),
        attestation=vendor.policy((build_of("worker", guest), "worker"), (build_of("gatekeeper", guest), "gatekeeper")),
        committee=CommitteeRules(seats=shape.gatekeepers, threshold=shape.threshold, phase_ns=10 * _SECOND),
        timing=Timing(lease_ns=3600 * _SECOND, freshness_ns=10 * _SECOND, trusting_period_ns=14 * _DAY),
        validators=tuple(ValidatorEntry(key, _POWER) for key in _validators(directory, shape)),
    )
    pinned = _pinned(directory, urls, speakable(Genesis("devnet", now_ns, guest, law, simulated=True)))
    pinned.write()
    return pinned


def _pinned(directory: Path, urls: Sequence[str], genesis: Genesis) -> PinnedNetwork:
    return PinnedNetwork(directory, urls[0], genesis, tuple(urls[1:]))


def members(directory: Path, shape: Shape) -> list[Member]:
    """Return the validators of a devnet on CometBFT, their keys drawn at first.

    Raises:
        ConfigurationError: the extra `cluster` is not installed.
    """
    return [draw(directory / name) for name in shape.nodes]


def _validators(directory: Path, shape: Shape) -> list[bytes]:
    if shape.is_on_comet:
        return [member.public_key for member in members(directory, shape)]
    return [ValidatorKey(new_seed(directory / VALIDATOR_SEED)).public]


def _refound(
    directory: Path, urls: Sequence[str], vendor: DevelopmentVendor, guest: bytes, shape: Shape
) -> PinnedNetwork:
    genesis = read_genesis(directory / GENESIS)
    law = genesis.law
    allowed = {item.measurement for item in law.attestation.measurements}
    present = {measurement_of(build_of("worker", guest)), measurement_of(build_of("gatekeeper", guest))}
    if genesis.guest != guest or not present <= allowed or vendor.entry not in law.attestation.vendors:
        raise ConfigurationError(
            f"{directory} was made by another build of keephold, or on another machine: what its enclaves sealed does "
            "not open here. Run that build, or choose another --state"
        )
    if (law.committee.seats, law.committee.threshold) != (shape.gatekeepers, shape.threshold):
        raise ConfigurationError(
            f"{directory} has {law.committee.seats} gatekeepers, threshold {law.committee.threshold}: ask for the same"
        )
    if (len(law.validators), not (directory / VALIDATOR_SEED).exists()) != (shape.validators, shape.is_on_comet):
        engine = "embedded" if (directory / VALIDATOR_SEED).exists() else "cometbft"
        raise ConfigurationError(
            f"{directory} has --validators {len(law.validators)} and --engine {engine}: ask for the same"
        )
    pinned = _pinned(directory, urls, genesis)
    pinned.write()
    return pinned


def new_seed(path: Path) -> SecretBytes:
    """Return the 32-byte seed in a file, drawn and written at first."""
    if not path.exists():
        replace_file(path, SecretBytes.random(_SEED_SIZE).reveal())
    return SecretBytes(path.read_bytes())
