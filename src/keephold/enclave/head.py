"""The sealed head: the newest verified header, kept through a restart, so that an older chain is an attack.

With it goes how much of governance's history was proven: an action that is known is never undone.

Written at most once a second: what a crash loses is a second of memory, never a false one. The host can put an older
sealed head back; then the enclave follows from there again, and the echo and, for gatekeepers, the peers' vouches tell
it what is present.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import EncodingError, HeaderInvalid, RollbackDetected, SealBroken
from keephold.chain.header import Header
from keephold.chain.validators import decode_validator_set, encode_validator_set
from keephold.chain.wire import decode_header, encode_header
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import Vault
from keephold.follower.light_client import TrustedState
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import GovernanceRecord
from keephold.protocol.types import Positive

_HEAD: Final = "head"
_INTERVAL_SECONDS: Final = 1.0


class _Head(Record):
    header: bytes
    next_validators: bytes
    trusting_period_ns: Positive
    governance: GovernanceRecord = GovernanceRecord()


@final
class SealedHead:
    """Loads the head once, then keeps it."""

    def __init__(self, vault: Vault) -> None:
        self._vault: Final = vault
        self._written: float | None = None
        self._height = 0

    def load(self, genesis: Genesis) -> VerifiedView:
        """Return the view that the last run had, or on a first one that of the genesis.

        Raises:
            RollbackDetected: the file does not open or does not make a head: whoever could break it could replace it.
            HeaderInvalid: it is of another chain.
        """
        if not self._vault.holds(_HEAD):
            return VerifiedView(genesis)
        try:
            kept = decode(self._vault.read(_HEAD).reveal(), _Head)
            state = TrustedState.from_header(
                decode_header(kept.header), decode_validator_set(kept.next_validators), kept.trusting_period_ns
            )
        except (EncodingError, HeaderInvalid, SealBroken) as error:
            raise RollbackDetected(f"the sealed head: {error}") from error
        self._height = state.height
        return VerifiedView(genesis, state, kept.governance)

    def keep(self, view: VerifiedView, now: float) -> None:
        """Seal a newer head, if the last one was sealed a second ago; `now` is monotonic."""
        due = self._written is None or now - self._written >= _INTERVAL_SECONDS
        if due and view.height > self._height:
            self.keep_now(view)
            self._written = now

    def keep_now(self, view: VerifiedView) -> None:
        """Seal the head at once: before something that must not be undone."""
        state = view.trusted
        if not isinstance(state.header, Header):
            return
        kept = _Head(
            encode_header(state.header),
            encode_validator_set(state.next_validators),
            state.trusting_period_ns,
            view.governance,
        )
        self._vault.write(_HEAD, SecretBytes(encode(kept)))
        self._height = state.height
