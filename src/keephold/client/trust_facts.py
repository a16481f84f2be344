"""What is known of a contract's guardians, as plain values. `trust_shell` fills them from proofs and evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from keephold.base.ids import ContractId, NetworkId, PublicKey


@final
@dataclass(frozen=True, slots=True)
class Enclave:
    """A worker or gatekeeper."""

    identity: PublicKey
    role: Literal["worker", "gatekeeper"]
    operator: bytes
    """32 bytes; the identity itself where nobody is on record."""
    platform: bytes
    """32 bytes, hash of the processor's id; empty where none is on record."""
    level: int = 0
    """Confidence, 1 is the best; 0 if the evidence does not verify."""
    measurement: bytes = b""
    vendor: str = ""
    is_simulated: bool = False
    lease_ns: int = 0
    """Block time at which it lapses."""
    seat: int = 0
    """A gatekeeper's, from 1."""
    doubt: str = ""
    """Why its registration does not verify now. Then operator, platform and lease are only the ledger's word."""

    @property
    def is_verified(self) -> bool:
        """Whether signatures and evidence hold now."""
        return not self.doubt

    @property
    def label(self) -> str:
        """For people."""
        seat = f" in seat {self.seat}" if self.seat else ""
        return f"{self.role} {self.identity.hex()[:16]}{seat}"


@final
@dataclass(frozen=True, slots=True)
class Validator:
    """A consensus key and its power, as governance signed them."""

    public_key: bytes
    power: int


@final
@dataclass(frozen=True, slots=True)
class VendorFact:
    """A vendor whose quotes the law believes."""

    name: str
    is_simulated: bool


@final
@dataclass(frozen=True, slots=True)
class Committee:
    """The gatekeepers in office."""

    phase: str
    threshold: int
    """0 while nobody is in office."""
    members: tuple[Enclave, ...]
    sharing_epoch: int = 0
    successors: tuple[Enclave, ...] = ()
    """Who receives shares in the resharing under way."""
    next_threshold: int = 0
    """Of that sharing."""


@final
@dataclass(frozen=True, slots=True)
class Governance:
    """Who amends the law."""

    keys: tuple[bytes, ...]
    threshold: int
    delay_ns: int
    pending: tuple[str, ...] = ()
    """Actions signed and ordered that are not in force yet, a sentence each."""


Why = Literal["assigned", "next epoch", "left", "ended"]
"""Assigned in the present epoch, or in the one on its way in; no more, in an open one; or the epoch has ended."""


@final
@dataclass(frozen=True, slots=True)
class Held:
    """A key that a worker may have."""

    contract: ContractId
    epoch: int
    why: Why
    is_published: bool
    """The worker signed this open epoch's public keys: so it had them. Else the ledger shows only that it could ask."""
    since: int = 0
    """Height from which on gatekeepers release it this key."""
    ended: int = 0
    """Height of the block that ended the epoch: the key opens what was sealed under it before. 0 while it is open."""


@final
@dataclass(frozen=True, slots=True)
class Holding:
    """A worker that may have the key of one epoch."""

    worker: PublicKey
    since: int
    """Height from which on gatekeepers release it this key."""


@final
@dataclass(frozen=True, slots=True)
class KeyEpoch:
    """One key epoch of a contract, and everybody who may have its keys."""

    number: int
    ended: int
    """Height of the block that ended it; 0 while it is open."""
    holders: tuple[Holding, ...]


@final
@dataclass(frozen=True, slots=True)
class ContractEpochs:
    """Every key epoch that a contract has had."""

    epochs: tuple[KeyEpoch, ...]
    """In order, from 1 on."""
    height: int
    """Of the header that proves up to which."""
    owned: tuple[str, ...]
    """Label and scheme of each key that the contract owns: every holder of every epoch may have them, for ever."""


@final
@dataclass(frozen=True, slots=True)
class Signing:
    """Keys that a contract owns and a worker may have. They do not rotate: who had them once has them for ever."""

    contract: ContractId
    keys: tuple[str, ...]
    """Label and scheme of each, as the contract's interface declares them."""
    why: Literal["assigned", "left", "ended"]
    """Assigned now; or no more, in an epoch that is open; or in ended ones only."""


@final
@dataclass(frozen=True, slots=True)
class Exposure:
    """What breaking one worker exposes, as far as the ledger proves it: every epoch that it ever was assigned in."""

    worker: PublicKey
    held: tuple[Held, ...]
    height: int
    """Of the oldest header that proves a part of it."""
    signing: tuple[Signing, ...] = ()
    """Keys that those contracts own."""
    not_proven: tuple[str, ...] = (
        (
            "Gatekeepers answer under seal: that a key was released shows only where the worker published it. Listed "
            "is every epoch whose keys they release, or released, to it."
        ),
        (
            "The key of a channel to another contract outlives an epoch while a message sealed under it waits, and "
            "goes to the workers assigned then; they are not listed for that epoch."
        ),
        (
            "With a contract's key goes the right to ask for the keys of its messages, of the same epochs, in either "
            "direction and with any other contract: with which, the ledger keeps no list."
        ),
        "Several headers prove these records; an epoch that began between them may be missing.",
    )


@final
@dataclass(frozen=True, slots=True)
class TrustFacts:
    """All that the conclusions rest on."""

    network: NetworkId
    contract: ContractId
    name: str
    """Of the contract's class."""
    creator: PublicKey
    phase: str
    epoch: int
    level: int
    """The worst confidence level that the contract accepts."""
    quorum: int
    workers: tuple[Enclave, ...]
    """Assigned."""
    departed: tuple[Enclave, ...]
    """Not assigned any more; each may hold keys of an epoch that is open."""
    committee: Committee
    governance: Governance
    validators: tuple[Validator, ...]
    vendors: tuple[VendorFact, ...]
    exposures: tuple[Exposure, ...] = ()
    """Of the assigned workers."""
    epochs: ContractEpochs = ContractEpochs((), 0, ())
    """Who may hold the keys of each epoch that the contract has had."""
    proofs: tuple[str, ...] = ()
    """Which header proves what, and why the contract's key is believed: a sentence each."""
    height: int = 0
    """Of the header that proves the committee and the law."""
    header_hash: bytes = b""
    time_ns: int = 0
