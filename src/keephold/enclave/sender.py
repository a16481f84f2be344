"""The outbox's shell: signs, submits in batches, proves the nonce, tells outcomes. It decides nothing."""

from __future__ import annotations

import asyncio
from typing import Final, final

from keephold.base.clock import Clock
from keephold.base.errors import ChainRefused, InputError, NodeUnreachable, UnavailableError
from keephold.crypto.signing import SigningKey
from keephold.enclave.outbox import Outbox, Outcome
from keephold.follower.follow import Follower
from keephold.follower.nodes import BACKOFF_SECONDS
from keephold.follower.view import VerifiedBlock
from keephold.protocol.codec import decode
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import Body, sign

_TICK_SECONDS: Final = 0.25


@final
class Sender:
    """Sends one identity's transactions. `run` does the work; `observe` tells it of every verified block.

    The follower's interest has to contain the identity (so that its transactions' ids are sent) and `path` (so that
    its nonce is): see `interest`.
    """

    def __init__(self, follower: Follower, key: SigningKey, clock: Clock) -> None:
        self._follower: Final = follower
        self._clock: Final = clock
        self.path: Final = account_path(key.public)
        self._outbox: Final = Outbox(lambda nonce, body: sign(follower.view.network, key, nonce, body))
        self._waiting: Final[dict[int, asyncio.Future[Outcome]]] = {}
        self._wake: Final = asyncio.Event()
        self._unclear: list[bytes] = []

    def submit_nowait(self, body: Body) -> asyncio.Future[Outcome]:
        """Queue a body; the future ends with its acceptance, or with LedgerRefused."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        # Whoever does not await it is content with best effort; an unretrieved refusal is no error of the program.
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[self._outbox.put(body)] = future
        self._wake.set()
        return future

    async def submit(self, body: Body) -> Outcome:
        """Send a body and wait until the ledger accepted it.

        Raises:
            LedgerRefused: the ledger, or for lack of better the node, refused it.
        """
        return await self.submit_nowait(body)

    def observe(self, block: VerifiedBlock) -> None:
        """Take a verified block, in order."""
        if block.after != block.height - 1:
            self._outbox.needs_account = True  # what was ordered in between is unknown
        self._outbox.ordered(block.ids, block.height)
        if self.path in block.values:
            self._account(block.values[self.path], block.height)
        if self._outbox.has_undecided(block.height):
            self._outbox.needs_account = True
            self._wake.set()

    async def run(self) -> None:
        """Submit what is due, for ever. A node that cannot be reached is asked again."""
        attempts = 0
        while True:
            try:
                await self._step()
                attempts = 0
            except (UnavailableError, ChainRefused):
                self._outbox.lost()
                await asyncio.sleep(BACKOFF_SECONDS[min(attempts, len(BACKOFF_SECONDS) - 1)])
                attempts += 1
                continue
            if self._unclear:
                continue
            try:
                async with asyncio.timeout(_TICK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _step(self) -> None:
        self._wake.clear()
        if self._unclear:
            asked, self._unclear = self._unclear, []
            found = await self._follower.locate(asked)
            results = {identity: (item.height, item.result.code) for identity, item in found.items()}
            self._tell(self._outbox.located(asked, results))
        if self._outbox.needs_account and not self._outbox.is_idle:
            proven = await self._follower.prove([self.path])
            self._account(proven[self.path], proven.height)
        raws = self._outbox.due(self._clock.monotonic())
        if raws:
            try:
                verdicts = await self._follower.submit(raws)
            except InputError as error:
                # What we send is well-formed and within limits: the node or the wire made something else of it.
                raise NodeUnreachable(f"a submission did not arrive as sent: {error}") from error
            codes = [verdict.code for verdict in verdicts]
            self._tell(self._outbox.advised(raws, codes, [verdict.detail for verdict in verdicts]))

    def _account(self, raw: bytes | None, height: int) -> None:
        outcomes, unclear = self._outbox.account(0 if raw is None else decode(raw, AccountRecord).nonce, height)
        self._tell(outcomes)
        self._unclear = list(unclear) or self._unclear
        if outcomes or unclear:
            self._wake.set()

    def _tell(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            future = self._waiting.pop(outcome.ticket, None)
            if future is None or future.done():
                continue
            if outcome.refusal is None:
                future.set_result(outcome)
            else:
                future.set_exception(outcome.refusal)
