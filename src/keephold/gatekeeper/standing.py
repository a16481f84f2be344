"""May this gatekeeper speak? Mute after a restart, until t - 1 peers told it their heads. Pure.

    born here (its share was made by this process) ──────────────> vouched
    restarted (its share came off the disk) ──t - 1 vouches──────> vouched
    vouched and its own echo is fresh ───────────────────────────> speaks

Why vouches: after a restart the host chooses which chain the gatekeeper is shown, and may have put an older sealed head
back. On a forked or rolled-back chain a worker that was since revoked is still assigned. An echo does not help where
the host also runs the validators. But t gatekeepers together release a key, so it is enough that t of them never follow
different chains: a restarted one waits until t - 1 others signed its nonce together with a header of *their* chain, and
counts only those whose header its own chain contains.

Why a mute gatekeeper may vouch: a vouch states where its own view stands, and that view never goes below its sealed
head. It releases nothing. Were the mute silent here too, a power failure that stops all would stop them for good; as it
is, t that come back together hold each other to the newest of their sealed heads. A host that rolls back t sealed
disks at once is t broken platforms, which no threshold survives.

Peers vouch once for each live instance of a member, and again when it asks again after a while: nonces are cheap for
whoever asks, vouches are transactions.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final, final

from keephold.base.ids import PublicKey
from keephold.protocol.custody import CommitteeKeys
from keephold.protocol.transactions import Vouch

_REPEAT_NS: Final = 10_000_000_000
"""Block time after which a member's echo is vouched for again while it still asks."""

_NONCES: Final = 64
"""Of one member, remembered: the newest. Peers answer those of the last few seconds, and a vouch for one that is
forgotten is a vouch that comes late."""


@final
class Standing:
    """This gatekeeper's right to speak."""

    def __init__(self, *, restarted: bool) -> None:
        self._vouched = not restarted
        self._nonces: Final[dict[bytes, int]] = {}
        self._peers: Final[set[PublicKey]] = set()

    @property
    def is_vouched(self) -> bool:
        """Whether enough peers vouched, or none had to."""
        return self._vouched

    def issued(self, nonce: bytes, height: int) -> None:
        """Note a nonce of this very process that the verified block of this height contains.

        Not one that an earlier life drew: the host that puts an old sealed head back would replay, up to whatever
        height suits it, a chain in which peers vouched for that one.
        """
        self._nonces[nonce] = height
        if len(self._nonces) > _NONCES:
            del self._nonces[next(iter(self._nonces))]

    def is_for_us(self, vouch: Vouch) -> bool:
        """Whether the vouch answers a nonce of ours, with a head that can contain it."""
        issued = self._nonces.get(vouch.nonce)
        return issued is not None and vouch.height >= issued

    def hear(self, peer: PublicKey, committee: CommitteeKeys, own: PublicKey) -> None:
        """Count a vouch for us whose head the caller found on our own chain, from a peer that it verified."""
        members = {seat.member for seat in committee.seats}
        if peer != own and peer in members:
            self._peers.add(peer)
        self.settle(committee)

    def settle(self, committee: CommitteeKeys) -> None:
        """Conclude, once the committee is known: with t = 1 there is nobody to ask."""
        members = {seat.member for seat in committee.seats}
        if len(self._peers & members) >= committee.threshold - 1:
            self._vouched = True


@dataclass(slots=True)
class _Asking:
    """A member's live instance, the nonces that it echoed lately, and who vouched for any of them."""

    instance: bytes
    nonces: deque[bytes] = field(default_factory=lambda: deque(maxlen=_NONCES))
    peers: set[bytes] = field(default_factory=set)


@final
class Vouching:
    """For whom we owe a vouch: members in office whose echo was ordered and who have too few vouches yet."""

    def __init__(self, own: PublicKey) -> None:
        self._own: Final = own
        self._owed: Final[dict[PublicKey, bytes]] = {}
        self._answered: Final[dict[PublicKey, tuple[bytes, int]]] = {}
        """Of each member: the instance that we last vouched for, and when, in block time."""
        self._heard: Final[dict[PublicKey, _Asking]] = {}

    def heard_echo(self, member: PublicKey, instance: bytes, nonce: bytes, time_ns: int, needed: int) -> None:
        """A member's echo was ordered, after its live instance was registered; `needed` vouches let it speak."""
        asking = self._asking(member, instance)
        asking.nonces.append(nonce)
        if member == self._own or len(asking.peers) >= needed:
            return
        answered, at_ns = self._answered.get(member, (b"", 0))
        if instance != answered or time_ns - at_ns >= _REPEAT_NS:
            self._owed[member] = nonce
            self._answered[member] = (instance, time_ns)

    def heard_vouch(self, peer: bytes, target: PublicKey, instance: bytes, nonce: bytes) -> None:
        """Somebody vouched for a member; it helps only if it answers what this instance asked."""
        asking = self._asking(target, instance)
        if nonce in asking.nonces:
            asking.peers.add(peer)

    def due(self, height: int, header_hash: bytes) -> tuple[Vouch, ...]:
        """Return the vouches owed, with our head; they are owed no more."""
        vouches = tuple(
            Vouch(target=member, nonce=nonce, height=height, header_hash=header_hash)
            for member, nonce in self._owed.items()
        )
        self._owed.clear()
        return vouches

    def _asking(self, member: PublicKey, instance: bytes) -> _Asking:
        known = self._heard.get(member)
        if known is None or known.instance != instance:
            known = self._heard[member] = _Asking(instance)
        return known
