"""A sealed receipt: from a contract back to the caller, and to nobody else.

Under the reply key that travelled inside the call's seal, so only the caller and the contract's enclaves can make or
read one. Bound to network, contract, epoch and the call's transaction id: a receipt answers exactly one call.
Deterministic, because results are. Success, rejection and failure are padded to the same buckets, and an entry that
did not open gets filler of the smallest bucket: outside, all receipts look alike.

A ledger that breaks its rules may append a call twice. It is executed once; whatever comes after gets a note under the
reply key that says so (`repeated_receipt`), under a label of its own, for one reply key and call seal one reply. So a
caller tells the receipt of a repetition, which is no answer, from that of a call that never opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keephold.base.errors import SealBroken
from keephold.base.ids import ContractId, NetworkId, TransactionId
from keephold.crypto.aead import OVERHEAD, ContextSealer
from keephold.crypto.hashing import number
from keephold.crypto.labels import SEAL_RECEIPT, SEAL_REPEATED
from keephold.crypto.padding import pad, padded_size, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import Reply

if TYPE_CHECKING:
    from keephold.sealing.contract_keys import ContractKeys


def seal_receipt(
    keys: ContractKeys, reply_key: SecretBytes, call: TransactionId, reply: Reply, buckets: tuple[int, ...]
) -> bytes:
    """Return the receipt of one call, padded to one of the contract's buckets."""
    sealer = ContextSealer(reply_key, SEAL_RECEIPT)
    return sealer.seal(pad(encode(reply), buckets), keys.network, keys.contract, number(keys.epoch), call)


def unreadable_receipt(keys: ContractKeys, call: TransactionId, buckets: tuple[int, ...]) -> bytes:
    """Return the receipt of an entry that did not open: random-looking, of the commonest size, the same on replay."""
    return keys.filler(call, padded_size(0, buckets) + OVERHEAD)


def repeated_receipt(
    keys: ContractKeys, reply_key: SecretBytes, call: TransactionId, buckets: tuple[int, ...]
) -> bytes:
    """Return the receipt of an entry whose nonce was used before: of the size of filler."""
    sealer = ContextSealer(reply_key, SEAL_REPEATED)
    return sealer.seal(pad(b"", buckets), keys.network, keys.contract, number(keys.epoch), call)


def is_repeated(
    reply_key: SecretBytes, network: NetworkId, contract: ContractId, epoch: int, call: TransactionId, receipt: bytes
) -> bool:
    """Say whether an enclave of the contract says of this call that it was consumed before."""
    try:
        ContextSealer(reply_key, SEAL_REPEATED).open(receipt, network, contract, number(epoch), call)
    except SealBroken:
        return False
    return True


def open_receipt(
    reply_key: SecretBytes, network: NetworkId, contract: ContractId, epoch: int, call: TransactionId, receipt: bytes
) -> Reply:
    """Return what the contract replied.

    The caller owes the proof that the ledger accepted this receipt; here only the seal is opened.

    Raises:
        SealBroken: the receipt answers another call, or the entry was consumed as unreadable.
    """
    sealer = ContextSealer(reply_key, SEAL_RECEIPT)
    return decode(unpad(sealer.open(receipt, network, contract, number(epoch), call)), Reply)
