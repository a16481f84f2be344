"""The closed list of transactions, and the one envelope around them.

A transaction's identity is the SHA-256 of its signed bytes: the leaf that CometBFT's `data_hash` commits to. sr25519
signatures are randomised, so a sender who signs twice makes two transactions; the nonce lets only one of them in.
"""

from __future__ import annotations

from typing import Final

from keephold.base.errors import LedgerRefused
from keephold.base.ids import NetworkId, PublicKey, TransactionId
from keephold.base.limits import MAX_TRANSACTION
from keephold.crypto import signing
from keephold.crypto.hashing import sha256
from keephold.crypto.labels import SIGN_TRANSACTION
from keephold.crypto.signing import SIGNATURE_SIZE
from keephold.protocol.channel import Message
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.custody import (
    DkgComplaint,
    DkgDealing,
    DkgExtraction,
    DkgKeys,
    DkgVerdict,
)
from keephold.protocol.evidence import Collateral, Evidence
from keephold.protocol.governance import SignedProposal
from keephold.protocol.lines import KeyLine
from keephold.protocol.refusals import Refusal
from keephold.protocol.types import (
    Bytes16,
    Bytes32,
    EncryptionKeyBytes,
    Positive,
    PublicKeyBytes,
    SignatureBytes,
    Text,
    Uint63,
)


# accounts
class Deploy(Record, tag="deploy", tag_field="type"):
    """Put a contract on the ledger. Its id follows from sender, nonce, code and policy."""

    code: Code
    policy: ContractPolicy


class Call(Record, tag="call", tag_field="type"):
    """A sealed call: appended to the contract's inbox, whoever can read it."""

    contract: Bytes32
    epoch: Positive
    sealed: bytes
    """HPKE envelope to the contract's encryption key; see `sealing.call`."""


class PublishAccountKey(Record, tag="account-key", tag_field="type"):
    """Publish the sender's encryption key, to which contracts wrap event keys."""

    encryption_key: EncryptionKeyBytes


class RevokePermits(Record, tag="revoke-permits", tag_field="type"):
    """Raise the sender's permit generation: every permit signed before is void."""


class RevokePermit(Record, tag="revoke-permit", tag_field="type"):
    """Void one permit of the sender's, by its hash; whether there is such a permit nobody else knows."""

    permit: Bytes32


class Rotate(Record, tag="rotate", tag_field="type"):
    """The contract's creator ends its key epoch: the next one begins as soon as the state is sealed under it."""

    contract: Bytes32


# enclaves
class Register(Record, tag="register", tag_field="type"):
    """Attest (again): the sender is the identity, the evidence binds everything else here."""

    role: Text
    """`worker` or `gatekeeper`."""
    operator: PublicKeyBytes
    operator_signature: SignatureBytes
    """The operator vouches for this identity: over (network, identity, role)."""
    encryption_key: EncryptionKeyBytes
    """Random at this attestation, in this instance's memory only."""
    instance: Bytes32
    anchor_height: Positive
    anchor_hash: Bytes32
    """A block of the enclave's own verified chain: the quote is younger than it."""
    evidence: Evidence


class Echo(Record, tag="echo", tag_field="type"):
    """A nonce to be seen again under a verified header: the sender's view is as young as that block."""

    nonce: Bytes32


class Vouch(Record, tag="vouch", tag_field="type"):
    """A gatekeeper tells a restarted peer its own head, for the peer's nonce."""

    target: PublicKeyBytes
    nonce: Bytes32
    height: Positive
    header_hash: Bytes32


class KeyRequest(Record, tag="key-request", tag_field="type"):
    """An assigned worker asks the gatekeepers for partials, sealed to its present instance."""

    instance: Bytes32
    items: tuple[KeyLine, ...]


class KeyRelease(Record, tag="key-release", tag_field="type"):
    """One gatekeeper's partials for one request; see `sealing.release`."""

    worker: PublicKeyBytes
    instance: Bytes32
    request: Bytes32
    """Transaction id of the request."""
    sealed: bytes


class PublishKey(Record, tag="publish-key", tag_field="type"):
    """A worker vouches for a contract's public keys at an epoch; active when enough workers published the same."""

    contract: Bytes32
    epoch: Positive
    instance: Bytes32
    signing_key: PublicKeyBytes
    encryption_key: EncryptionKeyBytes


class RefuseCode(Record, tag="refuse-code", tag_field="type"):
    """An assigned worker's sandbox does not load the contract's code; code is public, and so is the reason."""

    contract: Bytes32
    instance: Bytes32
    reason: Text
    line: Uint63 = 0


class SlotWrite(Record):
    """One slot's new sealed value; empty deletes it."""

    tag: Bytes32
    value: bytes


class SealedEvent(Record):
    """One event for one recipient: the tag lets the recipient find it, the seal lets nobody else read it."""

    tag: Bytes16
    sealed: bytes


