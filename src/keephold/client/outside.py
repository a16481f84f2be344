"""What an outsider sees: everything the ledger shows of a network, a contract or an account, proven, and no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from keephold.base.ids import ContractId, PublicKey
from keephold.client.connection import Connection
from keephold.follower.contracts import VerifiedDeployment, verify_deployment
from keephold.protocol.codec import Record, decode
from keephold.protocol.offences import Dissents, Offences, dissents_path, offences_path
from keephold.protocol.state import (
    AccountRecord,
    CommitteeRecord,
    Registration,
    Roll,
    Roster,
    account_path,
    committee_path,
    registration_path,
    roll_path,
    roster_path,
)
from keephold.protocol.wire import Slot

_PAGES: Final = 64
T = TypeVar("T", bound=Record)


@dataclass(frozen=True, slots=True)
class OutsideContract:
    """A contract from outside."""

    deployment: VerifiedDeployment
    slots: tuple[Slot, ...]
    """Tags and sealed values; claimed by the node for this state root, not checked against it."""


@dataclass(frozen=True, slots=True)
class OutsideAccount:
    """A sender from outside."""

    record: AccountRecord
    registration: Registration | None
    """Of an enclave's identity; none has been registered for any other."""
    contracts: tuple[bytes, ...]
    """Assigned to it, if it is a worker."""
    dissents: Dissents
    """Votes of it that a quorum outvoted."""


@dataclass(frozen=True, slots=True)
class OutsideNetwork:
    """A network from outside."""

    height: int
    time_ns: int
    committee: CommitteeRecord
    workers: tuple[Registration, ...]
    dissents: tuple[int, ...]
    """Of each of these workers: how many votes of it a quorum outvoted."""
    gatekeepers: tuple[Registration, ...]
    offences: Offences
    """Of validators."""


async def outside_contract(connection: Connection, contract: ContractId) -> OutsideContract:
    """Return what the ledger shows of a contract.

    Raises:
        LedgerRefused: reason `unknown_contract`.
        ChainRefused, NodeUnreachable
    """
    deployment = await verify_deployment(connection.follower, contract)
    slots: list[Slot] = []
    after = bytes(32)
    for _ in range(_PAGES):
        page = await connection.follower.nodes.ask(
            lambda remote, after=after: remote.slots(contract, deployment.record.state_root, after)  # type: ignore[misc] # a default argument's type
        )
        slots += page.slots
        if page.last or not page.slots:
            break
        after = page.slots[-1].tag
    return OutsideContract(deployment, tuple(slots))


async def outside_account(connection: Connection, account: PublicKey) -> OutsideAccount:
    """Return what the ledger shows of an account; of an enclave's identity, that too.

    Raises:
        ChainRefused, NodeUnreachable
    """
    paths = account_path(account), registration_path(account), roster_path(account), dissents_path(account)
    proven = await connection.follower.prove(paths)
    raw = proven[paths[1]]
    return OutsideAccount(
        record=_or(proven[paths[0]], AccountRecord()),
        registration=None if raw is None else decode(raw, Registration),
        contracts=_or(proven[paths[2]], Roster()).contracts,
        dissents=_or(proven[paths[3]], Dissents()),
    )


async def outside_network(connection: Connection) -> OutsideNetwork:
    """Return what the ledger shows of the network's enclaves.

    Raises:
        ChainRefused, NodeUnreachable
    """
    paths = {
        "worker": roll_path("worker"),
        "gatekeeper": roll_path("gatekeeper"),
        "committee": committee_path(),
        "offences": offences_path(),
    }
    proven = await connection.follower.prove(paths.values())
    rolls = {role: _or(proven[paths[role]], Roll()) for role in ("worker", "gatekeeper")}
    found: dict[str, list[Registration]] = {"worker": [], "gatekeeper": []}
    for role, roll in rolls.items():
        for entry in roll.entries:
            raw = await _proven(connection, registration_path(PublicKey(entry.identity)))
            if raw is not None:
                found[role].append(decode(raw, Registration))
    counts = await connection.follower.prove([dissents_path(PublicKey(item.identity)) for item in found["worker"]])
    return OutsideNetwork(
        height=proven.height,
        time_ns=proven.time_ns,
        committee=_or(proven[paths["committee"]], CommitteeRecord()),
        workers=tuple(found["worker"]),
        dissents=tuple(
            _or(counts[dissents_path(PublicKey(item.identity))], Dissents()).count for item in found["worker"]
        ),
        gatekeepers=tuple(found["gatekeeper"]),
        offences=_or(proven[paths["offences"]], Offences()),
    )


async def _proven(connection: Connection, path: bytes) -> bytes | None:
    return (await connection.follower.prove([path]))[path]


def _or(raw: bytes | None, absent: T) -> T:
    return absent if raw is None else decode(raw, type(absent))
