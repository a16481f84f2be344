"""A gatekeeper's shares: the one in use, and for the time of a handover its successor beside it.

    share                      in use
    share, share-next          resharing done; the successor is not proven in office yet
    share (the new one)        proven: one rename puts it in the old one's place

What is erased after what is proven. A share is used for the committee that it belongs to, whole record compared, so at
every moment at most one is of use, and two are never mixed. Killed between rename and removal, both names hold the
same share, and the copy goes at the next look. Who has no seat any more erases his share at the same moment.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import BadShare, RollbackDetected, SealBroken
from keephold.custody.secret.share import Share
from keephold.enclave.vault import Vault
from keephold.protocol.custody import CommitteeKeys, RoundState

_SHARE: Final = "share"
_NEXT: Final = "share-next"


@final
class Shares:
    """The shares of one gatekeeper, in memory and in its vault."""

    def __init__(self, vault: Vault) -> None:
        """Read what the vault kept.

        Raises:
            RollbackDetected: it holds something that does not open or is not what we wrote.
        """
        self._vault: Final = vault
        self._held: Final = {name: self._read(name) for name in (_SHARE, _NEXT) if vault.holds(name)}
        self.were_stored: Final = bool(self._held)
        """Whether this process found shares that another one made."""

    def of(self, committee: CommitteeKeys) -> Share | None:
        """Return the share of this very committee."""
        return next((share for share in self._held.values() if share.committee == committee), None)

    def dealt_in(self, state: RoundState) -> Share | None:
        """Return the share that a round hands on, None in a generation and for who has none."""
        return next((share for share in self._held.values() if _is_dealt_in(state, share.committee)), None)

    def know(self, master: bytes) -> bool:
        """Whether this is the master key of every share held."""
        return all(share.committee.master == master for share in self._held.values())

    def keep(self, share: Share) -> None:
        """Keep a new share, durably, beside the one in use."""
        name = _NEXT if _SHARE in self._held else _SHARE
        self._vault.write(name, share.to_sealed_bytes())
        self._held[name] = share

    def settle(self, committee: CommitteeKeys) -> None:
        """Erase what this committee, proven to be in office, has succeeded."""
        # (1) Our share of it takes the place of the old one: one rename, and durable.
        current = self.of(committee)
        if current is not None and current is self._held.get(_NEXT):
            self._vault.write(_SHARE, current.to_sealed_bytes())
            replaced = self._held.get(_SHARE)
            self._held[_SHARE] = current
            del self._held[_NEXT]
            self._vault.remove(_NEXT)
            if replaced is not None:
                replaced.wipe()
        # (2) What is older, or a copy that a crash left between rename and removal, goes. What is newer stays.
        for name, share in list(self._held.items()):
            known = share.committee
            is_old = known.master == committee.master and known.sharing_epoch < committee.sharing_epoch
            if is_old or (share is not current and known == committee):
                self._vault.remove(name)
                self._held.pop(name).wipe()

    def wipe(self) -> None:
        """Overwrite what is in memory; the vault keeps what it holds."""
        for share in self._held.values():
            share.wipe()
        self._held.clear()

    def _read(self, name: str) -> Share:
        try:
            return Share.from_sealed_bytes(self._vault.read(name))
        except (BadShare, SealBroken) as error:
            raise RollbackDetected(f"{name}: {error}") from error


def _is_dealt_in(state: RoundState, committee: CommitteeKeys) -> bool:
    return (
        state.purpose == "resharing"
        and state.sharing_epoch == committee.sharing_epoch + 1
        and (state.network, state.master, state.peppers) == (committee.network, committee.master, committee.peppers)
        and [(one.seat, one.member, one.anchor) for one in state.dealers]
        == [(seat.seat, seat.member, seat.public_share) for seat in committee.seats]
    )
