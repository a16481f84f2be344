"""What machines say to a node: requests and answers of the CBOR endpoints, and frames of the block stream.

Nothing here is trusted by its receiver: each answer carries what its reader needs to check it against a header that
the reader's own light client verified.
"""

from __future__ import annotations

from keephold.protocol.codec import Record
from keephold.protocol.governance import Enacted
from keephold.protocol.types import Bytes16, Bytes32, Positive, PublicKeyBytes, SignatureBytes, Text, Uint63


class ProvenValue(Record):
    """A value of the map, or its absence, with a proof under some app hash."""

    path: Bytes32
    proof: bytes
    """`chain.sparse.MapProof`, encoded."""
    value: bytes = b""
    """Empty means absent: no record encodes to nothing."""


class LocatedTransaction(Record):
    """A signed transaction's bytes and its index in its block."""

    index: Uint63
    raw: bytes


class TransactionResult(Record):
    """The hashed part of a transaction's result."""

    code: Uint63 = 0
    """0, or a `Refusal`."""
    data: bytes = b""
    """For a result: the root of its receipts tree (32 bytes). Empty otherwise."""


class TreeProof(Record):
    """Inclusion in an RFC 6962 tree."""

    index: Uint63
    total: Positive
    aunts: tuple[Bytes32, ...] = ()


class ProvenReceipt(Record):
    """A sealed receipt with its proof up to the `data` of the result transaction that carries it."""

    call: Bytes32
    """Transaction id of the call it answers."""
    contract: Bytes32
    entry: Positive
    """Inbox index."""
    receipt: bytes
    proof: TreeProof
    """In the receipts tree of the result."""
    result: Uint63
    """Index of the result transaction in its block: the block before the frame that carries this."""


class Interest(Record):
    """What a stream reader asks for, beside headers."""

    paths: tuple[Bytes32, ...] = ()
    """Map paths: value and proof whenever the value changed, and once at the start."""
    contracts: tuple[Bytes32, ...] = ()
    """Calls to, and results and migrations of, these contracts."""
    receipts: tuple[PublicKeyBytes, ...] = ()
    """Receipts for calls of these accounts."""
    identities: tuple[PublicKeyBytes, ...] = ()
    """Transactions sent by, or key releases and vouches addressed to, these identities."""
    custody: bool = False
    """Key generation, key requests, echoes and vouches: what gatekeepers act on."""
    sparse: bool = False
    """Only blocks that carry something asked for, and a head now and then. Otherwise every block."""


class StreamRequest(Record):
    """Blocks from `from_height` on; the stream never ends by itself. 0 means from the newest."""

    from_height: Uint63
    interest: Interest


class Frame(Record):
    """One block as its reader asked for it.

    `ids` are all transaction ids of this block, present with `transactions`: together they hash to `data_hash`, so a
    reader sees that nothing it was sent is invented. `results` are all results of the block *before*, present with
    `receipts`: they hash to this header's `last_results_hash`. `values` are proven under this header's `app_hash`,
    the state after the block before.
    """

    height: Positive
    signed_header: bytes
    """CometBFT `SignedHeader`, protobuf."""
    validators: bytes = b""
    """CometBFT `ValidatorSet` of this height; empty when the same as of the frame before."""
    next_validators: bytes = b""
    ids: tuple[Bytes32, ...] = ()
    transactions: tuple[LocatedTransaction, ...] = ()
    results: tuple[TransactionResult, ...] = ()
    values: tuple[ProvenValue, ...] = ()
    receipts: tuple[ProvenReceipt, ...] = ()


class Submission(Record):
    """Signed transactions, in order."""

    transactions: tuple[bytes, ...]


class Verdict(Record):
    """What the node said to one submitted transaction. Advice, not proof: the ledger decides."""

    code: Uint63 = 0
    """0: accepted for ordering, or already ordered; else a `Refusal`."""
    detail: str = ""
    height: Uint63 = 0
    """Where it stands already, if it was ordered before."""


class Verdicts(Record):
    """One verdict a transaction, in order."""

    verdicts: tuple[Verdict, ...]


