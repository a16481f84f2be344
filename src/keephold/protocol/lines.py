"""Lines of keys: everything the MasterKey is ever asked for, closed. One input of the threshold PRF for each.

A line says whose keys they are and what ends them:

* `ContractLine`: a contract's keys in one key epoch; they end with the epoch.
* `SigningLine`: the seed of the signing keys that a contract owns itself. It names no epoch, so that an address lasts;
  it ends with the MasterKey alone. Hence what a worker broken once takes from it stays taken.
* `ChannelLine`: what one contract's messages to another travel under, in one direction, and their answers; for each of
  the two it ends with its own epoch, once nothing sealed under it waits any more.

Who may be told a line is decided by `gatekeeper.requests`, by a rule for each; `parties` says about which contracts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keephold.base.ids import ContractId
from keephold.protocol.codec import Record
from keephold.protocol.types import Bytes32, Positive


class ContractLine(Record, tag="contract", tag_field="line"):
    """The keys of a contract in one key epoch: calls, state, events."""

    contract: Bytes32
    epoch: Positive


class SigningLine(Record, tag="signing", tag_field="line"):
    """The seed of a contract's own signing keys, in every epoch the same."""

    contract: Bytes32


class ChannelLine(Record, tag="channel", tag_field="line"):
    """The key of the messages that `source` sends to `target`, and of their answers.

    What `target` sends by itself goes by a line of its own.
    """

    source: Bytes32
    source_epoch: Positive
    target: Bytes32
    target_epoch: Positive


KeyLine = ContractLine | SigningLine | ChannelLine


class Party(NamedTuple):
    """A contract whose workers hold the keys of a line."""

    contract: ContractId
    epoch: int | None
    """The key epoch with which the line ends; None where none of them ends it."""


def parties(line: KeyLine) -> tuple[Party, ...]:
    """Return the contracts that a line is about, each once unless a contract sends to itself."""
    match line:
        case ContractLine(contract, epoch):
            return (Party(ContractId(contract), epoch),)
        case SigningLine(contract):
            return (Party(ContractId(contract), None),)
        case ChannelLine(source, source_epoch, target, target_epoch):
            return (Party(ContractId(source), source_epoch), Party(ContractId(target), target_epoch))


def contracts_of(lines: Iterable[KeyLine]) -> tuple[ContractId, ...]:
    """Return the contracts that lines are about, each once, in the order in which they are named first."""
    return tuple(dict.fromkeys(party.contract for line in lines for party in parties(line)))


def order(line: KeyLine) -> tuple[tuple[bytes, int], ...]:
    """Return by what the lines of a request are sorted, so that a worker's requests are spelled one way."""
    return tuple((contract, epoch or 0) for contract, epoch in parties(line))