class Result(Record):
    """What a batch of inbox entries did. Deterministic: every assigned worker yields identical bytes."""

    contract: Bytes32
    epoch: Positive
    first: Positive
    """Index of the first entry consumed, from 1."""
    count: Positive
    head: Bytes32
    """Inbox hash-chain head after the last entry consumed."""
    version: Uint63
    """State version before."""
    pre_root: Bytes32
    """State root before."""
    root: Bytes32
    """State root after: what the worker vouches for, so that whoever comes later need not take the ledger's word."""
    receipts: tuple[bytes, ...]
    """One sealed receipt an entry; of a message, its answer, or nothing where none is wanted."""
    writes: tuple[SlotWrite, ...] = ()
    """Sorted by tag, no duplicates."""
    events: tuple[SealedEvent, ...] = ()
    messages: tuple[Message, ...] = ()
    """To other contracts, in the order of the entries that sent them."""


class SubmitResult(Record, tag="result", tag_field="type"):
    """A worker's vote for a result, by its present instance."""

    instance: Bytes32
    result: Result


class Migration(Record):
    """One page of a contract's state, sealed anew under the next epoch. Deterministic, as a result is.

    Which slots a page takes is no part of it: it follows from map and cursor (`state.migration_page`).
    """

    contract: Bytes32
    from_epoch: Positive
    to_epoch: Positive
    after: Bytes32
    """The cursor before: tag of the last slot that was taken, or 32 zero bytes."""
    until: Bytes32
    """The cursor after."""
    version: Uint63
    """State version before."""
    pre_root: Bytes32
    """State root before."""
    root: Bytes32
    """State root after, as in `Result`."""
    writes: tuple[SlotWrite, ...] = ()
    """The page's slots under the next epoch, sorted by their new tags."""
    is_last: bool = False
    """Nothing of the old epoch is left: the next one begins."""


class SubmitMigration(Record, tag="migration", tag_field="type"):
    """A worker's vote for a page, by its present instance."""

    instance: Bytes32
    migration: Migration


# anyone
class UpdateCollateral(Record, tag="collateral", tag_field="type"):
    """Newer vendor collateral; anyone may bring it, the verifier judges it."""

    collateral: Collateral


class Govern(Record, tag="govern", tag_field="type"):
    """A governance action with its endorsements; anyone may bring it."""

    signed: SignedProposal


Body = (
    Deploy
    | Call
    | PublishAccountKey
    | RevokePermits
    | RevokePermit
    | Rotate
    | Register
    | Echo
    | Vouch
    | KeyRequest
    | KeyRelease
    | PublishKey
    | RefuseCode
    | SubmitResult
    | SubmitMigration
    | DkgKeys
    | DkgDealing
    | DkgVerdict
    | DkgComplaint
    | DkgExtraction
    | UpdateCollateral
    | Govern
)


class Transaction(Record):
    """What a sender signs."""

    network: Bytes32
    sender: PublicKeyBytes
    nonce: Uint63
    """Counts the sender's accepted transactions from 0: each is used once, in order."""
    body: Body


class SignedTransaction(Record):
    """A transaction with its sender's signature over its canonical bytes."""

    transaction: Transaction
    signature: SignatureBytes


_TRANSACTION_AT: Final = 1 + len(b"\x69signature") + 2 + SIGNATURE_SIZE + len(b"\x6btransaction")
"""Bytes of a signed transaction before the transaction: a map of two, the signature's key, the signature behind its
length, the transaction's key. Both keys are of fixed length, and the shorter one comes first."""


def transaction_id(raw: bytes) -> TransactionId:
    """Return the identity of a signed transaction's bytes."""
    return TransactionId(sha256(raw))


def sign(network: NetworkId, key: signing.SigningKey, nonce: int, body: Body) -> bytes:
    """Return the canonical bytes of the signed transaction."""
    transaction = Transaction(network, key.public, nonce, body)
    return encode(SignedTransaction(transaction, key.sign(SIGN_TRANSACTION, encode(transaction))))


def open_signed(raw: bytes, network: NetworkId) -> Transaction:
    """Return the transaction that `raw` spells, once its signature and network hold.

    Raises:
        EncodingError: not the canonical spelling.
        LedgerRefused: reason `wrong_network`.
        BadKey, BadSignature: the sender did not sign it.
    """
    signed = decode(raw, SignedTransaction, limit=MAX_TRANSACTION)
    if signed.transaction.network != network:
        raise LedgerRefused(Refusal.WRONG_NETWORK.word, "signed for another network")
    sender = PublicKey(signed.transaction.sender)
    # What was signed need not be spelled again: `decode` has shown that `raw` is the one spelling of the record, whose
    # keys are in order, so its tail is the one spelling of the transaction.
    signing.verify(sender, signed.signature, SIGN_TRANSACTION, raw[_TRANSACTION_AT:])
    return signed.transaction
