"""What the map holds, and under which path. Every path is a tagged hash of a name and its parts.

The map holds only what a rule or an absence proof needs. Contract state lives in one map per contract, whose root is
in the contract's record, so that one proof covers a contract's inbox, progress and state.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Literal

from keephold.base.ids import ContractId, Height, PublicKey
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import INBOX, PATH, RECEIPTS, RESULT
from keephold.protocol.codec import Record, encode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.custody import CommitteeKeys
from keephold.protocol.evidence import CollateralFloor
from keephold.protocol.transactions import Result
from keephold.protocol.types import (
    Bytes32,
    EncryptionKeyBytes,
    Level,
    Positive,
    PublicKeyBytes,
    Text,
    Uint63,
)

_PATHS: Final = 4096
"""Paths that are remembered: each call touches the same few again and again, and a path is a hash of public parts."""

EMPTY_HEAD = bytes(32)
"""Head of a hash chain with no entries."""


class AccountRecord(Record):
    """A sender: account, worker or gatekeeper alike."""

    nonce: Uint63 = 0
    generation: Uint63 = 0
    """Permits signed with a lower generation are void."""
    encryption_key: bytes = b""
    """1216 bytes once published."""


class RevokedPermit(Record):
    """A permit that its issuer voided. It stays: permits are few, and whoever keeps one may try it late."""

    height: Positive
    """Of the block that revoked it."""


class Registration(Record):
    """The live instance of an identity. A newer registration replaces it."""

    identity: PublicKeyBytes
    role: Text
    operator: PublicKeyBytes
    instance: Bytes32
    encryption_key: EncryptionKeyBytes
    transaction: Bytes32
    """Id of the `Register` transaction: whoever relies on the registration fetches and verifies that."""
    level: Level
    measurement: Bytes32
    platform: Bytes32
    vendor: Text
    collateral: Bytes32
    """Path of the collateral it was judged by."""
    judged_by: Bytes32
    """Id of the `UpdateCollateral` transaction that stood there then: evidence is judged as of its time by it."""
    height: Positive
    """Height at which it was accepted."""
    lease_ns: Positive
    """Block time at which it lapses."""
    status: Literal["live", "lapsed", "revoked"] = "live"


class RollEntry(Record):
    """One identity of a role, with the end of its lease."""

    identity: PublicKeyBytes
    lease_ns: Positive


class Roll(Record):
    """All identities of a role that are live, sorted by identity."""

    entries: tuple[RollEntry, ...] = ()


class Roster(Record):
    """Contracts assigned to one worker, sorted: a proof of it leaves none out."""

    contracts: tuple[Bytes32, ...] = ()


class Waiting(Record):
    """Contracts with fewer workers than their policy asks for, in order of deployment."""

    contracts: tuple[Bytes32, ...] = ()


class Publication(Record):
    """A worker's `PublishKey` for the contract's present epoch."""

    worker: PublicKeyBytes
    transaction: Bytes32
    digest: Bytes32
    """Tagged hash of the keys published: equal for workers that agree."""


class Backing(Record):
    """What a vote rests on: transactions that whoever takes up the state later fetches and verifies."""

    transaction: Bytes32
    """Id of the vote."""
    registration: Bytes32
    """Id of the `Register` transaction of the voter's instance."""
    judged_by: Bytes32
    """Id of the `UpdateCollateral` transaction that this registration was judged by."""


class Vote(Record):
    """A worker's vote for the next result or migration, while a quorum is not reached."""

    worker: PublicKeyBytes
    digest: Bytes32
    backing: Backing


class Departures(Record):
    """Workers that left a contract whose key epoch has not ended since, sorted: they may still hold its keys."""

    workers: tuple[PublicKeyBytes, ...] = ()


class Due(Record):
    """Contracts whose key epoch the rules end by themselves, as soon as a block has room for it."""

    contracts: tuple[Bytes32, ...] = ()


