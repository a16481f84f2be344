"""All keys of one contract in one epoch, from the seed that the gatekeepers' partials combine to.

Held by enclaves of the assigned workers, in memory only, and dropped when the epoch ends: every secret in here is
overwritten when the last reference goes (`crypto.secret`). Each use has a key of its own (HKDF, one label each), so
that handing one out, as event keys are, tells nothing about the others.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.ids import ContractId, NetworkId, PublicKey, TransactionId
from keephold.crypto import labels
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hashing import number
from keephold.crypto.kdf import derive, mac
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.sealing.slot import SlotSealer


@final
class ContractKeys(Opaque):
    """The contract's secret side at one key epoch."""

    __slots__ = ("_entropy", "_events", "_unreadable", "contract", "encryption", "epoch", "network", "signing", "slots")

    def __init__(self, seed: SecretBytes, network: NetworkId, contract: ContractId, epoch: int) -> None:
        """Derive every key of `contract` at `epoch` from its 32-byte seed."""
        bound = (network, contract, number(epoch))
        root = derive(seed, labels.CONTRACT_SEED, *bound)
        pair = EntityKeys(root)
        self.network: Final = network
        self.contract: Final = contract
        self.epoch: Final = epoch
        self.signing: Final = pair.signing
        self.encryption: Final = pair.encryption
        self.slots: Final = SlotSealer(
            derive(root, labels.KEY_STATE), derive(root, labels.KEY_TAG), network, contract, epoch
        )
        self._entropy: Final = derive(root, labels.KEY_ENTROPY)
        self._events: Final = derive(root, labels.KEY_EVENT)
        self._unreadable: Final = derive(root, labels.UNREADABLE)

    def entropy(self, call: TransactionId) -> bytes:
        """Return the 32-byte seed of `ctx.random` for one call: the same on every replay, unpredictable outside.

        It depends on nothing that a worker or the ledger could draw again: not on time, batch or attempt.
        """
        return mac(self._entropy, labels.ENTROPY_CALL, call)

    def filler(self, call: TransactionId, size: int) -> bytes:
        """Return `size` bytes that look random outside: the receipt of an entry that could not be read."""
        return derive(self._unreadable, labels.UNREADABLE, call, size=size).reveal()

    def event_key(self, recipient: PublicKey) -> SecretBytes:
        """Return the key under which this contract, in this epoch, seals events to one recipient."""
        return derive(self._events, labels.KEY_EVENT, recipient)
