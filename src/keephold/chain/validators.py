"""Validator sets: who signs, with what power, in the one order and bytes that the set's hash commits to.

A set that exists is legal: non-empty, powers positive and below the overflow bound, sorted by power descending and then
by address, no address twice. Proposer priorities are each node's own bookkeeping; no header commits to them, so a
record that carries one could not be verified, and it is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final, NewType, Self

from keephold.base.errors import EncodingError
from keephold.chain import merkle, proto
from keephold.crypto.hashing import sha256

Address = NewType("Address", bytes)
"""20 bytes: the first of SHA-256 of a validator's public key."""

ADDRESS_SIZE: Final = 20
MAX_TOTAL_POWER: Final = (2**63 - 1) // 8
"""CometBFT's bound: sums and thirds never overflow an int64."""


@dataclass(frozen=True)
class Validator:
    """One validator of a set."""

    public_key: bytes
    """32 bytes: Ed25519."""
    power: int
    """Voting power, 1 to MAX_TOTAL_POWER."""

    def __post_init__(self) -> None:
        if len(self.public_key) != 32:
            raise EncodingError("a validator's key has 32 bytes")
        if not 0 < self.power <= MAX_TOTAL_POWER:
            raise EncodingError("a validator's power is positive and bounded")

    @cached_property
    def address(self) -> Address:
        """The name under which commits and headers mention this validator."""
        return Address(sha256(self.public_key)[:ADDRESS_SIZE])

    def leaf(self) -> bytes:
        """Return the leaf (`SimpleValidator`) in the hash of the set."""
        return proto.message(1, proto.data(1, self.public_key)) + proto.number(2, self.power)


@dataclass(frozen=True)
class ValidatorSet:
    """The validators of one height, sorted. `ValidatorSet.of` sorts."""

    validators: tuple[Validator, ...]
    """At least one; by power descending, then by address."""

    def __post_init__(self) -> None:
        if not self.validators:
            raise EncodingError("a validator set is not empty")
        order = [_position(validator) for validator in self.validators]
        if any(left >= right for left, right in pairwise(order)):
            raise EncodingError("validators are not in order")
        if len(self.by_address) != len(self.validators):
            raise EncodingError("a validator is listed twice")
        if self.total_power > MAX_TOTAL_POWER:
            raise EncodingError("the total power overflows")

    @classmethod
    def of(cls, validators: Iterable[Validator]) -> Self:
        """Return the set of these validators, in order."""
        return cls(tuple(sorted(validators, key=_position)))

    @cached_property
    def total_power(self) -> int:
        """Sum of all powers."""
        return sum(validator.power for validator in self.validators)

    @cached_property
    def by_address(self) -> Mapping[Address, Validator]:
        """The validators under their addresses."""
        return {validator.address: validator for validator in self.validators}

    @property
    def proposer(self) -> Validator:
        """The first proposer of a fresh set: highest power, then lowest address."""
        return self.validators[0]

    def hash(self) -> bytes:
        """Return the 32 bytes that a header carries as `validators_hash` or `next_validators_hash`."""
        return self._hash

    @cached_property
    def _hash(self) -> bytes:
        return merkle.root([validator.leaf() for validator in self.validators])


def encode_validator_set(validators: ValidatorSet) -> bytes:
    """Return the `tendermint.types.ValidatorSet` message."""
    return b"".join(
        [proto.message(1, _encode_validator(validator)) for validator in validators.validators]
        + [proto.message(2, _encode_validator(validators.proposer))]
    )


def decode_validator_set(encoded: bytes) -> ValidatorSet:
    """Return the set, or raise EncodingError."""
    reader = proto.Reader(encoded)
    validators = ValidatorSet(tuple(_read_validator(inner) for inner in reader.messages(1)))
    if _read_validator(reader.message(2)) != validators.proposer:
        raise EncodingError("the proposer is not the first validator")
    reader.finish()
    return validators


def _position(validator: Validator) -> tuple[int, bytes]:
    return -validator.power, validator.address


def _encode_validator(validator: Validator) -> bytes:
    key = proto.message(2, proto.data(1, validator.public_key))
    return proto.data(1, validator.address) + key + proto.number(3, validator.power)


def _read_validator(reader: proto.Reader) -> Validator:
    address = reader.data(1)
    key = reader.message(2)
    public_key = key.data(1)
    key.finish()
    validator = Validator(public_key, reader.signed(3))
    reader.finish()
    if address != validator.address:
        raise EncodingError("the address is not the key's")
    return validator
