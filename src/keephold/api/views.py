"""What people see of the ledger, as JSON: bytes in lower-case hex, addresses in their text form, no proofs.

The shapes here are the REST contract: the OpenAPI document is generated from them.
"""

from __future__ import annotations

import msgspec

from keephold.contract.address import Address
from keephold.ledger.index import TransactionRow
from keephold.ledger.people import BlockSummary, Status, TransactionSummary, Worker
from keephold.protocol.offences import Dissent, Offence
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, CommitteeRecord, ContractRecord


class StatusView(msgspec.Struct, frozen=True):
    """Where the ledger stands. `simulated` is true on a network whose enclaves keep nothing from their owner."""

    network: str
    name: str
    simulated: bool
    height: int
    time_ns: str
    app_hash: str


class AccountView(msgspec.Struct, frozen=True):
    """A sender's public state."""

    address: str
    nonce: int
    permit_generation: int
    encryption_key: str


class ContractView(msgspec.Struct, frozen=True):
    """A contract's public state; what is inside its slots, calls and receipts is not known here."""

    address: str
    creator: str
    code: str
    phase: str
    epoch: int
    level: int
    quorum: int
    workers: list[str]
    inbox: int
    done: int
    version: int
    state_root: str
    encryption_key: str
    refusal: str


class WorkerView(msgspec.Struct, frozen=True):
    """A registered enclave."""

    address: str
    role: str
    operator: str
    level: int
    measurement: str
    platform: str
    vendor: str
    instance: str
    lease_ns: str
    status: str
    contracts: list[str]
    dissents: int
    """Votes of it that a quorum outvoted, on any contract."""


class SeatView(msgspec.Struct, frozen=True):
    """A gatekeeper in office."""

    seat: int
    address: str
    public_share: str


class CommitteeView(msgspec.Struct, frozen=True):
    """The gatekeepers, or where their key generation stands; `short` when too few are live to release a key."""

    phase: str
    round: int
    threshold: int
    sharing_epoch: int
    master_key: str
    members: list[str]
    seats: list[SeatView]
    successors: list[str]


class OffenceView(msgspec.Struct, frozen=True):
    """A validator's proven misbehaviour. It has no effect by itself; governance takes a validator off."""

    kind: str
    """`duplicate_vote` or `light_client_attack`."""
    validator: str
    """Its address, 40 hex digits."""
    public_key: str
    """Its Ed25519 key; empty if the law did not name it any more."""
    height: int
    time_ns: str
    power: int
    recorded: int
    """Height of the block with the evidence."""


class DissentView(msgspec.Struct, frozen=True):
    """A worker's vote that a quorum of others outvoted. The worker was suspended from that contract for it."""

    contract: str
    kind: str
    """`result` or `migration`."""
    version: int
    """Of the state that it was a vote on."""
    vote: str
    """Id of its transaction."""
    registration: str
    """Id of the registration of the instance that voted."""
    accepted: str
    """Id of the vote that completed the quorum."""
    height: int


class TransactionView(msgspec.Struct, frozen=True):
    """A transaction as anybody sees it."""

    id: str
    height: int
    position: int
    kind: str
    sender: str
    size: int
    result: str
    """`applied`, or the stable word of the refusal."""


class BlockView(msgspec.Struct, frozen=True):
    """A block."""

    height: int
    hash: str
    time_ns: str
    transactions: list[TransactionView]


class FoundView(msgspec.Struct, frozen=True):
    """Where a transaction stands."""

    id: str
    height: int
    position: int
    kind: str
    sender: str
    result: str
    detail: str
    contract: str
    entry: int


def account_text(key: bytes) -> str:
    """Return the `kh1` text of an account, worker or gatekeeper; empty for none."""
    return str(Address.account(key)) if key else ""


def contract_text(contract: bytes) -> str:
    """Return the `khc1` text of a contract; empty for none."""
    return str(Address.contract(contract)) if contract else ""


def result_word(code: int) -> str:
    """Return `applied` or the stable word of a refusal."""
    return Refusal(code).word if code else "applied"


def status_view(status: Status) -> StatusView:
    """Return the view of the ledger's status."""
    return StatusView(
        status.network.hex(), status.name, status.simulated, status.height, str(status.time_ns), status.app_hash.hex()
    )


def account_view(key: bytes, record: AccountRecord) -> AccountView:
    """Return the view of an account."""
    return AccountView(account_text(key), record.nonce, record.generation, record.encryption_key.hex())


def contract_view(contract: bytes, record: ContractRecord) -> ContractView:
    """Return the view of a contract."""
    return ContractView(
        contract_text(contract),
        account_text(record.creator),
        record.code.hex(),
        record.phase,
        record.epoch,
        record.policy.level,
        record.policy.quorum,
        [account_text(worker) for worker in record.workers],
        record.inbox_count,
        record.done,
        record.version,
        record.state_root.hex(),
        record.encryption_key.hex(),
        record.refusal,
    )


def worker_view(worker: Worker) -> WorkerView:
    """Return the view of a registered enclave."""
    registration = worker.registration
    return WorkerView(
        account_text(registration.identity),
        registration.role,
        account_text(registration.operator),
        registration.level,
        registration.measurement.hex(),
        registration.platform.hex(),
        registration.vendor,
        registration.instance.hex(),
        str(registration.lease_ns),
        registration.status,
        [contract_text(contract) for contract in worker.contracts],
        worker.dissents.count,
    )


def committee_view(record: CommitteeRecord) -> CommitteeView:
    """Return the view of the committee."""
    keys = record.keys[0] if record.keys else None
    return CommitteeView(
        record.phase,
        record.round,
        keys.threshold if keys else 0,
        keys.sharing_epoch if keys else 0,
        keys.master.hex() if keys else "",
        [account_text(member) for member in record.members],
        [SeatView(seat.seat, account_text(seat.member), seat.public_share.hex()) for seat in keys.seats]
        if keys
        else [],
        [account_text(member) for member in record.successors],
    )


def offence_view(offence: Offence) -> OffenceView:
    """Return the view of an offence."""
    return OffenceView(
        offence.kind,
        offence.validator.hex(),
        offence.public_key.hex(),
        offence.height,
        str(offence.time_ns),
        offence.power,
        offence.recorded,
    )


def dissent_view(dissent: Dissent) -> DissentView:
    """Return the view of a dissent."""
    return DissentView(
        contract_text(dissent.contract),
        dissent.kind,
        dissent.version,
        dissent.vote.hex(),
        dissent.registration.hex(),
        dissent.accepted.hex(),
        dissent.height,
    )


def transaction_view(summary: TransactionSummary) -> TransactionView:
    """Return the view of a transaction in its block."""
    return TransactionView(
        summary.id.hex(),
        summary.height,
        summary.position,
        summary.kind,
        account_text(summary.sender),
        summary.size,
        result_word(summary.code),
    )


def block_view(summary: BlockSummary) -> BlockView:
    """Return the view of a block."""
    transactions = [transaction_view(transaction) for transaction in summary.transactions]
    return BlockView(summary.height, summary.hash.hex(), str(summary.time_ns), transactions)


def found_view(row: TransactionRow) -> FoundView:
    """Return the view of where a transaction stands."""
    return FoundView(
        row.id.hex(),
        row.height,
        row.position,
        row.kind,
        account_text(row.sender),
        result_word(row.code),
        row.detail,
        contract_text(row.contract),
        row.entry,
    )
