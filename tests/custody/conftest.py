"""A ceremony on one desk: the rules, the participants, and whoever misbehaves between them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from keephold.base.errors import LedgerRefused
from keephold.base.ids import NetworkId, PublicKey
from keephold.crypto.secret import SecretBytes
from keephold.custody.public import opening, transcript
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.share import Share
from keephold.protocol.custody import CommitteeKeys, DkgMessage, RoundState

NETWORK = NetworkId(hashlib.sha256(b"network").digest())
PHASE_NS = 1_000

Tamper = Callable[["Ceremony", DkgMessage], Sequence[DkgMessage]]


def member(name: str) -> PublicKey:
    return PublicKey(hashlib.sha256(name.encode()).digest())


def entropy_of(name: str) -> Callable[[int], bytes]:
    """A repeating generator of one's own: ceremonies replay exactly, but for the randomness of seals."""
    counter = iter(range(1_000_000))
    return lambda size: hashlib.shake_256(f"{name} {next(counter)}".encode()).digest(size)


class Ceremony:
    """Feeds accepted messages to everyone; a member named in `tampers` sends what its function makes of them."""

    def __init__(self, opened: RoundState, shares: Sequence[Share] = (), **tampers: Tamper) -> None:
        self.opened = self.ledger = opened
        self.time_ns = opened.deadline_ns - opened.phase_ns
        self.tampers = {member(name): tamper for name, tamper in tampers.items()}
        self.accepted: list[tuple[int, PublicKey, DkgMessage]] = []
        self.refused: list[tuple[PublicKey, str]] = []
        self.participants: dict[PublicKey, Participant] = {}
        self.roots: dict[PublicKey, SecretBytes] = {}
        self.shares = {self._holder(share): share for share in shares}
        for who in dict.fromkeys(p.member for p in (*opened.dealers, *opened.receivers)):
            key = PublicKey(who)
            self.participants[key], self.roots[key] = Participant.begin(
                member=key, opened=opened, entropy=entropy_of(key.hex()), inherited=self.shares.get(key)
            )

    @staticmethod
    def _holder(share: Share) -> PublicKey:
        return next(PublicKey(seat.member) for seat in share.committee.seats if seat.seat == share.seat)

    def run(self) -> Ceremony:
        queue = self._tick_all()
        while self.ledger.phase not in ("done", "failed"):
            while queue:
                queue += self._deliver(*queue.pop(0))
            if self.ledger.phase not in ("done", "failed"):
                self.time_ns = max(self.time_ns, self.ledger.deadline_ns)
                queue = self._tick_all()
        return self

    def _tick_all(self) -> list[tuple[PublicKey, DkgMessage]]:
        self.ledger = transcript.tick(self.ledger, time_ns=self.time_ns)
        return [
            (who, sent)
            for who, participant in self.participants.items()
            for message in participant.advance(time_ns=self.time_ns)
            for sent in self._tampered(who, message)
        ]

    def _deliver(self, sender: PublicKey, message: DkgMessage) -> list[tuple[PublicKey, DkgMessage]]:
        try:
            self.ledger = transcript.apply(self.ledger, sender, message, time_ns=self.time_ns)
        except LedgerRefused as error:
            self.refused.append((sender, error.reason))
            return []
        self.accepted.append((self.time_ns, sender, message))
        due = []
        for who, participant in self.participants.items():
            answers = participant.observe(sender, message, time_ns=self.time_ns)
            assert participant.state == self.ledger
            due += [(who, sent) for answer in answers for sent in self._tampered(who, answer)]
        return due

    def _tampered(self, who: PublicKey, message: DkgMessage) -> Sequence[DkgMessage]:
        tamper = self.tampers.get(who)
        return [message] if tamper is None else tamper(self, message)

    @property
    def keys(self) -> CommitteeKeys:
        keys = transcript.outcome(self.ledger)
        assert keys is not None, self.ledger.phase
        return keys

    def made(self) -> list[Share]:
        """The shares of all who have a seat, whichever way they behaved."""
        return [share for p in self.participants.values() if (share := p.share()) is not None]

    def dropped(self) -> list[tuple[int, str, str]]:
        return [(drop.seat, drop.role, drop.reason) for drop in self.ledger.drops]


def generation(names: str = "abcde", threshold: int = 3, **tampers: Tamper) -> Ceremony:
    opened = opening.open_generation(
        network=NETWORK,
        round_number=7,
        members=[member(name) for name in names],
        threshold=threshold,
        phase_ns=PHASE_NS,
        time_ns=50,
    )
    return Ceremony(opened, **tampers)


def resharing(
    keys: CommitteeKeys, shares: Sequence[Share], names: str, threshold: int, round_number: int = 20, **tampers: Tamper
) -> Ceremony:
    opened = opening.open_resharing(
        keys,
        round_number=round_number,
        members=[member(name) for name in names],
        threshold=threshold,
        phase_ns=PHASE_NS,
        time_ns=900_000,
    )
    return Ceremony(opened, shares, **tampers)


@pytest.fixture(scope="session")
def generate() -> Callable[..., Ceremony]:
    return generation


@pytest.fixture(scope="session")
def reshare() -> Callable[..., Ceremony]:
    return resharing


@pytest.fixture(scope="session")
def finished() -> Ceremony:
    """A generation 3 of 5 without incident."""
    return generation().run()
