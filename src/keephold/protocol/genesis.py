"""The genesis: what everyone who pins a network pins."""

from __future__ import annotations

from keephold.base.errors import ConfigurationError, LedgerRefused
from keephold.base.ids import NetworkId
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import NETWORK
from keephold.protocol.codec import Record, encode
from keephold.protocol.governance import Constitution, check_constitution
from keephold.protocol.types import Bytes32, Positive, Text


class Genesis(Record):
    """The first law of a network. Its hash is the network id; a network with other bytes here is another network."""

    name: Text
    """For people; two networks may share it, which is why nothing relies on it."""
    time_ns: Positive
    """Wall-clock nanoseconds of block 1's earliest time."""
    guest: Bytes32
    """SHA-256 of the Python guest artefact; a worker refuses another."""
    law: Constitution
    simulated: bool = False
    """True on a network whose enclaves a development vendor attests. Every tool says so; no check is relaxed by it.

    It decides one thing: what a failed contract said is sealed to its caller, where otherwise it stays inside.
    """


def network_id(genesis: Genesis) -> NetworkId:
    """Return the network id: the tagged hash of the canonical genesis.

    Raises:
        ConfigurationError: the genesis' law cannot be lived under (see `check_constitution`).
    """
    try:
        check_constitution(genesis.law)
    except LedgerRefused as error:
        raise ConfigurationError(f"genesis: {error.detail}") from error
    return NetworkId(tagged_hash(NETWORK, encode(genesis)))