class ProveRequest(Record):
    """Values and proofs under the app hash of the header at `height`; 0 means the newest header."""

    height: Uint63
    paths: tuple[Bytes32, ...]


class ProveAnswer(Record):
    """The header's height and the values it proves."""

    height: Positive
    values: tuple[ProvenValue, ...]


class BlocksRequest(Record):
    """Signed headers by height; 0 means the newest."""

    heights: tuple[Uint63, ...]


class LightBlock(Record):
    """What a light client needs of one block."""

    height: Positive
    signed_header: bytes
    validators: bytes
    next_validators: bytes


class LightBlocks(Record):
    """Light blocks in the order asked for."""

    blocks: tuple[LightBlock, ...]


class PrioritiesRequest(Record):
    """Proposer priorities of the validators of a height."""

    height: Positive


class Priorities(Record):
    """One number for each validator, in their order: whose turn it is to propose. Nothing commits to them."""

    priorities: tuple[int, ...]


class TransactionsRequest(Record):
    """Transactions by id."""

    ids: tuple[Bytes32, ...]


class FoundTransaction(Record):
    """A transaction where it stands. Its bytes hash to its id; `proof` leads to the `data_hash` of `height`."""

    raw: bytes
    height: Positive
    index: Uint63
    proof: TreeProof
    result: TransactionResult
    result_proof: TreeProof
    """To `last_results_hash` of `height + 1`."""


class FoundTransactions(Record):
    """What was found, in the order asked for; absent ids are left out."""

    found: tuple[FoundTransaction, ...]


class InboxRequest(Record):
    """Entries of a contract's inbox from index `first` on."""

    contract: Bytes32
    first: Positive


class InboxEntry(Record):
    """One entry, and the block that appended it."""

    height: Positive
    raw: bytes
    """The signed call; or a `channel.InboxEntry`, which no account signed."""


class InboxPage(Record):
    """Consecutive entries. Checked against the inbox head, so none can be left out unnoticed."""

    entries: tuple[InboxEntry, ...]


class SlotsRequest(Record):
    """Slots of a contract at a state root, after a tag (exclusive); 32 zero bytes start."""

    contract: Bytes32
    root: Bytes32
    after: Bytes32


class Slot(Record):
    """One slot's tag and sealed value."""

    tag: Bytes32
    value: bytes


class SlotsPage(Record):
    """Slots in tag order. All pages together must hash to the root asked for."""

    slots: tuple[Slot, ...]
    last: bool = False


class GovernanceHistory(Record):
    """All governance actions in order."""

    entries: tuple[Enacted, ...]


class QueryEnvelope(Record):
    """A sealed query on its way to one instance of a worker."""

    contract: Bytes32
    instance: Bytes32
    sealed: bytes


class AnswerEnvelope(Record):
    """A sealed answer on its way back, or the gateway's reason for having none."""

    sealed: bytes = b""
    unavailable: Text = ""
    """`no_live_worker` or `deadline_exceeded`; then `sealed` is empty."""


class Attachment(Record):
    """A worker instance offers to answer queries over an outbound stream. `ticket` is the gateway's fresh challenge."""

    identity: PublicKeyBytes
    instance: Bytes32
    ticket: Bytes32
    signature: SignatureBytes
    """By the identity, over network, instance and ticket."""


class AttachRequest(Record):
    """Step one of attaching: ask for a ticket."""

    identity: PublicKeyBytes


class AttachTicket(Record):
    """The gateway's challenge, good for one attachment within a minute."""

    ticket: Bytes32


class QueryDelivery(Record):
    """A query as the gateway hands it to an attached worker."""

    id: Bytes16
    envelope: QueryEnvelope


class AnswerDelivery(Record):
    """An attached worker's answer."""

    id: Bytes16
    envelope: AnswerEnvelope


class AnswerBatch(Record):
    """Answers, as they became ready."""

    answers: tuple[AnswerDelivery, ...]


class Fault(Record):
    """The body of every refused machine request: a stable code of `base.errors` and a sentence."""

    code: Text
    detail: str = ""
    reason: str = ""
