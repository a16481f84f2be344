"""Which transactions the map still refers to: they outlive their blocks, in snapshots and when history is pruned.

Whoever relies on the ledger fetches them by id and verifies them: the registration behind an enclave, the collateral it
was judged by, a contract's deployment (its code), the publications of its key, the votes that made its last result, and
the calls that wait in its inbox.

The map's leaves say all this by themselves, so the survey is complete whenever the leaves are: nothing is taken from an
index. A leaf does not name its kind, but a contract's and a registration's record each yield the path they lie at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.base.ids import CodeHash, ContractId, NetworkId, PublicKey
from keephold.chain.sparse import SparseMap
from keephold.protocol.channel import InboxEntry, LetterRecord
from keephold.protocol.codec import Record, decode
from keephold.protocol.contracts import contract_id
from keephold.protocol.state import (
    Batch,
    CollateralRecord,
    ContractRecord,
    Registration,
    batch_path,
    contract_path,
    letter_path,
    registration_path,
)

T = TypeVar("T", bound=Record)

_FIELDS: Final[tuple[tuple[bytes, type[Record]], ...]] = (
    (b"deployment", ContractRecord),
    (b"measurement", Registration),
    (b"floor", CollateralRecord),
)
"""A field that every record of a kind spells out: most leaves are passed over without being decoded."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An inbox entry that no result has consumed."""

    contract: bytes
    entry: int
    height: int
    letter: InboxEntry | None
    """None for a call."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The transactions that a map refers to, by what refers to them."""

    contracts: Mapping[bytes, ContractRecord]
    """Every contract, by its id."""
    waiting: Mapping[bytes, tuple[bytes, int]]
    """Calls that no result has consumed: contract and entry by transaction id."""
    letters: tuple[tuple[bytes, Waiting], ...]
    """Entries that no account signed and no result has consumed, with their ids: no transaction holds their bytes. An
    id names bytes, not a place: two contracts may be told the same."""
    collateral: Mapping[bytes, bytes]
    """Transaction ids by the path of the record, where the collateral itself is attached."""
    others: frozenset[bytes]
    """Registrations and what judged them, deployments, publications, votes."""

    @property
    def ids(self) -> frozenset[bytes]:
        """All of them."""
        return self.others.union(self.waiting, self.collateral.values())


def survey(network: NetworkId, values: SparseMap) -> Survey:
    """Return what a map refers to.

    Raises:
        ProofInvalid: the map lacks a batch of entries that a contract's record counts.
    """
    contracts: dict[bytes, ContractRecord] = {}
    collateral: dict[bytes, bytes] = {}
    others: set[bytes] = set()
    for path, record in _records(values):
        match record:
            case ContractRecord():
                policy, code = record.policy, CodeHash(record.code)
                contract = contract_id(network, PublicKey(record.creator), record.nonce, code, policy)
                if contract_path(contract) == path:
                    contracts[contract] = record
                    coming = [item for rotation in record.rotation for item in rotation.publications]
                    others.add(record.deployment)
                    for backing in (*record.settled, *(vote.backing for vote in record.votes)):
                        others |= {backing.transaction, backing.registration, backing.judged_by}
                    others |= {item.transaction for item in (*record.publications, *coming)}
            case Registration() if registration_path(PublicKey(record.identity)) == path:
                others |= {record.transaction, record.judged_by}
            case CollateralRecord():
                collateral[path] = record.transaction
            case _:
                pass
    entries = [
        (identity, waiting)
        for contract, record in contracts.items()
        for identity, waiting in _waiting(values, ContractId(contract), record)
    ]
    waiting = {call: (item.contract, item.entry) for call, item in entries if item.letter is None}
    letters = tuple((identity, item) for identity, item in entries if item.letter is not None)
    return Survey(contracts, waiting, letters, collateral, frozenset(others))


def _records(values: SparseMap) -> Iterator[tuple[bytes, Record]]:
    for path, value in values:
        for field, kind in _FIELDS:
            if field in value:
                with suppress(EncodingError):
                    yield path, decode(value, kind)


def _waiting(values: SparseMap, contract: ContractId, record: ContractRecord) -> Iterator[tuple[bytes, Waiting]]:
    """Yield id and place of each entry that is not consumed."""
    entry = record.done + 1
    while entry <= record.inbox_count:
        value = values.get(batch_path(contract, entry))
        if value is None:
            raise ProofInvalid(f"entries of contract {contract.hex()} from {entry} on are not in the map")
        batch = decode(value, Batch)
        for identity in batch.entries:
            letter = values.get(letter_path(contract, entry)) if entry in batch.letters else None
            written = None if letter is None else decode(letter, LetterRecord).entry
            yield identity, Waiting(contract, entry, batch.height, written)
            entry += 1
