"""A sealed call: from an account to a contract.

HPKE to the contract's encryption key of an epoch. Bound in: network, contract, epoch, sender, the sender's nonce, and
the direction (the label). So nobody can resubmit the ciphertext as his own (another sender), replay it (another
nonce), or point it elsewhere (another contract, epoch or network): it does not open there. HPKE names no sender; the
sender's sr25519 signature over the transaction that carries the ciphertext does, and the worker verifies that itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from keephold.base.errors import EncodingError, InputError
from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.base.limits import MAX_CALL_PLAINTEXT
from keephold.crypto import hpke
from keephold.crypto.hashing import number
from keephold.crypto.labels import SEAL_CALL
from keephold.crypto.padding import pad, unpad
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import CallPlain

if TYPE_CHECKING:
    from keephold.sealing.contract_keys import ContractKeys


class CallContext(NamedTuple):
    """Everything a call's ciphertext is bound to."""

    network: NetworkId
    contract: ContractId
    epoch: int
    sender: PublicKey
    nonce: int

    def parts(self) -> tuple[bytes, ...]:
        """Return the fields as hashable parts."""
        return self.network, self.contract, number(self.epoch), self.sender, number(self.nonce)


def seal_call(encryption_key: bytes, context: CallContext, plain: CallPlain, buckets: tuple[int, ...]) -> bytes:
    """Return the envelope of a call, padded to one of the contract's buckets.

    `encryption_key` must come from a verified contract record: a key that a node made up opens for the node.

    Raises:
        InputError: method and arguments exceed `MAX_CALL_PLAINTEXT`.
        BadKey: not a public key.
    """
    encoded = encode(plain)
    if len(encoded) > MAX_CALL_PLAINTEXT:
        raise InputError(f"method and arguments take {len(encoded)} bytes; {MAX_CALL_PLAINTEXT} are allowed")
    return hpke.seal(encryption_key, pad(encoded, buckets), SEAL_CALL, *context.parts())


def open_call(keys: ContractKeys, context: CallContext, sealed: bytes) -> CallPlain:
    """Return the call, or raise: the caller consumes an entry that does not open as unreadable.

    Raises:
        SealBroken: sealed to another key or context, or altered.
        EncodingError: opened, but not a call.
    """
    plain = unpad(keys.encryption.open(sealed, SEAL_CALL, *context.parts()))
    if len(plain) > MAX_CALL_PLAINTEXT:
        raise EncodingError("call larger than allowed")
    return decode(plain, CallPlain)
