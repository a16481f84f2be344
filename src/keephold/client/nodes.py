"""The nodes of a client, each with its gateway, and questions to contracts that change gateways.

A sealed question is asked again as it is: it is bound to its worker and to an answer key of its own, and changes
nothing. So where one gateway is silent, or has not got the worker, the next one is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple, final

from keephold.base.errors import DeadlineExceeded, NodeUnreachable, NoLiveWorker
from keephold.follower.remote import Gateway, Remote
from keephold.protocol.wire import AnswerEnvelope, QueryEnvelope

TURN_SECONDS: Final = 5.0
"""How long one of several nodes may take to answer a question of the chain, before the next is asked."""

QUERY_SECONDS: Final = 10.0
"""How long one of several gateways may take to bring an answer: the worker has to compute it."""


class Node(NamedTuple):
    """A node's two halves, as a client sees them."""

    remote: Remote
    gateway: Gateway


@final
class Gateways:
    """One or more gateways, asked in turn."""

    def __init__(self, gateways: Sequence[Gateway]) -> None:
        """Ask the first one first."""
        self._gateways: Final = tuple(gateways)
        self._current = 0

    def leave(self) -> None:
        """Ask the next one from now on: what came back over this one is no answer."""
        self._current = (self._current + 1) % len(self._gateways)

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        """Deliver a sealed query and return its answer, of the first gateway that brings one.

        Raises:
            NodeUnreachable: none answered.
            NoLiveWorker, DeadlineExceeded: of several, none did, and at least one of them said this.
        """
        if len(self._gateways) == 1:
            return await self._gateways[0].query(envelope)
        first, reasons, said = self._current, [], None
        failed: NodeUnreachable | NoLiveWorker | DeadlineExceeded = NodeUnreachable("no gateway")
        for turn in range(len(self._gateways)):
            place = (first + turn) % len(self._gateways)
            gateway = self._gateways[place]
            try:
                answer = await self._one(gateway, envelope)
            except (NodeUnreachable, NoLiveWorker, DeadlineExceeded) as error:
                reasons.append(f"{gateway}: {str(error).removeprefix(f'{gateway}: ')}")
                failed = error if isinstance(failed, NodeUnreachable) else failed
                continue
            if answer.sealed:
                self._current = place
                return answer
            said = said or answer
            reasons.append(f"{gateway}: {answer.unavailable or 'no answer'}")
        if said is not None:
            raise NoLiveWorker("; ".join(reasons))
        raise type(failed)("; ".join(reasons))

    async def _one(self, gateway: Gateway, envelope: QueryEnvelope) -> AnswerEnvelope:
        try:
            async with asyncio.timeout(QUERY_SECONDS) as turn:
                return await gateway.query(envelope)
        except TimeoutError:
            if not turn.expired():
                raise
            raise NodeUnreachable(f"no answer within {QUERY_SECONDS:g} s") from None
