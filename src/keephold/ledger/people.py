"""Listings for people: what the explorer, the CLI and the REST endpoints show. Without proofs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from keephold.base.ids import ContractId, PublicKey
from keephold.ledger import index
from keephold.ledger.application import kind_of
from keephold.ledger.archive import Archive
from keephold.protocol.governance import Constitution, GovernanceRecord
from keephold.protocol.offences import Dissents, Offences, dissents_path, offences_path
from keephold.protocol.state import (
    AccountRecord,
    CommitteeRecord,
    ContractRecord,
    Registration,
    Roll,
    Roster,
    account_path,
    committee_path,
    contract_path,
    governance_path,
    registration_path,
    roll_path,
    roster_path,
)


@dataclass(frozen=True, slots=True)
class Status:
    """Where the ledger stands."""

    network: bytes
    name: str
    simulated: bool
    height: int
    time_ns: int
    app_hash: bytes


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """One block."""

    height: int
    hash: bytes
    time_ns: int
    transactions: tuple[TransactionSummary, ...]


@dataclass(frozen=True, slots=True)
class TransactionSummary:
    """One transaction as anybody may see it."""

    id: bytes
    height: int
    position: int
    kind: str
    """The tag of its body; empty if it did not decode."""
    sender: bytes
    code: int
    """0, or a `Refusal`."""
    size: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A registration with what is assigned to it."""

    registration: Registration
    contracts: tuple[bytes, ...]
    dissents: Dissents


@final
class People:
    """Listings on the newest committed state."""

    def __init__(self, archive: Archive) -> None:
        self._archive: Final = archive
        self._map: Final = archive.application.map

    def status(self) -> Status:
        """Return where the ledger stands."""
        genesis, newest = self._archive.application.genesis, self._map.newest
        return Status(
            self._archive.application.network,
            genesis.name,
            genesis.simulated,
            newest.height,
            newest.time_ns,
            newest.values.root,
        )

    def law(self) -> Constitution:
        """Return the law in force."""
        return self._map.newest.law

    def governance(self) -> GovernanceRecord:
        """Return how many actions were ordered."""
        return self._map.newest.record(governance_path(), GovernanceRecord) or GovernanceRecord()

    def account(self, account: PublicKey) -> AccountRecord:
        """Return an account; every key has one."""
        return self._map.newest.record(account_path(account), AccountRecord) or AccountRecord()

    def contract(self, contract: ContractId) -> ContractRecord | None:
        """Return a contract."""
        return self._map.newest.record(contract_path(contract), ContractRecord)

    def contracts(self, *, limit: int = 50, offset: int = 0) -> list[tuple[ContractId, ContractRecord]]:
        """Return contracts, newest first."""
        ids = self._map.query(lambda reader: index.contracts(reader, limit, offset))
        found = ((ContractId(contract), self.contract(ContractId(contract))) for contract in ids)
        return [(contract, record) for contract, record in found if record is not None]

    def registration(self, identity: PublicKey) -> Registration | None:
        """Return an identity's registration, ended or not."""
        return self._map.newest.record(registration_path(identity), Registration)

    def workers(self, role: str = "worker") -> list[Worker]:
        """Return the live identities of a role."""
        newest = self._map.newest
        roll = newest.record(roll_path(role), Roll) or Roll()
        found = []
        for entry in roll.entries:
            registration = self.registration(PublicKey(entry.identity))
            if registration is not None:
                roster = newest.record(roster_path(PublicKey(entry.identity)), Roster) or Roster()
                dissents = self.dissents(PublicKey(entry.identity))
                found.append(Worker(registration, roster.contracts, dissents))
        return found

    def committee(self) -> CommitteeRecord:
        """Return the gatekeepers in office, or where their key generation stands."""
        return self._map.newest.record(committee_path(), CommitteeRecord) or CommitteeRecord()

    def offences(self) -> Offences:
        """Return what validators were proven to have done."""
        return self._map.newest.record(offences_path(), Offences) or Offences()

    def dissents(self, worker: PublicKey) -> Dissents:
        """Return the votes of a worker that a quorum outvoted."""
        return self._map.newest.record(dissents_path(worker), Dissents) or Dissents()

    def first(self) -> int:
        """Return the lowest height whose block is kept here."""
        return self._archive.first()

    def block(self, height: int) -> BlockSummary | None:
        """Return a block with its transactions."""
        row = self._map.query(lambda reader: index.block(reader, height))
        view = self._archive.view(height)
        if row is None or view is None:
            return None
        summaries = tuple(
            TransactionSummary(
                view.ids[position],
                height,
                position,
                "" if transaction is None else kind_of(transaction),
                b"" if transaction is None else transaction.sender,
                view.results[position].code,
                len(view.raws[position]),
            )
            for position, transaction in enumerate(view.transactions)
        )
        return BlockSummary(height, row.hash, row.time_ns, summaries)

    def transaction(self, identity: bytes) -> index.TransactionRow | None:
        """Return where a transaction stands and, for a refused one, why."""
        return self._map.query(lambda reader: index.transaction(reader, identity))
