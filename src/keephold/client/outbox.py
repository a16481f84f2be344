"""Transactions on their way: nonces, order, and what to offer again. A state machine without I/O.

A call must reach the ledger once: not lost when a node dies, not executed twice when an answer is. The argument:

1. A transaction is signed once, under one nonce, and its bytes are kept. What is offered again are these bytes; the
   ledger takes each nonce once. So offering again is always safe, and is done whenever in doubt.
2. No body is signed under a second nonce by this module, ever: the first bytes are out, and a node that kept them
   could have both ordered. (`pending` seals a call again, but only after a proof that the first bytes are dead.)
3. A nonce is signed again, for another body, only after the node refused the first. At most one of the two can be
   accepted, whichever the node prefers.
4. Transactions behind a refused one can never be accepted as they are, unless its nonce is used after all; they fail
   with it, and their nonces are free again. The caller, who knows what they meant, decides.

A node's verdict is advice: it may lie in both directions. If it says "accepted" and forgets, the transaction is offered
again. If it says "refused" and keeps it, the worst is (3).

    queued ──offer──▶ offered ──"accepted"──▶ accepted ──proof──▶ settled
                      │  ▲                      │
                      │  └── in doubt, later ───┘
                      └──"refused"──▶ failed, with all behind it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, final

from keephold.base.errors import KeepholdError, LedgerRefused
from keephold.base.ids import NetworkId, PublicKey, TransactionId
from keephold.crypto.signing import SigningKey
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Body, sign, transaction_id
from keephold.protocol.wire import Verdict

DOUBT_SECONDS: Final = 3.0
"""After this long without proof an accepted transaction is offered again; later where proofs usually take long, for a
network that is busy becomes no faster by being offered everything twice."""

USUAL: Final = 2.0
"""So many times what a proof usually takes is long enough for doubt, if that is more than DOUBT_SECONDS."""

LONGEST_DOUBT_SECONDS: Final = 12.0
"""Doubt comes no later than this: whoever keeps proofs back, or makes them late, wins no more time."""

_WEIGHT: Final = 0.125
"""Of the newest proof in what is usual."""

LATER_SECONDS: Final = 0.05
"""Pause after a refusal that passes by itself."""

WINDOW: Final = 64
"""Transactions of one account offered and not proven; more wait. The ledger takes no more of one account in a block."""

_PASSING: Final = frozenset({Refusal.QUOTA, Refusal.INBOX_FULL})


@dataclass(slots=True, eq=False)
class Flight:
    """One signed transaction until it is settled."""

    account: PublicKey
    nonce: int
    raw: bytes
    id: TransactionId
    offers: int = 0
    due: float = 0.0
    """When to offer it (again), on the caller's monotonic clock."""
    accepted: bool = False
    accepted_at: float = 0.0
    """When a node first accepted it, on the same clock."""
    ended: bool = False
    """Settled or failed: never offered again."""


@dataclass(slots=True)
class _Lane:
    next_nonce: int
    flights: dict[int, Flight] = field(default_factory=dict)
    """Not ended, by nonce, rising."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing to do now."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """The node says that it was ordered at this height already: see what came of it."""

    height: int


@dataclass(frozen=True, slots=True)
class Unclear:
    """The nonce is not the ledger's: look at the account there, and for the transaction."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Flights that will not be accepted, each with the reason."""

    flights: tuple[tuple[Flight, KeepholdError], ...]


Outcome = Waiting | Ordered | Unclear | Failed