class Rotation(Record):
    """A key epoch on its way in, while the one before drains and its slots are sealed anew."""

    to_epoch: Positive
    publications: tuple[Publication, ...] = ()
    """For `to_epoch`."""
    signing_key: bytes = b""
    encryption_key: bytes = b""
    cursor: Bytes32 = bytes(32)
    """Tag of the last slot that was sealed anew: whoever goes on starts behind it."""
    pages: Uint63 = 0
    """Accepted migrations. Once there is one, slots are sealed under `to_epoch`, and it cannot be given up."""
    again: bool = False
    """Somebody who may hold keys of `to_epoch` was excluded: it ends as soon as it begins."""
    drain: Uint63 = 0
    """Inbox index of the last entry that the old epoch consumes: messages that come later wait for the next one."""


class ContractRecord(Record):
    """All that the ledger knows of a contract."""

    creator: PublicKeyBytes
    nonce: Uint63
    """The creator's nonce at deployment: with creator, code and policy it yields the contract's id."""
    code: Bytes32
    """Code hash."""
    deployment: Bytes32
    """Id of the `Deploy` transaction, which holds the code."""
    policy: ContractPolicy
    phase: Literal["waiting", "keying", "active", "rotating", "refused", "suspended"]
    epoch: Positive = 1
    workers: tuple[PublicKeyBytes, ...] = ()
    """Assigned, in order of assignment."""
    suspended: tuple[PublicKeyBytes, ...] = ()
    """Workers that published differing keys, or were outvoted; never assigned to this contract again."""
    publications: tuple[Publication, ...] = ()
    signing_key: bytes = b""
    """32 bytes once a worker published; agreed upon only once `phase` is active."""
    encryption_key: bytes = b""
    """1216 bytes, likewise."""
    refusal: str = ""
    """Why the sandbox refused the code."""
    inbox_count: Uint63 = 0
    inbox_head: Bytes32 = EMPTY_HEAD
    done: Uint63 = 0
    """Entries consumed by accepted results."""
    version: Uint63 = 0
    """Accepted results and migrations."""
    state_root: Bytes32 = bytes(32)
    """Root of the contract's own sparse Merkle map; that of the empty map at first (set at deployment)."""
    votes: tuple[Vote, ...] = ()
    """For the next result or migration, while a quorum is not reached."""
    settled: tuple[Backing, ...] = ()
    """The votes that made the last accepted result or migration: a quorum for the same. None before the first."""
    rotation: tuple[Rotation, ...] = ()
    """One while `phase` is rotating, none otherwise: records have no null."""
    departed: tuple[PublicKeyBytes, ...] = ()
    """Workers that left since the last change of epoch began: should one be excluded, the epoch ends."""


class Batch(Record):
    """Entries that one block appended to an inbox, `MAX_BATCH` at most: the unit of execution, fixed by the ledger."""

    height: Positive
    before: Bytes32
    """Head before the first of them."""
    entries: tuple[Bytes32, ...]
    """Transaction ids, in order; of entries that no account signed, `channel.id_of`."""
    letters: tuple[Positive, ...] = ()
    """Indexes of those that no account signed, rising: each lies at `letter_path`."""


class CommitteeRecord(Record):
    """The gatekeepers in office, and the key ceremony under way: a generation, or a resharing to their successors.

    forming ──> generating ──> ready <──> resharing       ready, resharing, short: a committee is in office
                 └──> failed    └──> short (too few live members to release a key) ──> ready, resharing
    """

    phase: Literal["forming", "generating", "ready", "resharing", "short", "failed"] = "forming"
    round: Uint63 = 0
    """Of the ceremony under way or last ended; its state is at `round_path`."""
    members: tuple[PublicKeyBytes, ...] = ()
    """In office; during a generation, those who take part in it."""
    keys: tuple[CommitteeKeys, ...] = ()
    """One once there is a committee in office, none before: records have no null."""
    successors: tuple[PublicKeyBytes, ...] = ()
    """Who receives shares in the resharing under way, sitting members included. Not in office before it is done."""
    setbacks: Uint63 = 0
    """Resharings in a row that failed or lost a receiver: each doubles the pause before the next."""
    resume_ns: Uint63 = 0
    """Block time before which no resharing opens."""


