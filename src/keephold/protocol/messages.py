"""What is inside the seals: plaintext records that only a contract's enclaves and its callers ever see."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from keephold.contract.keys import MAX_MESSAGE, MAX_NAME, MAX_PATH, MAX_READERS, Scheme
from keephold.protocol.codec import Record
from keephold.protocol.custody import PartialBatch
from keephold.protocol.marks import Mark
from keephold.protocol.permits import SignedPermit
from keephold.protocol.types import Bytes32, Bytes64, Positive, PublicKeyBytes, SignatureBytes, Text, Uint63


class CallPlain(Record):
    """A call as its sender wrote it."""

    method: Text
    arguments: bytes
    """JSON array of arguments, as the ABI spells them."""
    reply_key: Bytes32
    """Random, for this call only: the receipt is sealed under it."""


class MessagePlain(Record):
    """A message to another contract, as the contract wrote it."""

    method: Text
    arguments: bytes
    """JSON of arguments."""


class Reply(Record):
    """What a receipt says once opened, and the answer to a message."""

    outcome: Literal["ok", "rejected", "failed", "refused"]
    """`refused` is a worker's own word about the permit of a question; contracts cannot say it."""
    value: bytes = b""
    """JSON of the returned value, for `ok`."""
    code: str = ""
    """The contract's rejection code, for `rejected`; what is wrong with the permit, for `refused`; for a message that
    `failed`, perhaps `busy` or `unreadable`."""
    detail: str = ""
    """Its detail, or the failure's message where the network shows it (a devnet)."""


class EventPlain(Record):
    """One event, as the contract emitted it."""

    name: Text
    data: bytes
    """JSON object of the event's fields."""
    entry: Positive
    """Inbox index of the call that emitted it."""


class QueryBody(Record):
    """What a reader, or the bearer of a permit, signs: a view, asked of one instance of one worker."""

    network: Bytes32
    contract: Bytes32
    epoch: Positive
    instance: Bytes32
    reader: PublicKeyBytes
    method: Text
    arguments: bytes
    answer_key: Bytes32
    """Random, for this query only: the answer is sealed under it."""
    min_height: Uint63
    """The answer must come from state proven at this height or later."""


class SignedQuery(Record, tag="reader", tag_field="by"):
    """A query with its reader's own signature."""

    body: QueryBody
    signature: SignatureBytes


class PermittedQuery(Record, tag="bearer", tag_field="by"):
    """A query in the name of a permit's issuer, signed by the permit's bearer."""

    body: QueryBody
    permit: SignedPermit
    signature: Bytes64
    """Ed25519, over the permit's hash and the body: under another permit it is worth nothing."""


class Asked(Record):
    """What is sealed to a contract that is asked."""

    query: SignedQuery | PermittedQuery


class Answer(Record):
    """What a worker answers, bound to the question and to the state it read."""

    request: Bytes32
    """Tagged hash of the sealed query's bytes."""
    version: Uint63
    height: Positive
    """The state is the ledger's after this block."""
    header_hash: Bytes32
    """Hash of the header above `height` that proves it."""
    epoch: Positive
    reply: Reply


class KeyName(Record):
    """Which of the keys that a contract owns; see `sealing.owned_keys`."""

    scheme: Scheme
    label: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    path: Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=MAX_NAME)], ...], Meta(max_length=MAX_PATH)] = ()


class SigningRequest(Record):
    """What a contract asked to be signed: kept in its sealed state, where its own code does not reach.

    The ledger accepts it with the result it is part of, or neither. It says nothing of a signature: that is made for
    whoever may read it, when he asks, from accepted state (`worker.releasing`).
    """

    key: KeyName
    message: Annotated[bytes, Meta(max_length=MAX_MESSAGE)]
    readers: Annotated[tuple[PublicKeyBytes, ...], Meta(min_length=1, max_length=MAX_READERS)]
    """The accounts that get the signature."""


class SlotPlain(Record):
    """A storage slot as the contract knows it."""

    key: str
    value: bytes


class SealedSlot(Record):
    """A storage slot as the ledger keeps it; see `sealing.slot`."""

    epoch: Positive
    context: Bytes32
    sealed: bytes


class ReleasePlain(Record):
    """One gatekeeper's partials for one request, with the head it released on, and where that shows the contracts.

    The worker uses the key only on a chain that contains t of these headers: a gatekeeper on another fork, or a
    worker led onto one, yields nothing. And only once the ledger's record of each contract that the worker runs
    stands as far as with t of these gatekeepers.
    """

    batch: PartialBatch
    height: Positive
    header_hash: Bytes32
    marks: tuple[Mark, ...]
    """Of each contract that the request's lines are about, in the order in which they name them first."""
