"""A contract and its public keys, verified by whoever is about to seal something to them. From a pinned genesis only.

The argument, kept as sentences for people (`Argument`):

1. The contract's record is proven by a header of the verified chain.
2. The contract id is the hash of network, creator, nonce, code and policy: so the record's are the ones meant.
3. The deployment's bytes hash to the id on record, its creator signed it, and it holds that code under that policy.
4. The contract is active, and its keys are the ones that assigned workers published, each in a transaction it signed.
5. A publisher, still assigned, whose registration verifies now (`trust`), at the level the policy asks for,
   vouches for the keys.

**What a publication is still worth later.** A worker attests anew several times in an hour, and after each restart:
its live instance is seldom the one that published. The publication stands all the same. It is signed by the identity
key, which allowed code generated inside the enclave, hands to nobody, and seals to the same code on the same machine;
evidence that holds now shows that this identity is such an enclave. So step 5 asks for the *identity's* registration,
and the argument says whether instance and boot are still the same. A contract's keys are a function of MasterKey,
contract and epoch, so a restart cannot have changed them either.

A publisher without a verifiable registration (lapsed, revoked, delisted) counts for nothing, and is named. Without any
that counts the contract is not usable now: `NoLiveWorker`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    EncodingError,
    LedgerRefused,
    NoLiveWorker,
    ProofInvalid,
)
from keephold.base.ids import CodeHash, ContractId, NetworkId, PublicKey
from keephold.base.minting import NoPublicConstructor
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations, VerifiedRegistration
from keephold.protocol.codec import decode
from keephold.protocol.contracts import Code, code_hash, contract_id
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, Publication, Registration, contract_path, registration_path
from keephold.protocol.transactions import Deploy, PublishKey, open_signed

_ACTIVE: Final = "active"


@final
@dataclass(frozen=True, slots=True)
class Argument:
    """Why something is believed, one sentence a step, in order."""

    sentences: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(f"{number}. {sentence}" for number, sentence in enumerate(self.sentences, start=1))


@final
@dataclass(frozen=True, slots=True)
class Voucher(metaclass=NoPublicConstructor):
    """A worker that published the contract's keys and whose registration verifies; made by `verify_contract` only."""

    registration: VerifiedRegistration
    is_same_instance: bool
    """Whether the live instance is the one that published."""


@final
@dataclass(frozen=True, slots=True)
class VerifiedContract(metaclass=NoPublicConstructor):
    """A contract that can be called: made by `verify_contract` only."""

    id: ContractId
    record: ContractRecord
    code: Code
    height: int
    """Of the header that proves the record."""
    signing_key: PublicKey
    encryption_key: bytes
    """Seal calls and queries of `epoch` to it."""
    vouchers: tuple[Voucher, ...]
    """At least one."""
    is_simulated: bool
    """Whether any voucher's evidence rests on a development vendor."""
    argument: Argument

    @property
    def epoch(self) -> int:
        """The key epoch."""
        return self.record.epoch


@final
@dataclass(frozen=True, slots=True)
class VerifiedDeployment(metaclass=NoPublicConstructor):
    """A contract's record and code (steps 1 to 3), whatever its phase; made by `verify_deployment` only."""

    id: ContractId
    record: ContractRecord
    code: Code
    height: int


def check_identity(contract: ContractId, record: ContractRecord, network: NetworkId) -> None:
    """Check that code and policy on record are those behind the contract's id (step 2).

    Raises:
        ProofInvalid
    """
    expected = contract_id(network, PublicKey(record.creator), record.nonce, CodeHash(record.code), record.policy)
    if expected != contract:
        raise ProofInvalid("code, policy, creator or nonce on record are not those behind the contract's id")