class CollateralRecord(Record):
    """The newest collateral of one kind of platform."""

    transaction: Bytes32
    """Id of the `UpdateCollateral` transaction that brought it."""
    floor: CollateralFloor


@lru_cache(_PATHS)
def path_of(name: str, *parts: bytes) -> bytes:
    """Return the path of what `name` and its parts stand for. One name, one kind of record."""
    return tagged_hash(PATH, name.encode(), *parts)


def account_path(account: PublicKey) -> bytes:
    """Path of an `AccountRecord`."""
    return path_of("account", account)


def revocation_path(issuer: PublicKey, permit: bytes) -> bytes:
    """Path of a `RevokedPermit`, by its hash: under its issuer, so that nobody revokes another's."""
    return path_of("revoked-permit", issuer, permit)


def registration_path(identity: PublicKey) -> bytes:
    """Path of a `Registration`."""
    return path_of("registration", identity)


def roll_path(role: str) -> bytes:
    """Path of a `Roll`."""
    return path_of("roll", role.encode())


def roster_path(worker: PublicKey) -> bytes:
    """Path of a `Roster`."""
    return path_of("roster", worker)


def waiting_path() -> bytes:
    """Path of the `Waiting` list."""
    return path_of("waiting")


def departed_path(worker: PublicKey) -> bytes:
    """Path of a `Roster`: contracts that the worker left and whose key epoch has not ended since."""
    return path_of("departed", worker)


def departures_path() -> bytes:
    """Path of the `Departures`."""
    return path_of("departures")


def due_path() -> bytes:
    """Path of the `Due` list."""
    return path_of("due")


def contract_path(contract: ContractId) -> bytes:
    """Path of a `ContractRecord`."""
    return path_of("contract", contract)


def batch_path(contract: ContractId, first: int) -> bytes:
    """Path of the `Batch` whose first entry has index `first`; present while entries of it are not consumed.

    A result may consume a part of it; what remains is then found under its own first entry. So what is executed next
    always lies at `done + 1`.
    """
    return path_of("batch", contract, number(first))


def letter_path(contract: ContractId, index: int) -> bytes:
    """Path of a `LetterRecord`: an entry of a contract's inbox that no account signed, until it is consumed."""
    return path_of("letter", contract, number(index))


def channel_path(source: ContractId, target: ContractId) -> bytes:
    """Path of a `Channel`."""
    return path_of("channel", source, target)


def epoch_path(contract: ContractId, epoch: int) -> bytes:
    """Path of an `EpochRecord`; absent until that epoch began."""
    return path_of("epoch", contract, number(epoch))


def committee_path() -> bytes:
    """Path of the `CommitteeRecord`."""
    return path_of("committee")


def round_path(round_number: int) -> bytes:
    """Path of a key generation's `RoundState`."""
    return path_of("round", number(round_number))


def governance_path() -> bytes:
    """Path of the `GovernanceRecord`."""
    return path_of("governance")


def collateral_path(kind: bytes) -> bytes:
    """Path of a `CollateralRecord`; `kind` is `evidence.collateral_key` of the platform."""
    return path_of("collateral", kind)


def inbox_head(head: bytes, index: int, entry: bytes, height: Height) -> bytes:
    """Return the inbox hash-chain head after entry `index` (a transaction id) that block `height` appended."""
    return tagged_hash(INBOX, head, number(index), entry, number(height))


def result_digest(result: Result) -> bytes:
    """Return what quorum votes are counted by."""
    return tagged_hash(RESULT, encode(result))


def receipt_leaf(contract: bytes, entry: int, call: bytes, receipt: bytes) -> bytes:
    """Return a receipt's leaf in its result's tree (`chain.merkle.root`), which is the result transaction's `data`.

    With the call's transaction id in it, a proof says which call is answered, without showing the whole result.
    """
    return tagged_hash(RECEIPTS, contract, number(entry), call, receipt)
