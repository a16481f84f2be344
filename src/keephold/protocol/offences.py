"""What the ledger remembers of those who broke its rules: validators who signed twice, workers whom a quorum outvoted.

Public, for people and governance to act on. What follows by itself is said where the rules write these records
(`ledger.rules.offences`, `ledger.rules.dissents`): nothing for a validator, suspension from that contract for a worker.
"""

from __future__ import annotations

from typing import Literal

from keephold.base.ids import PublicKey
from keephold.protocol.codec import Record
from keephold.protocol.state import path_of
from keephold.protocol.types import Bytes20, Bytes32, Positive, Text, Uint63


class Offence(Record):
    """A validator's misbehaviour, proven by evidence in a block."""

    kind: Text
    """`duplicate_vote`: two votes at one height; `light_client_attack`: a share in a fork for light clients."""
    validator: Bytes20
    """Its address."""
    height: Positive
    """Where it happened."""
    time_ns: Uint63
    """Of the block there."""
    power: Uint63
    """Its voting power there."""
    recorded: Positive
    """Height of the block with the evidence."""
    public_key: bytes = b""
    """Its key, 32 bytes, if the law named it when this was recorded."""


class Offences(Record):
    """The newest offences, oldest first. What follows from them is governance's to say: docs/adr/0012."""

    count: Uint63 = 0
    """All that were ever recorded."""
    newest: tuple[Offence, ...] = ()
    """At most MAX_OFFENCES."""


class Dissent(Record):
    """One vote of a worker that a quorum of others outvoted."""

    contract: Bytes32
    kind: Literal["result", "migration"]
    version: Uint63
    """Of the state that it was a vote on."""
    vote: Bytes32
    """Id of the worker's transaction: what it said, under its own signature."""
    registration: Bytes32
    """Id of the `Register` transaction of the instance that said it: operator, platform, evidence."""
    accepted: Bytes32
    """Id of the vote that completed the quorum: what the others said."""
    height: Positive
    """Of the block that accepted it."""


class Dissents(Record):
    """A worker's newest dissents, oldest first. Each suspended it from that contract: docs/adr/0016."""

    count: Uint63 = 0
    """All that were ever recorded."""
    newest: tuple[Dissent, ...] = ()
    """At most MAX_DISSENTS."""


def offences_path() -> bytes:
    """Path of the `Offences`."""
    return path_of("offences")


def dissents_path(worker: PublicKey) -> bytes:
    """Path of a worker's `Dissents`."""
    return path_of("dissents", worker)