async def verify_deployment(follower: Follower, contract: ContractId, *, at_least: int = 0) -> VerifiedDeployment:
    """Return a contract's record and code as of a header of height `at_least` or newer.

    Raises:
        LedgerRefused: reason `unknown_contract`.
        ChainRefused, CryptoError, EncodingError: what the node sent does not hold.
        UnavailableError: nobody answered properly.
    """
    network = follower.view.network
    # (1) The record.
    path = contract_path(contract)
    proven = await follower.prove([path], at_least)
    raw = proven[path]
    if raw is None:
        raise LedgerRefused(Refusal.UNKNOWN_CONTRACT.word, contract.hex())
    record = decode(raw, ContractRecord)
    # (2) The id.
    check_identity(contract, record, network)
    # (3) The code.
    deployed = (await follower.transactions([record.deployment])).get(record.deployment)
    if deployed is None:
        raise ProofInvalid("the node does not have the deployment")
    transaction = open_signed(deployed, network)
    body = transaction.body
    if not isinstance(body, Deploy) or (transaction.sender, transaction.nonce) != (record.creator, record.nonce):
        raise ProofInvalid("not the creator's deployment")
    if code_hash(body.code) != record.code or body.policy != record.policy:
        raise ProofInvalid("the deployment holds other code or another policy")
    return VerifiedDeployment._mint(  # noqa: SLF001 - the one place that makes it
        id=contract, record=record, code=body.code, height=proven.height
    )


async def verify_contract(
    follower: Follower, contract: ContractId, *, registrations: Registrations | None = None, at_least: int = 0
) -> VerifiedContract:
    """Return a contract that can be called, with the argument why, as of a header of height `at_least` or newer.

    Raises:
        NoLiveWorker: nobody with evidence that holds now vouches for its keys; retrying may help.
        LedgerRefused: reason `unknown_contract`; `rotating` while its key epoch changes, which passes;
            `contract_not_active` in another phase than active.
        ChainRefused, CryptoError, EncodingError: what the node sent does not hold.
        UnavailableError: nobody answered properly.
    """
    trusted = registrations or Registrations(follower)
    # Steps 1 to 3.
    deployment = await verify_deployment(follower, contract, at_least=at_least)
    record = deployment.record
    # (4) Active, with the keys that workers published.
    if record.phase == "rotating":
        raise LedgerRefused(Refusal.ROTATING.word, f"epoch {record.epoch} ends")
    if record.phase != _ACTIVE:
        raise LedgerRefused(Refusal.CONTRACT_NOT_ACTIVE.word, record.refusal or f"phase {record.phase}")
    raws = await follower.transactions([publication.transaction for publication in record.publications])
    published = [_published(contract, record, item, raws, follower.view.network) for item in record.publications]
    # (5) Who of them holds evidence now.
    vouchers: list[Voucher] = []
    doubts: list[str] = []
    for publication, body in zip(record.publications, published, strict=True):
        try:
            vouchers.append(await _voucher(trusted, record, publication, body, deployment.height))
        except (LedgerRefused, AttestationRefused, ChainRefused, CryptoError, EncodingError) as error:
            doubts.append(
                f"Worker {publication.worker.hex()[:16]} published the same keys but counts for nothing: {error}."
            )
    if not vouchers:
        raise NoLiveWorker("; ".join(doubts) or "nobody published this contract's keys")
    return VerifiedContract._mint(  # noqa: SLF001 - the one place that makes it
        id=contract,
        record=record,
        code=deployment.code,
        height=deployment.height,
        signing_key=PublicKey(record.signing_key),
        encryption_key=record.encryption_key,
        vouchers=tuple(vouchers),
        is_simulated=any(voucher.registration.proof.is_simulated for voucher in vouchers),
        argument=_argument(follower, deployment, vouchers, doubts),
    )


