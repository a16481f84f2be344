"""A network on one desk: a vendor, operators, enclaves, and a ledger to send to, block by block, without an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keephold.attestation.policy import report_data
from keephold.base.clock import Clock
from keephold.base.ids import ContractId, PublicKey
from keephold.chain.chain_id import chain_id
from keephold.chain.sparse import SparseMap
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.entity import EntityKeys
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.custody.secret.dealer import Participant
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Block, TransactionOutcome
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.reader import LedgerReader
from keephold.protocol.codec import Record
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.custody import RoundState
from keephold.protocol.evidence import Claim, Evidence
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    Action,
    CommitteeRules,
    Constitution,
    GovernanceRecord,
    GovernanceRules,
    Proposal,
    SignedProposal,
    Timing,
    ValidatorEntry,
    sign_proposal,
)
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    AccountRecord,
    Batch,
    CommitteeRecord,
    ContractRecord,
    Registration,
    account_path,
    batch_path,
    committee_path,
    contract_path,
    governance_path,
    inbox_head,
    registration_path,
    round_path,
)
from keephold.protocol.transactions import (
    Call,
    Deploy,
    Govern,
    PublishKey,
    Register,
    Result,
    SubmitResult,
    UpdateCollateral,
    sign,
    transaction_id,
)
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild

SECOND = 1_000_000_000
START_NS = 1_800_000_000 * SECOND
WORKER = SgxBuild.named("worker")
GATEKEEPER = SgxBuild.named("gatekeeper")


def seed(name: str) -> SecretBytes:
    return SecretBytes(hashlib.sha256(name.encode()).digest())


def key(name: str) -> SigningKey:
    return SigningKey(seed(name))


@dataclass
class Enclave:
    """An enclave as the ledger meets it: keys, operator, machine, instance."""

    name: str
    role: str = "worker"
    operator: str = ""
    machine: str = ""
    status: Any = "UpToDate"
    boot: int = 0
    keys: EntityKeys = field(init=False)

    def __post_init__(self) -> None:
        self.keys = EntityKeys(seed(self.name))
        self.operator = self.operator or f"operator of {self.name}"
        self.machine = self.machine or f"machine of {self.name}"

    @property
    def identity(self) -> PublicKey:
        return self.keys.signing.public

    @property
    def instance(self) -> bytes:
        return hashlib.sha256(f"{self.name} {self.boot}".encode()).digest()


class Desk:
    """A ledger with a hand crank."""

    def __init__(self, directory: Path, *, seats: int = 1, threshold: int = 1, **law: Any) -> None:
        self.directory = directory
        self.vendor = DevelopmentVendor(seed("vendor"))
        self.governors = sorted((key(f"governor {n}") for n in range(3)), key=lambda item: item.public)
        self.validator = seed("validator")
        self.genesis = Genesis(
            name="desk",
            time_ns=START_NS,
            guest=bytes(32),
            law=Constitution(
                governance=GovernanceRules(tuple(k.public for k in self.governors), 2, law.pop("delay_ns", 0)),
                attestation=self.vendor.policy((WORKER, "worker"), (GATEKEEPER, "gatekeeper")),
                committee=CommitteeRules(seats, threshold, 60 * SECOND),
                timing=Timing(3600 * SECOND, 30 * SECOND, 86_400 * SECOND),
                validators=law.pop("validators", (ValidatorEntry(hashlib.sha256(b"v").digest(), 10),)),
            ),
            simulated=True,
        )
        self.network = network_id(self.genesis)
        self.application = LedgerApplication(self.genesis, directory)
        self.time_ns = max(START_NS, self.application.map.newest.time_ns)
        self.history: list[tuple[int, tuple[bytes, ...]]] = []

    # --- blocks ---

    def block(self, *raws: bytes, after_s: float = 1) -> tuple[TransactionOutcome, ...]:
        height = self.application.info().height + 1
        self.time_ns += int(after_s * SECOND)
        self.history.append((self.time_ns, raws))
        finalized = self.application.finalize(Block(height, self.time_ns, self.hash_at(height), raws))
        self.application.commit()
        self.application.recheck(())
        return finalized.outcomes

    def hash_at(self, height: int) -> bytes:
        return hashlib.sha256(b"block %d" % height).digest()

    @property
    def height(self) -> int:
        return self.application.info().height

    @property
    def root(self) -> bytes:
        return self.application.info().app_hash

    # --- transactions ---

    def nonce(self, sender: SigningKey) -> int:
        return (self.record(account_path(sender.public), AccountRecord) or AccountRecord()).nonce

    def signed(self, sender: SigningKey, *bodies: Any) -> list[bytes]:
        first = self.nonce(sender)
        return [sign(self.network, sender, first + at, body) for at, body in enumerate(bodies)]

    def send(self, sender: SigningKey | Enclave, *bodies: Any) -> bytes:
        """Send in one block; every one must be applied. Return the first transaction's id."""
        raws = self.signed(_signer(sender), *bodies)
        outcomes = [(item.code, item.detail) for item in self.block(*raws)]
        assert outcomes == [(0, "")] * len(raws), outcomes
        return transaction_id(raws[0])

    def refused(self, sender: SigningKey | Enclave, body: Any) -> Refusal:
        """Send one; it must be refused and change nothing."""
        before, nonce = self.root, self.nonce(_signer(sender))
        (outcome,) = self.block(*self.signed(_signer(sender), body), after_s=0.000001)
        assert outcome.code, "applied where a refusal was expected"
        assert outcome.data == b""
        assert (self.root, self.nonce(_signer(sender))) == (before, nonce)
        return Refusal(outcome.code)

    # --- enclaves ---

    def collateral(self, **options: Any) -> UpdateCollateral:
        return UpdateCollateral(self.vendor.collateral(now_ns=self.time_ns, **options))

    def registration(self, enclave: Enclave, **changes: Any) -> Register:
        """The Register transaction that the enclave would send; `changes` alter what the quote does not bind."""
        height = changes.pop("anchor", self.height)
        build = changes.pop("build", WORKER if enclave.role == "worker" else GATEKEEPER)
        operator = key(enclave.operator)
        claim = Claim(
            network=self.network,
            role=enclave.role,  # type: ignore[arg-type]
            signing_key=enclave.identity,
            encryption_key=enclave.keys.encryption.public,
            operator=operator.public,
            instance=enclave.instance,
            anchor_height=height,
            anchor_hash=self.hash_at(height),
        )
        quote = self.vendor.quote(build, report_data(claim), Machine.named(enclave.machine, enclave.status))
        fields = {
            "role": enclave.role,
            "operator": operator.public,
            "operator_signature": operator.sign(SIGN_OPERATOR, self.network, enclave.identity, enclave.role.encode()),
            "encryption_key": enclave.keys.encryption.public,
            "instance": enclave.instance,
            "anchor_height": height,
            "anchor_hash": self.hash_at(height),
            "evidence": Evidence(self.vendor.name, quote),
        }
        return Register(**{**fields, **changes})

    def enrol(self, *names: str | Enclave) -> list[Enclave]:
        """Register enclaves; collateral first, if there is none."""
        if not self.application.map.newest.attachments:
            self.block()
            self.send(key("anyone"), self.collateral())
        enclaves = [Enclave(name) if isinstance(name, str) else name for name in names]
        for enclave in enclaves:
            self.send(enclave, self.registration(enclave))
        return enclaves

    def committee(self, *names: str) -> list[Enclave]:
        """Register gatekeepers and run their key generation to its end."""
        gatekeepers = self.enrol(*(Enclave(name, "gatekeeper") for name in names))
        self.block()
        record = self.record(committee_path(), CommitteeRecord)
        assert record is not None
        opened = self.record(round_path(record.round), RoundState)
        assert opened is not None
        by_identity = {item.identity: item for item in gatekeepers}
        participants = {
            member: Participant.begin(member=PublicKey(member), opened=opened, entropy=_entropy(member))[0]
            for member in record.members
        }
        queue = [
            (member, message)
            for member, participant in participants.items()
            for message in participant.advance(time_ns=self.time_ns)
        ]
        while queue:
            member, message = queue.pop(0)
            self.send(by_identity[PublicKey(member)], message)
            for other, participant in participants.items():
                newly = participant.observe(PublicKey(member), message, time_ns=self.time_ns)
                queue += [(other, due) for due in newly]
        return gatekeepers

    # --- contracts ---

    def deploy(self, creator: SigningKey, policy: ContractPolicy = ContractPolicy(), source: str = "") -> ContractId:  # noqa: B008
        code = Code("python", source.encode(), "Token", b"{}")
        contract = contract_id(self.network, creator.public, self.nonce(creator), code_hash(code), policy)
        self.send(creator, Deploy(code, policy))
        return contract

    def publication(self, worker: Enclave, contract: ContractId, name: str = "honest") -> PublishKey:
        keys = EntityKeys(seed(f"{name} {contract.hex()}"))
        epoch = self.contract(contract).epoch
        return PublishKey(contract, epoch, worker.instance, keys.signing.public, keys.encryption.public)

    def activate(self, contract: ContractId, *workers: Enclave) -> None:
        for worker in workers:
            self.send(worker, self.publication(worker, contract))
        assert self.contract(contract).phase == "active"

    def call(self, contract: ContractId, sealed: bytes = b"sealed") -> Call:
        return Call(contract, self.contract(contract).epoch, sealed)

    def result(self, worker: Enclave, contract: ContractId, count: int = 1, **changes: Any) -> SubmitResult:
        record = self.contract(contract)
        first = record.done + 1
        batch = self.record(batch_path(contract, first), Batch)
        head = record.inbox_head
        if batch is not None:
            head = batch.before
            for index, entry in enumerate(batch.entries[:count], first):
                head = inbox_head(head, index, entry, batch.height)  # type: ignore[arg-type]
        fields: dict[str, Any] = {
            "contract": contract,
            "epoch": record.epoch,
            "first": first,
            "count": count,
            "head": head,
            "version": record.version,
            "pre_root": record.state_root,
            "receipts": tuple(b"receipt %d" % n for n in range(count)),
        }
        instance = changes.pop("instance", worker.instance)
        slots = self.application.map.newest.slots.get(contract, SparseMap.empty())
        writes = changes.get("writes", ())
        fields["root"] = slots.update((write.tag, write.value or None) for write in writes).root
        return SubmitResult(instance, Result(**{**fields, **changes}))

    # --- reading ---

    def record(self, path: bytes, kind: type[Record]) -> Any:
        return self.application.map.newest.record(path, kind)

    def contract(self, contract: ContractId) -> ContractRecord:
        record = self.record(contract_path(contract), ContractRecord)
        assert isinstance(record, ContractRecord)
        return record

    def registered(self, enclave: Enclave) -> Registration:
        record = self.record(registration_path(enclave.identity), Registration)
        assert isinstance(record, Registration)
        return record

    # --- governance ---

    def govern(self, action: Action, *, signers: Sequence[int] = (0, 1), sequence: int = 0) -> Govern:
        record = self.record(governance_path(), GovernanceRecord) or GovernanceRecord()
        proposal = Proposal(self.network, sequence or record.count + 1, action)
        return Govern(SignedProposal(proposal, tuple(sign_proposal(proposal, self.governors[n]) for n in signers)))

    def reopen(self) -> None:
        """Close the ledger and start it again from its file."""
        self.application.close()
        self.application = LedgerApplication(self.genesis, self.directory)


