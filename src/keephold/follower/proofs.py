"""What one verified header proves of what a node sends with it. Pure: each check names the root that it holds against.

A header commits to its block's transactions (`data_hash`), to what the transactions of the block before came to
(`last_results_hash`) and to the state after that block (`app_hash`). A receipt hangs one tree lower: under the data of
the result transaction that brought it.
"""

from __future__ import annotations

from typing import NamedTuple

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.base.ids import TransactionId
from keephold.chain import merkle
from keephold.chain.header import Header
from keephold.chain.sparse import MapProof, verify_map
from keephold.crypto.hashing import sha256
from keephold.protocol.state import receipt_leaf
from keephold.protocol.wire import Frame, ProvenReceipt, ProvenValue, TransactionResult, TreeProof


class OrderedTransaction(NamedTuple):
    """A transaction that a verified block contains. Ordered, not judged: its signature is the reader's to check."""

    id: TransactionId
    position: int
    """Index in the block, from 0."""
    raw: bytes


def check_transactions(frame: Frame, header: Header) -> tuple[OrderedTransaction, ...]:
    """Return the transactions that a frame brings, each at its place in the header's block; none, if it names no ids.

    Raises:
        ProofInvalid: the ids are not the block's, or bytes are not those of the id at their place.
    """
    if not frame.ids and not frame.transactions:
        return ()
    if merkle.root(frame.ids) != header.data_hash:
        raise ProofInvalid("the transaction ids do not hash to data_hash")
    found = []
    previous = -1
    for located in frame.transactions:
        if not previous < located.index < len(frame.ids):
            raise ProofInvalid("transactions out of order, twice, or outside the block")
        if sha256(located.raw) != frame.ids[located.index]:
            raise ProofInvalid(f"transaction {located.index} is not the one ordered")
        found.append(OrderedTransaction(TransactionId(frame.ids[located.index]), located.index, located.raw))
        previous = located.index
    return tuple(found)


def result_leaf(result: TransactionResult) -> bytes:
    """Return a result's leaf in the tree under `last_results_hash`."""
    return merkle.result_leaf(result.code, result.data)


def check_results(results: tuple[TransactionResult, ...], header: Header) -> None:
    """Check that these are the results of the block before the header's: all of them, in order.

    Raises:
        ProofInvalid
    """
    if merkle.root([result_leaf(result) for result in results]) != header.last_results_hash:
        raise ProofInvalid("the results do not hash to last_results_hash")


def check_receipt(receipt: ProvenReceipt, results: tuple[TransactionResult, ...]) -> None:
    """Check that an accepted transaction among these results brought the receipt.

    The caller owes `check_results`.

    Raises:
        ProofInvalid
    """
    if receipt.result >= len(results) or results[receipt.result].code:
        raise ProofInvalid("a receipt of no accepted transaction")
    leaf = receipt_leaf(receipt.contract, receipt.entry, receipt.call, receipt.receipt)
    check_leaf(receipt.proof, results[receipt.result].data, leaf)


def check_leaf(proof: TreeProof, root: bytes, leaf: bytes) -> None:
    """Check that a leaf lies in the tree of this root, at the index that the proof names.

    Raises:
        ProofInvalid
    """
    try:
        siblings = merkle.Proof(proof.aunts)
    except EncodingError as error:
        raise ProofInvalid(str(error)) from error
    merkle.verify(siblings, root, leaf, proof.index, proof.total)


def check_values(values: tuple[ProvenValue, ...], header: Header) -> dict[bytes, bytes | None]:
    """Return values by path, None for proven absence, in the state after the block before the header's.

    Raises:
        ProofInvalid: a proof does not hold, or a path is there twice.
    """
    proven: dict[bytes, bytes | None] = {}
    for item in values:
        if item.path in proven:
            raise ProofInvalid("a path twice")
        try:
            proof = MapProof.decode(item.proof)
        except EncodingError as error:
            raise ProofInvalid(str(error)) from error
        value = item.value or None
        verify_map(header.app_hash, item.path, proof, value)
        proven[item.path] = value
    return proven
