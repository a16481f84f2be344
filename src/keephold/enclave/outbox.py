"""Sending transactions in order, as a state machine: bodies in, signed bytes to submit out, one outcome a body. No I/O.

    queued ──signed──> in flight ──ordered, nonce counted──────────> accepted
                        │   │ └────ordered, nonce not counted──────> refused: the ledger's reason
                        │   └──────refused by the node's check─────> refused: the node's word
                        └──────────nonce taken by another, or lost─> queued again

A nonce is used once and in order, so bodies are signed one after the other and several travel at a time. What is in
flight is offered again with *the same bytes* until the ledger decided: a node may die with its mempool at any moment.

Only when a nonce in front turns out to be free again (its transaction was refused) are the bodies behind it signed
anew; the old bytes could still be ordered under their old nonce. So a body given to an outbox must be harmless when
ordered twice. All bodies of enclaves are: a result, key or message that stands already is refused the second time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import LedgerRefused
from keephold.base.ids import TransactionId
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Body, transaction_id

WINDOW: Final = 48
"""Transactions in flight: below the quota of one sender in one block."""

RESEND_SECONDS: Final = 1.0
"""Bytes not ordered for so long are offered again."""

_RETRIED: Final = frozenset({Refusal.QUOTA, Refusal.INBOX_FULL, Refusal.BAD_NONCE})
"""Words of a node's check that say *not now*."""

Sign = Callable[[int, Body], bytes]
"""Returns the signed bytes of a body under a nonce."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a body."""

    ticket: int
    id: TransactionId
    height: int
    """Where it was accepted; 0 if it was refused."""
    refusal: LedgerRefused | None


@dataclass(slots=True)
class _Flying:
    ticket: int
    body: Body
    nonce: int
    raw: bytes
    id: TransactionId
    offered: float | None = None
    """Monotonic time of the last offer."""
    height: int = 0
    """Where it was seen ordered."""


@final
class Outbox:
    """One sender's transactions on their way. Starts knowing nothing: the first `account` sets the nonce."""

    def __init__(self, sign: Sign) -> None:
        self._sign: Final = sign
        self._queue: Final[deque[tuple[int, Body]]] = deque()
        self._flight: list[_Flying] = []
        self._next_ticket = 0
        self._nonce: int | None = None
        self._as_of = 0
        self.needs_account = True
        """The account's record has to be proven before anything else is sent."""

    def put(self, body: Body) -> int:
        """Queue a body; return the ticket that its outcome will carry."""
        self._next_ticket += 1
        self._queue.append((self._next_ticket, body))
        return self._next_ticket

    @property
    def is_idle(self) -> bool:
        """Whether nothing is queued or in flight."""
        return not self._queue and not self._flight

    def due(self, now: float) -> list[bytes]:
        """Return the bytes to submit now, in order; `now` is monotonic, in seconds."""
        if self.needs_account or self._nonce is None:
            return []
        while self._queue and len(self._flight) < WINDOW:
            ticket, body = self._queue.popleft()
            raw = self._sign(self._nonce, body)
            self._flight.append(_Flying(ticket, body, self._nonce, raw, transaction_id(raw)))
            self._nonce += 1
        waiting = [item for item in self._flight if not item.height]
        if all(item.offered is not None and now - item.offered < RESEND_SECONDS for item in waiting):
            return []
        # A node that lost one lost those behind it as well, as far as order goes: offer from the first stale one on.
        stale = next(
            at for at, item in enumerate(waiting) if item.offered is None or now - item.offered >= RESEND_SECONDS
        )
        for item in waiting[stale:]:
            item.offered = now
        return [item.raw for item in waiting[stale:]]

    def lost(self) -> None:
        """The node could not be reached: offer everything again at the next occasion."""
        for item in self._flight:
            item.offered = None

    def advised(self, raws: Sequence[bytes], codes: Sequence[int], details: Sequence[str]) -> list[Outcome]:
        """Take the node's verdicts on submitted bytes; 0 is acceptance for ordering."""
        by_raw = {item.raw: item for item in self._flight}
        refused: list[Outcome] = []
        for raw, code, detail in zip(raws, codes, details, strict=True):
            item = by_raw.get(raw)
            if item is None or code == 0 or item.height:
                continue
            if code == Refusal.BAD_NONCE:
                self.needs_account = True
            if code not in _RETRIED:
                refused.append(Outcome(item.ticket, item.id, 0, LedgerRefused(_word(code), detail)))
        if refused:
            tickets = {outcome.ticket for outcome in refused}
            self._flight = [item for item in self._flight if item.ticket not in tickets]
            self.needs_account = True
        return refused

    def ordered(self, ids: Iterable[bytes], height: int) -> bool:
        """Note which transactions a verified block contains; return whether any is ours."""
        contained = set(ids)
        hits = [item for item in self._flight if not item.height and item.id in contained]
        for item in hits:
            item.height = height
        return bool(hits)

    def has_undecided(self, height: int) -> bool:
        """Whether something ordered below `height` is still without outcome: then its nonce was not counted."""
        return any(0 < item.height < height for item in self._flight)

    def account(self, nonce: int, height: int) -> tuple[list[Outcome], list[TransactionId]]:
        """Take the account's nonce, proven by header `height` (so: after block `height - 1`).

        Returns outcomes, and the ids whose fate the nonce alone does not tell: ask where they stand, then `located`.
        """
        if height < self._as_of:
            return [], []
        self._as_of = height
        outcomes, unclear, kept = [], [], []
        for item in self._flight:
            if item.raw and item.height and item.nonce < nonce:
                outcomes.append(Outcome(item.ticket, item.id, item.height, None))
                continue
            if item.raw and (item.nonce < nonce or 0 < item.height < height):
                unclear.append(item.id)
            kept.append(item)
        self._flight = kept
        if unclear:
            self.needs_account = True
        elif self.needs_account:
            self._renumber(nonce)
            self.needs_account = False
        return outcomes, unclear

    def located(self, asked: Iterable[bytes], found: Mapping[bytes, tuple[int, int]]) -> list[Outcome]:
        """Take what became of unclear transactions, by id: (height, code). Those not found are sent anew.

        The account's nonce, proven later than `found`, has to follow.
        """
        unclear = set(asked)
        outcomes, kept = [], []
        for item in self._flight:
            height, code = found.get(item.id, (0, int(Refusal.BAD_NONCE)))
            if item.id not in unclear:
                kept.append(item)
            elif code == 0:
                outcomes.append(Outcome(item.ticket, item.id, height, None))
            elif code == Refusal.BAD_NONCE:
                # Ordered under a nonce that was not next, or never ordered and its nonce taken: not the body's fault.
                item.raw = b""
                kept.append(item)
            else:
                outcomes.append(Outcome(item.ticket, item.id, 0, LedgerRefused(_word(code), "by the ledger")))
        self._flight = kept
        self.needs_account = True
        return outcomes

    def _renumber(self, nonce: int) -> None:
        """Keep what flies under consecutive nonces from `nonce` on; queue the rest again, in front."""
        kept: list[_Flying] = []
        again: list[tuple[int, Body]] = []
        for item in self._flight:
            if item.raw and not again and item.nonce == nonce + len(kept):
                kept.append(item)
            else:
                again.append((item.ticket, item.body))
        self._flight = kept
        self._queue.extendleft(reversed(again))
        self._nonce = nonce + len(kept)


def _word(code: int) -> str:
    try:
        return Refusal(code).word
    except ValueError:
        return f"code_{code}"