class Node(Desk):
    """A desk whose blocks an embedded engine makes, one at each turn of the crank, and whose reader anyone may ask."""

    def __init__(self, directory: Path, *, clock: Clock | None = None, **law: Any) -> None:
        self.validator_key = ValidatorKey(seed("validator"))
        self.clock = clock or DeskClock(self)
        super().__init__(directory, validators=(ValidatorEntry(self.validator_key.public, 10),), **law)
        self.engine = self._engine()
        self.reader = LedgerReader(self.application, self.engine)

    def _engine(self) -> EmbeddedEngine:
        return EmbeddedEngine(
            self.application,
            self.directory,
            self.validator_key,
            chain_id=chain_id(self.network),
            genesis_ns=START_NS,
            validators=self.application.validators(),
            clock=self.clock,
        )

    def block(self, *raws: bytes, after_s: float = 1) -> tuple[TransactionOutcome, ...]:
        self.time_ns += int(after_s * SECOND)
        assert all(item.code == 0 for item in self.engine.submit(raws)), self.engine.submit(raws)
        recent = self.application.recent(self.engine.step())
        assert recent is not None
        return recent.outcomes

    def hash_at(self, height: int) -> bytes:
        block = self.engine.block(height)
        return bytes(32) if block is None else block.signed.header.hash()

    def reopen(self) -> None:
        self.engine.stop()
        super().reopen()
        self.engine = self._engine()
        self.reader = LedgerReader(self.application, self.engine)


@dataclass
class DeskClock:
    desk: Desk

    def now_ns(self) -> int:
        return self.desk.time_ns

    def monotonic(self) -> float:
        return self.desk.time_ns / SECOND


def _signer(sender: SigningKey | Enclave) -> SigningKey:
    return sender.keys.signing if isinstance(sender, Enclave) else sender


def _entropy(member: bytes) -> Callable[[int], bytes]:
    counter = iter(range(1_000_000))
    return lambda size: hashlib.shake_256(member + b"%d" % next(counter)).digest(size)
