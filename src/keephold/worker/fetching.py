"""Fetches contract keys: sends requests, resolves what the answers rest on, hands over what they combine to.

I/O and timing; which answers count is decided in `keys`, whose they are in `committee`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, final

from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    EncodingError,
    LedgerRefused,
    RollbackDetected,
    UnavailableError,
)
from keephold.base.ids import ContractId, PublicKey
from keephold.crypto.secret import SecretBytes
from keephold.enclave.outbox import Outcome
from keephold.enclave.session import Session
from keephold.follower.proofs import OrderedTransaction
from keephold.follower.trust import VerifiedRegistration
from keephold.protocol.codec import decode
from keephold.protocol.lines import ChannelLine, KeyLine
from keephold.protocol.state import CommitteeRecord
from keephold.protocol.transactions import KeyRequest
from keephold.worker.committee import VerifiedCommittee, pin, verify_committee
from keephold.worker.keys import KeyDesk, Reaches

_LOG: Final = logging.getLogger("keephold.worker")
_TICK_SECONDS: Final = 0.5
_REFUSED: Final = (AttestationRefused, LedgerRefused, CryptoError, EncodingError, ChainRefused, UnavailableError)

Keyed = Callable[[KeyLine, SecretBytes], None]
"""Takes a combined seed."""

PutBack = Callable[[ContractId, RollbackDetected], None]
"""Takes note of a contract that stands before where t gatekeepers saw it."""


@final
class KeyFetcher:
    """The one place of a worker where keys come in. `run` never returns."""

    def __init__(self, session: Session, keyed: Keyed, reaches: Reaches, put_back: PutBack) -> None:
        self._session: Final = session
        self._keyed: Final = keyed
        self._reaches: Final = reaches
        self._put_back: Final = put_back
        self._told: Final[set[ContractId]] = set()
        self._desk: Final = KeyDesk(session.network, session.identity)
        self._committee = CommitteeRecord()
        self._due: Final = asyncio.Event()

    def want(self, line: KeyLine) -> None:
        """Have a line's key fetched."""
        self._desk.want(line)
        self._due.set()

    def want_channels(self, lines: frozenset[ChannelLine]) -> None:
        """Have the keys of these channels fetched, and of no others."""
        self._desk.want_channels(lines)

    def forget(self, contract: ContractId) -> None:
        """Want no line of this contract any more."""
        self._desk.forget(contract)

    def keep(self, contract: ContractId, epochs: tuple[int, ...]) -> None:
        """Want no line of this contract that names another epoch than these."""
        self._desk.keep(contract, epochs)

    def seat(self, raw: bytes | None) -> None:
        """Take the proven record of the committee; one that arrives after its successor's is let go."""
        record = CommitteeRecord() if raw is None else decode(raw, CommitteeRecord)
        if _epoch(record) < _epoch(self._committee):
            return
        self._committee = record
        self._due.set()

    def observe(self, ordered: OrderedTransaction) -> None:
        """Take an ordered key request or release, once this process is registered."""
        if self._session.registrar.record is not None:
            self._desk.observe(ordered.id, ordered.raw, self._session.instance)

    def go_on(self) -> None:
        """Look again: a block was verified."""
        self._due.set()

    async def run(self) -> None:
        """Ask, and combine what comes in: for ever.

        Raises:
            RollbackDetected: the committee's master key is another than the one seen first.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._due.wait()
            self._due.clear()
            if self._session.registrar.record is None or not self._committee.keys:
                continue
            request = self._desk.due(self._session.instance, self._session.clock.monotonic())
            if request is not None:
                _LOG.info("asking for %d keys", len(request.items))
                self._session.sender.submit_nowait(request).add_done_callback(partial(self._requested, request))
            try:
                await self._combine()
            except _REFUSED as error:
                _LOG.warning("keys: %s: %s", type(error).__name__, error)
                await asyncio.sleep(_TICK_SECONDS)

    def _requested(self, request: KeyRequest, sent: asyncio.Future[Outcome]) -> None:
        if not sent.cancelled() and sent.exception() is not None:
            _LOG.warning("key request refused: %s", sent.exception())
            self._desk.refused(request)

    async def _combine(self) -> None:
        heights = self._desk.heights()
        if not heights:
            return
        follower = self._session.follower
        committee = await self._verified_committee()
        known = {at: await follower.header_hash(at) for at in heights if at <= follower.view.height}
        seeds = self._desk.combine(committee, known.get, self._reaches)
        if self._desk.lying:
            _LOG.error("partials that do not hold, of seats %s", sorted(self._desk.lying))
        self._tell(committee.keys.threshold)
        if seeds:
            # Only now did t attested gatekeepers prove shares of this master key: a record alone is pinned by nobody.
            pin(self._session.vault, committee.keys)
        for line, seed in seeds.items():
            self._keyed(line, seed)

    def _tell(self, threshold: int) -> None:
        """Tell of contracts that stand before gatekeepers' marks. If t of those say so, one of them is honest."""
        told = self._desk.put_back
        self._told.intersection_update(told)
        for contract, seats in told.items():
            error = next(iter(seats.values()))
            if contract not in self._told:
                self._told.add(contract)
                _LOG.error("%s: %s, by the gatekeepers of seats %s", error.code, error, sorted(seats))
            if len(seats) >= threshold:
                self._put_back(contract, error)

    async def _verified_committee(self) -> VerifiedCommittee:
        """Return the committee in office with those members whose registration verifies now.

        Raises:
            BadShare: too few do, or the record contradicts the law.
        """
        keys = self._committee.keys[0]
        members: list[VerifiedRegistration] = []
        for seat in keys.seats:
            try:
                members.append(await self._session.registrations.verify(PublicKey(seat.member)))
            except _REFUSED as error:
                _LOG.warning("gatekeeper %s does not count: %s", seat.member.hex()[:16], error)
        return verify_committee(keys, await self._session.follower.law(), members)


def _epoch(record: CommitteeRecord) -> int:
    return record.keys[0].sharing_epoch if record.keys else 0
