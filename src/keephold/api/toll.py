"""What is costly to judge is admitted at a pace: registrations with quotes, collateral, key ceremonies, governance.

To judge such a transaction takes this node milliseconds, whether it is accepted or not, and a refused one costs its
sender nothing. So each sender, and each address from which submissions come, has a bucket of them: full at first, and
filled again at a steady pace. An enclave registers once for each lease, a ceremony takes a few messages of each member;
the buckets hold several times that. Everything else, calls and results above all, passes untouched.

A sender is charged only for what he signed: nobody empties another's bucket. Keys are free, so it is the address that
bounds a crowd of them; many addresses together are bounded by nothing here. It is one node's thrift, not a rule: the
ledger judges what is ordered by the same rules whoever admitted it.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Final, final, get_args

from keephold.base.clock import Clock
from keephold.base.errors import KeepholdError
from keephold.base.ids import NetworkId
from keephold.protocol import custody
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Body, Govern, Register, UpdateCollateral, open_signed
from keephold.protocol.wire import Verdict

PEER: Final[ContextVar[str]] = ContextVar("peer", default="")
"""The address that the present request came from; set by whoever mounts the endpoints."""

COSTLY: Final = tuple(
    kind
    for kind in get_args(Body)
    if kind in (Register, UpdateCollateral, Govern) or kind.__module__ == custody.__name__
)
"""Transactions that are costly to judge."""

_TAGS: Final = [str(kind.__struct_config__.tag) for kind in COSTLY]
_LOOKS_COSTLY: Final = re.compile(
    b"|".join(b"\x64type" + bytes((0x60 + len(tag),)) + re.escape(tag.encode()) for tag in _TAGS), re.DOTALL
)
"""How one is spelled in canonical CBOR: cheap to look for; what matches is decoded before it counts."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many at once, and how many in each second after that."""

    burst: float
    rate: float


SENDER: Final = Pace(16, 1)
ADDRESS: Final = Pace(256, 16)
_REMEMBERED: Final = 4096
"""Buckets kept of each kind, the least recently used forgotten first: those are full again, or nearly."""


@final
class Buckets:
    """One bucket for each key. Not for several threads at a time."""

    def __init__(self, pace: Pace) -> None:
        self._pace: Final = pace
        self._left: Final[OrderedDict[bytes | str, tuple[float, float]]] = OrderedDict()

    def has(self, key: bytes | str, now: float) -> bool:
        """Say whether there is one to take."""
        return self._level(key, now) >= 1

    def take(self, key: bytes | str, now: float) -> None:
        """Take one that is there."""
        self._left[key] = (self._level(key, now) - 1, now)
        self._left.move_to_end(key)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)

    def _level(self, key: bytes | str, now: float) -> float:
        level, since = self._left.get(key, (self._pace.burst, now))
        return min(self._pace.burst, level + (now - since) * self._pace.rate)


@final
class Toll:
    """Refuses what comes too fast. Any thread may ask."""

    def __init__(self, network: NetworkId, clock: Clock) -> None:
        self._network: Final = network
        self._clock: Final = clock
        self._lock: Final = Lock()
        self._senders: Final = Buckets(SENDER)
        self._addresses: Final = Buckets(ADDRESS)

    def refusals(self, raws: Sequence[bytes], address: str) -> list[Verdict | None]:
        """Return for each transaction its refusal, or None for what goes on to the engine."""
        return [self._refusal(raw, address) if _LOOKS_COSTLY.search(raw) else None for raw in raws]

    def _refusal(self, raw: bytes, address: str) -> Verdict | None:
        try:
            transaction = open_signed(raw, self._network)
        except KeepholdError:
            return None  # refused for that, at the price of looking
        if not isinstance(transaction.body, COSTLY):
            return None
        with self._lock:
            now = self._clock.monotonic()
            if not (self._senders.has(transaction.sender, now) and self._addresses.has(address, now)):
                return Verdict(Refusal.QUOTA, "too many transactions that are costly to judge: try again in a second")
            self._senders.take(transaction.sender, now)
            self._addresses.take(address, now)
        return None
