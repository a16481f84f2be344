"""State at rest: one slot of a contract's storage, as the ledger keeps it.

* The storage key appears as a tag only: a PRF under a key of its own.
* The value is sealed together with its key, padded to the contract's buckets.
* Deterministic: workers of a quorum produce identical bytes. The nonce is a PRF of the slot's *context*: tag, state
  version, state root before, inbox head after the batch, hash of the block that ordered it. A context recurs only if
  all of these recur, that is, when the same batch is executed again on the same state, which yields the same value.
  On a fork of the ledger the ordering block differs, so equal values do not show as equal ciphertexts across forks.
* A slot that is sealed anew for the next key epoch has a context under a label of its own, so it meets no result's.
  Among migrations, equal tag and context mean equal state root before and equal cursor; the root commits to the slots
  of the old epoch, of which at most one has this storage key. So the plaintext is the same, and so is the ciphertext:
  a nonce never comes with two plaintexts, not even on forks.
* The context's hash is stored beside the ciphertext, because whoever opens it later did not see that batch. It is
  authenticated: the nonce and the associated data come from it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, final

from keephold.base.errors import SealBroken
from keephold.base.ids import ContractId, HeaderHash, NetworkId, SlotTag, StateRoot
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.kdf import mac
from keephold.crypto.labels import KEY_TAG, SEAL_SLOT, SLOT_MIGRATION, SLOT_NONCE
from keephold.crypto.opaque import Opaque
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import SealedSlot, SlotPlain


class SlotContext(NamedTuple):
    """When a slot was written: what makes its nonce new."""

    version: int
    """State version before the result."""
    pre_root: StateRoot
    """State root before the result."""
    head: bytes
    """Inbox head after the batch."""
    block: HeaderHash
    """Hash of the block that ordered the batch."""

    def digest(self) -> bytes:
        """Return the 32-byte context of all slots of this result."""
        return tagged_hash(SLOT_NONCE, number(self.version), self.pre_root, self.head, self.block)


class MigrationContext(NamedTuple):
    """When a slot was sealed anew: what makes its nonce new."""

    version: int
    """State version before the page."""
    pre_root: StateRoot
    """State root before the page."""
    cursor: bytes
    """Where the page begins."""

    def digest(self) -> bytes:
        """Return the 32-byte context of all slots of this page."""
        return tagged_hash(SLOT_MIGRATION, number(self.version), self.pre_root, self.cursor)


@final
class SlotSealer(Opaque):
    """Seals and opens the slots of one contract in one epoch."""

    __slots__ = ("_bound", "_epoch", "_sealer", "_tag_key")

    def __init__(
        self, state_key: SecretBytes, tag_key: SecretBytes, network: NetworkId, contract: ContractId, epoch: int
    ) -> None:
        self._sealer: Final = ContextSealer(state_key, SEAL_SLOT)
        self._tag_key: Final = tag_key
        self._bound: Final = (network, contract, number(epoch))
        self._epoch: Final = epoch

    def tag(self, key: str) -> SlotTag:
        """Return the 32-byte tag under which the ledger keeps the slot of a storage key."""
        return SlotTag(mac(self._tag_key, KEY_TAG, key.encode()))

    def seal(self, key: str, value: bytes, context: bytes, buckets: tuple[int, ...]) -> tuple[SlotTag, bytes]:
        """Return tag and sealed value; `context` is the `digest()` of the result or page that writes it."""
        tag = self.tag(key)
        plain = pad(encode(SlotPlain(key, value)), buckets)
        sealed = self._sealer.seal(plain, *self._bound, tag, context)
        return tag, encode(SealedSlot(self._epoch, context, sealed))

    def open(self, tag: SlotTag, sealed: bytes) -> SlotPlain:
        """Return storage key and value.

        Raises:
            SealBroken: not sealed by this contract in this epoch, moved from another tag, or altered.
            EncodingError: not a sealed slot at all.
        """
        slot = decode(sealed, SealedSlot)
        if slot.epoch != self._epoch:
            raise SealBroken(f"slot of epoch {slot.epoch}, not {self._epoch}")
        plain = decode(unpad(self._sealer.open(slot.sealed, *self._bound, tag, slot.context)), SlotPlain)
        if self.tag(plain.key) != tag:
            raise SealBroken("slot under another key's tag")
        return plain