@final
class Outbox:
    """All accounts' transactions on their way to one ledger."""

    def __init__(self, network: NetworkId) -> None:
        self._network: Final = network
        self._lanes: dict[PublicKey, _Lane] = {}
        self._usual = 0.0
        """Seconds from a node's word to the proof, smoothed; 0 before the first."""

    def knows(self, account: PublicKey) -> bool:
        """Say whether the account was opened."""
        return account in self._lanes

    def open(self, account: PublicKey, nonce: int) -> None:
        """Start an account at the nonce that its proven record names."""
        self._lanes.setdefault(account, _Lane(nonce))

    def next_nonce(self, account: PublicKey) -> int:
        """Return the nonce that the account's next transaction is signed under; the account was opened."""
        return self._lanes[account].next_nonce

    def sign(self, key: SigningKey, build: Callable[[int], Body], now: float) -> Flight:
        """Sign what `build` makes of the account's next nonce, and queue it; the account was opened."""
        lane = self._lanes[key.public]
        nonce = lane.next_nonce
        raw = sign(self._network, key, nonce, build(nonce))
        flight = Flight(key.public, nonce, raw, transaction_id(raw), due=now)
        lane.flights[nonce] = flight
        lane.next_nonce = nonce + 1
        return flight

    def due(self, now: float, most: int, most_bytes: int) -> list[Flight]:
        """Return what to offer now, in nonce order for each account."""
        found: list[Flight] = []
        size = 0
        for lane in self._lanes.values():
            for place, flight in enumerate(lane.flights.values()):
                if place >= WINDOW:
                    break
                if flight.due > now:
                    if flight.accepted:
                        continue
                    break  # what is behind a waiting one would be refused for its nonce
                if len(found) == most or (found and size + len(flight.raw) > most_bytes):
                    return found
                found.append(flight)
                size += len(flight.raw)
        return found

    def next_due(self) -> float | None:
        """Return when `due` will have something at the latest; None: only new transactions matter."""
        times = [flight.due for lane in self._lanes.values() for flight in lane.flights.values()]
        return min(times, default=None)

    def unanswered(self, flights: list[Flight], now: float, pause: float) -> None:
        """The node did not answer: offer all of it again."""
        for flight in flights:
            flight.due = now + pause

    def doubt(self, now: float) -> None:
        """The node was away: it may have forgotten what it accepted."""
        for lane in self._lanes.values():
            for flight in lane.flights.values():
                flight.due = min(flight.due, now)

    def answered(self, flight: Flight, verdict: Verdict, now: float) -> Outcome:
        """Take the node's verdict on one offer."""
        if flight.ended:
            return Waiting()
        flight.offers += 1
        if verdict.code == 0:
            if not flight.accepted:
                flight.accepted, flight.accepted_at = True, now
            flight.due = now + self._patience
            return Ordered(verdict.height) if verdict.height else Waiting()
        if verdict.code in _PASSING:
            flight.due = now + LATER_SECONDS
            return Waiting()
        if verdict.code == Refusal.BAD_NONCE:
            flight.due = now + LATER_SECONDS
            first = next(iter(self._lanes[flight.account].flights.values()))
            # Behind another one that the ledger does not have yet, this is no news.
            return Unclear() if first is flight else Waiting()
        return self.refused(flight, verdict.code, verdict.detail)

    def refused(self, flight: Flight, code: int, detail: str) -> Failed:
        """End a flight that the ledger refused, and those behind it; their nonces are free again."""
        lane = self._lanes[flight.account]
        behind = [other for nonce, other in lane.flights.items() if nonce > flight.nonce]
        for other in (flight, *behind):
            self.settle(other)
        lane.next_nonce = flight.nonce
        word = Refusal(code).word if code in Refusal.__members__.values() else f"code_{code}"
        after = LedgerRefused(Refusal.BAD_NONCE.word, "an earlier transaction of this account was refused; call again")
        return Failed(((flight, LedgerRefused(word, detail)), *((other, after) for other in behind)))

    def resynchronised(self, flight: Flight, proven_nonce: int, now: float) -> Outcome:
        """Take the account's proven nonce for a flight that is `Unclear`, and that the ledger does not hold."""
        if flight.ended or proven_nonce <= flight.nonce:
            flight.due = now + LATER_SECONDS
            return Waiting()
        # Another program used this nonce. The bytes can never be accepted; those behind neither, for they were signed
        # in the same mistaken order.
        failed = self.refused(
            flight, Refusal.BAD_NONCE, "another program used this account at the same time: look before you repeat this"
        )
        self._lanes[flight.account].next_nonce = proven_nonce
        return failed

    def settle(self, flight: Flight) -> None:
        """The ledger has it, proven."""
        flight.ended = True
        self._lanes[flight.account].flights.pop(flight.nonce, None)

    def proven(self, flight: Flight, now: float) -> None:
        """Its proven answer is here: settle it, and learn how long an answer takes."""
        if flight.accepted:
            spent = now - flight.accepted_at
            self._usual += (spent - self._usual) * (_WEIGHT if self._usual else 1.0)
        self.settle(flight)

    @property
    def _patience(self) -> float:
        return min(max(DOUBT_SECONDS, USUAL * self._usual), LONGEST_DOUBT_SECONDS)
