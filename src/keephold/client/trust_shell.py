"""Gathers what `trust` judges: proofs, signatures and evidence, from one node, believing nothing of it.

1. The contract's record and code: `follower.contracts.verify_deployment`.
2. Committee and law: proven values; the law folded from governance's signatures over the pinned genesis.
3. Every enclave: `follower.trust`. One whose registration does not verify is kept, with the doubt: it may hold keys.
4. The contract's published keys: the sentences of `verify_contract`, or why there are none now.
5. Who may hold the keys of every epoch that the contract has had, and what each assigned worker may hold: `exposure`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    EncodingError,
    LedgerRefused,
    NoLiveWorker,
)
from keephold.base.ids import ContractId, PublicKey
from keephold.client.connection import Connection
from keephold.client.exposure import exposure_of, key_epochs
from keephold.client.trust import TrustReport, trust_report
from keephold.client.trust_facts import (
    Committee,
    Enclave,
    Governance,
    KeyEpoch,
    TrustFacts,
    Validator,
    VendorFact,
)
from keephold.client.trust_words import duration
from keephold.follower.contracts import verify_contract, verify_deployment
from keephold.follower.law import Law
from keephold.protocol.codec import decode
from keephold.protocol.custody import RoundState
from keephold.protocol.evidence import SimulatedVendor
from keephold.protocol.state import (
    CommitteeRecord,
    ContractRecord,
    Registration,
    committee_path,
    governance_path,
    registration_path,
    round_path,
)

_DOUBTS: Final = (LedgerRefused, AttestationRefused, ChainRefused, CryptoError, EncodingError)


async def trust_of(connection: Connection, contract: ContractId) -> TrustReport:
    """Return whom one has to trust with a contract, as of the newest header.

    Raises:
        LedgerRefused: reason `unknown_contract`.
        ChainRefused, CryptoError, EncodingError: what the node sent does not hold.
        UnavailableError
    """
    follower = connection.follower
    # (1) The contract.
    deployment = await verify_deployment(follower, contract)
    record = deployment.record
    # (2) Committee and law.
    proven = await follower.prove([committee_path(), governance_path()], deployment.height)
    raw = proven[committee_path()]
    committee = CommitteeRecord() if raw is None else decode(raw, CommitteeRecord)
    history = await follower.law_of(proven[governance_path()])
    law = history.at(proven.time_ns)
    # (3) The enclaves.
    at = proven.height
    workers = await _enclaves(connection, record.workers, "worker", at)
    epochs = await key_epochs(follower, deployment)
    departed = await _enclaves(connection, _departed(record, epochs.epochs), "worker", at)
    guardians = await _committee(connection, committee, at)
    # (4) The published keys.
    try:
        verified = await verify_contract(
            follower, contract, registrations=connection.registrations, at_least=deployment.height
        )
        sentences = verified.argument.sentences
    except (LedgerRefused, NoLiveWorker) as error:
        sentences = (f"The contract cannot be sealed to now: {error}.",)
    # (5) What its workers may hold.
    exposures = tuple([await exposure_of(follower, PublicKey(worker)) for worker in record.workers])
    header = (
        f"Header {proven.height} ({proven.header_hash.hex()[:16]}) proves the committee "
        f"({committee.phase}, sharing epoch {guardians.sharing_epoch}) and the law's history: "
        f"{history.record.count} governance actions, every signature checked over the pinned genesis."
    )
    return trust_report(
        TrustFacts(
            network=connection.network,
            contract=contract,
            name=deployment.code.name,
            creator=PublicKey(record.creator),
            phase=record.phase,
            epoch=record.epoch,
            level=record.policy.level,
            quorum=record.policy.quorum,
            workers=workers,
            departed=departed,
            committee=guardians,
            governance=Governance(
                law.governance.keys,
                law.governance.threshold,
                law.governance.delay_ns,
                _pending(history, proven.time_ns),
            ),
            validators=tuple(Validator(item.public_key, item.power) for item in law.validators),
            vendors=tuple(VendorFact(item.name, isinstance(item, SimulatedVendor)) for item in law.attestation.vendors),
            exposures=exposures,
            epochs=epochs,
            proofs=(*sentences, header, *_registered((*workers, *departed, *guardians.members))),
            height=proven.height,
            header_hash=proven.header_hash,
            time_ns=proven.time_ns,
        )
    )


def _departed(record: ContractRecord, epochs: Iterable[KeyEpoch]) -> tuple[bytes, ...]:
    """Return who may hold keys of an open epoch and is not assigned any more."""
    holders = (item.worker for epoch in epochs if not epoch.ended for item in epoch.holders)
    return tuple(dict.fromkeys(worker for worker in holders if worker not in record.workers))


async def _committee(connection: Connection, record: CommitteeRecord, at_least: int) -> Committee:
    if not record.keys:
        return Committee(record.phase, 0, await _enclaves(connection, record.members, "gatekeeper", at_least))
    keys = record.keys[0]
    seats = {item.member: item.seat for item in keys.seats}
    members = await _enclaves(connection, tuple(seats), "gatekeeper", at_least, seats)
    successors: tuple[Enclave, ...] = ()
    needed = 0
    if record.phase == "resharing":
        path = round_path(record.round)
        raw = (await connection.follower.prove([path], at_least))[path]
        if raw is not None:
            needed = decode(raw, RoundState).threshold
            successors = await _enclaves(connection, record.successors, "gatekeeper", at_least, seats)
    return Committee(record.phase, keys.threshold, members, keys.sharing_epoch, successors, needed)


async def _enclaves(
    connection: Connection,
    identities: Iterable[bytes],
    role: Literal["worker", "gatekeeper"],
    at_least: int,
    seats: dict[bytes, int] | None = None,
) -> tuple[Enclave, ...]:
    found = []
    for raw in identities:
        identity, seat = PublicKey(raw), (seats or {}).get(raw, 0)
        try:
            found.append(await _verified(connection, identity, role, at_least, seat))
        except _DOUBTS as error:
            found.append(await _doubted(connection, identity, role, seat, str(error)))
    return tuple(found)


async def _verified(
    connection: Connection, identity: PublicKey, role: Literal["worker", "gatekeeper"], at_least: int, seat: int
) -> Enclave:
    registration = await connection.registrations.verify(identity, at_least=at_least)
    proof = registration.proof
    if proof.claim.role != role:
        raise AttestationRefused("role", f"registered as a {proof.claim.role}")
    return Enclave(
        identity=identity,
        role=role,
        operator=proof.claim.operator,
        platform=proof.platform,
        level=proof.level,
        measurement=proof.measurement,
        vendor=proof.vendor.name,
        is_simulated=proof.is_simulated,
        lease_ns=registration.record.lease_ns,
        seat=seat,
    )


async def _doubted(
    connection: Connection, identity: PublicKey, role: Literal["worker", "gatekeeper"], seat: int, doubt: str
) -> Enclave:
    path = registration_path(identity)
    raw = (await connection.follower.prove([path]))[path]
    if raw is None:
        return Enclave(identity, role, identity, b"", seat=seat, doubt=doubt)
    said = decode(raw, Registration)
    return Enclave(
        identity=identity,
        role=role,
        operator=said.operator,
        platform=said.platform,
        measurement=said.measurement,
        vendor=said.vendor,
        lease_ns=said.lease_ns,
        seat=seat,
        doubt=doubt,
    )


def _pending(history: Law, now_ns: int) -> tuple[str, ...]:
    """Return what governance ordered and is not in force yet."""
    return tuple(
        f"{type(item.proposal.action).__name__} (action {item.proposal.sequence}) in "
        f"{duration(item.effective_ns - now_ns)}."
        for item in history.standing(now_ns).waiting
    )


def _registered(enclaves: tuple[Enclave, ...]) -> tuple[str, ...]:
    """Return a sentence on each registration."""
    return tuple(
        f"{item.label[0].upper()}{item.label[1:]}: "
        + (
            f"signed by operator {item.operator.hex()[:16]}; its quote measures {item.measurement.hex()[:16]} on "
            f"platform {item.platform.hex()[:16]} and leads to vendor {item.vendor}"
            f"{', which SIMULATES hardware' if item.is_simulated else ''}: level {item.level}."
            if item.is_verified
            else f"does not verify now ({item.doubt}); what is said of it is the ledger's word."
        )
        for item in enclaves
    )