def _published(
    contract: ContractId, record: ContractRecord, publication: Publication, raws: dict[bytes, bytes], network: NetworkId
) -> PublishKey:
    raw = raws.get(publication.transaction)
    if raw is None:
        raise ProofInvalid("the node does not have a publication")
    transaction = open_signed(raw, network)
    body = transaction.body
    if not isinstance(body, PublishKey) or transaction.sender != publication.worker:
        raise ProofInvalid("not that worker's publication")
    if (body.contract, body.epoch) != (contract, record.epoch):
        raise ProofInvalid("a publication for another contract or epoch")
    if (body.signing_key, body.encryption_key) != (record.signing_key, record.encryption_key):
        raise ProofInvalid("the keys on record are not the published ones")
    return body


async def _voucher(
    trusted: Registrations, record: ContractRecord, publication: Publication, body: PublishKey, height: int
) -> Voucher:
    registration = await trusted.verify(PublicKey(publication.worker), at_least=height)
    if publication.worker not in record.workers:
        raise LedgerRefused(Refusal.NOT_ASSIGNED.word, "not assigned any more")
    if registration.record.role != "worker":
        raise LedgerRefused(Refusal.WRONG_ROLE.word, registration.record.role)
    if registration.level > record.policy.level:
        raise AttestationRefused("level", f"{registration.level} where the contract asks for {record.policy.level}")
    return Voucher._mint(  # noqa: SLF001 - the one place that makes it
        registration=registration, is_same_instance=registration.instance == body.instance
    )


async def require_live_worker(follower: Follower, contract: ContractId) -> None:
    """Refuse a contract of which the ledger proves that nobody runs it: no assigned worker has a live lease.

    What else keeps a contract from answering, a worker that is stuck for example, nobody can prove.

    Raises:
        NoLiveWorker: with the height that proves it.
        ChainRefused, NodeUnreachable
    """
    path = contract_path(contract)
    proven = await follower.prove([path])
    raw = proven[path]
    if raw is None:
        return
    workers = decode(raw, ContractRecord).workers
    paths = [registration_path(PublicKey(worker)) for worker in workers]
    if paths:
        proven = await follower.prove(paths, proven.height)
    for found in (proven[path] for path in paths):
        if found is None:
            continue
        registration = decode(found, Registration)
        if registration.status == "live" and registration.lease_ns > proven.time_ns:
            return
    raise NoLiveWorker(f"none of {len(workers)} assigned workers has a live lease as of block {proven.height}")


def _argument(
    follower: Follower, deployment: VerifiedDeployment, vouchers: list[Voucher], doubts: list[str]
) -> Argument:
    record = deployment.record
    header = follower.view.header(deployment.height)
    network = follower.view.network.hex()
    proven_by = f"Header {deployment.height}"
    if header is not None:
        proven_by += f" ({header.hash().hex()[:16]})"
    sentences = [
        f"Network {network[:16]} is the hash of the pinned genesis.",
        f"{proven_by} follows from it, signed by validators that governance named, and proves the contract's record.",
        (
            f"Contract {deployment.id.hex()} is the hash of creator {record.creator.hex()[:16]}, nonce {record.nonce}, "
            f"code {record.code.hex()[:16]} and policy (level {record.policy.level}, {record.policy.workers} workers, "
            f"quorum {record.policy.quorum})."
        ),
        (
            f"Its deployment, signed by the creator, holds that code: class {deployment.code.name}, "
            f"{len(deployment.code.source)} bytes."
        ),
        (
            f"Its keys of epoch {record.epoch} were published by {len(record.publications)} worker(s), each under its "
            f"own signature, all the same."
        ),
    ]
    for voucher in vouchers:
        proof = voucher.registration.proof
        since = "the same instance" if voucher.is_same_instance else "attested anew since, under the same identity key"
        sentences.append(
            f"Worker {voucher.registration.identity.hex()[:16]} is live ({since}): its quote leads to the root of "
            f"vendor {proof.vendor.name}{', which SIMULATES hardware' if proof.is_simulated else ''}, measures code "
            f"{proof.measurement.hex()[:16]} that governance allows as a worker, at level {proof.level}."
        )
    return Argument((*sentences, *doubts))
