"""What a contract is: code, policy, identity. Checked alike by the rules, the enclaves and the client."""

from __future__ import annotations

from typing import Literal

from keephold.base.errors import LedgerRefused
from keephold.base.ids import CodeHash, ContractId, NetworkId, PublicKey
from keephold.base.limits import MAX_CODE
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import CODE, CONTRACT
from keephold.protocol.codec import Record, encode
from keephold.protocol.refusals import Refusal
from keephold.protocol.types import Level, Positive, Text


class Code(Record):
    """A contract's code as deployed; its hash is the code hash."""

    kind: Literal["python"]
    source: bytes
    """UTF-8 source of one module."""
    name: Text
    """The contract class in that module."""
    abi: bytes
    """Canonical JSON of the ABI that the class yields. A worker whose sandbox derives another refuses the code."""


class ContractPolicy(Record):
    """What the creator demands of those who run the contract. Part of the contract's identity: it never changes."""

    level: Level = 2
    """The worst confidence level accepted."""
    workers: Positive = 1
    """How many workers are assigned, when so many are live."""
    quorum: Positive = 1
    """How many distinct workers must submit identical results."""


def code_hash(code: Code) -> CodeHash:
    """Return the code's identity."""
    return CodeHash(tagged_hash(CODE, encode(code)))


def contract_id(
    network: NetworkId, creator: PublicKey, nonce: int, code: CodeHash, policy: ContractPolicy
) -> ContractId:
    """Return `H(network, creator, nonce, code, policy)`: nobody can change the code or policy behind a contract."""
    return ContractId(tagged_hash(CONTRACT, network, creator, number(nonce), code, encode(policy)))


def check_deployable(code: Code, policy: ContractPolicy) -> None:
    """Refuse code or policy that could never run.

    Raises:
        LedgerRefused: reason `too_large` or `policy_invalid`.
    """
    if len(code.source) > MAX_CODE or len(code.abi) > MAX_CODE:
        raise LedgerRefused(Refusal.TOO_LARGE.word, f"source and ABI are limited to {MAX_CODE} bytes each")
    if policy.quorum > policy.workers:
        raise LedgerRefused(Refusal.POLICY_INVALID.word, "quorum exceeds workers")
    # Two disjoint quorums could each confirm another result.
    if policy.quorum > 1 and 2 * policy.quorum <= policy.workers:
        raise LedgerRefused(Refusal.POLICY_INVALID.word, "a quorum must be more than half of the workers")
