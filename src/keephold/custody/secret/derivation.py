"""All secrets of one member in one round, from one root: the same after every restart, different in every context."""

from __future__ import annotations

from typing import Final, final

from keephold.crypto import kdf
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.labels import DKG_CONTEXT, DKG_SECRET, DKG_SEED
from keephold.crypto.opaque import Opaque
from keephold.crypto.ristretto import WIDE, secret_scalar
from keephold.crypto.secret import SecretBytes
from keephold.custody.public import dealing
from keephold.protocol.custody import RoundState


@final
class RoundSecrets(Opaque):
    """Derives; keeps nothing but the root and the round's context."""

    __slots__ = ("_context", "_root")

    def __init__(self, root: SecretBytes, state: RoundState) -> None:
        """Bind `root` (32 bytes) to the round of `state`."""
        self._root: Final = root
        self._context: Final = dealing.round_context(state)

    def dealing_seed(self, dealer_seat: int) -> SecretBytes:
        """Return the X-Wing seed of the key for one dealer: what a complaint reveals."""
        return kdf.derive(self._root, DKG_SEED, b"dealing", self._context, number(dealer_seat))

    def dealing_key(self, dealer_seat: int) -> EncryptionKey:
        """Return the key that opens this one dealer's envelope."""
        return EncryptionKey(self.dealing_seed(dealer_seat))

    def pepper_key(self) -> EncryptionKey:
        """Return the key that opens the pepper in a resharing."""
        return EncryptionKey(kdf.derive(self._root, DKG_SEED, b"pepper-key", self._context))

    def coefficients(self, state: RoundState) -> list[SecretBytes]:
        """Return one scalar a coefficient, for the audience that registered its keys in `state`."""
        return self._scalars(b"coefficient", state)

    def blinds(self, state: RoundState) -> list[SecretBytes]:
        """Return the blinding polynomial of the Pedersen commitments."""
        return self._scalars(b"blind", state)

    def pepper_part(self, state: RoundState) -> SecretBytes:
        """Return the 32-byte contribution to the network pepper."""
        return kdf.derive(self._root, DKG_SEED, b"pepper-part", self._audience(state))

    def entropy(self, purpose: bytes) -> SecretBytes:
        """Return 64 bytes for a proof's nonce, which also depends on the proof's statement (`dleq.nonce`)."""
        return kdf.derive(self._root, DKG_SECRET, b"nonce", self._context, purpose, size=WIDE)

    def _scalars(self, use: bytes, state: RoundState) -> list[SecretBytes]:
        audience = self._audience(state)
        return [
            secret_scalar(kdf.derive(self._root, DKG_SECRET, use, audience, number(index), size=WIDE))
            for index in range(state.threshold)
        ]

    def _audience(self, state: RoundState) -> bytes:
        """Return 32 bytes that name the round *and* the keys its receivers registered."""
        return tagged_hash(DKG_CONTEXT, b"audience", self._context, *(receiver.keys for receiver in state.receivers))
