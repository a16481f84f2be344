"""Fetching votes and judging who cast them: I/O around `lineage`. What a node sends is located on our own chain."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from keephold.base.errors import AttestationRefused, CryptoError, EncodingError, LedgerRefused, ProofInvalid
from keephold.base.ids import ContractId, TransactionId
from keephold.base.limits import MAX_TRANSACTION
from keephold.follower.admission import Admissions, Admitted
from keephold.follower.follow import Follower
from keephold.follower.view import LocatedTransaction
from keephold.protocol.codec import decode
from keephold.protocol.state import Backing
from keephold.protocol.transactions import SignedTransaction, Transaction, transaction_id
from keephold.protocol.wire import Frame, Interest, StreamRequest
from keephold.worker.lineage import Vote, vote_of

_LOG: Final = logging.getLogger("keephold.worker")
_AT_ONCE: Final = 16
"""Transactions asked for at once: the largest results still fit an answer."""


def transaction_of(raw: bytes) -> Transaction | None:
    """Return the transaction that ordered bytes spell, its signature unchecked; None if they spell none."""
    try:
        return decode(raw, SignedTransaction, limit=MAX_TRANSACTION).transaction
    except EncodingError:
        return None


async def named_votes(follower: Follower, backings: Sequence[Backing]) -> list[Vote]:
    """Return the accepted votes that a record names, with what they rest on.

    Raises:
        ProofInvalid: the node does not have all of them: withheld, or never there. That shows nothing.
        ChainRefused, UnavailableError
    """
    named = {TransactionId(backing.transaction): backing for backing in backings}
    found = await follower.locate(list(named))
    if found.keys() != named.keys():
        raise ProofInvalid("the node does not have the votes behind the contract's state")
    votes = await _votes(follower, found.values())
    for vote in votes:
        vote.backing = named[vote.id]
    return votes


async def ordered_votes(follower: Follower, contract: ContractId, first: int, last: int) -> list[Vote]:
    """Return the accepted votes on a contract in blocks `first` to `last`, as far as the node shows them.

    Raises:
        ChainRefused, UnavailableError
    """
    request = StreamRequest(first, Interest(contracts=(contract,), sparse=True))
    ids: list[TransactionId] = []
    async with aclosing(_until(follower.remote.stream(request), last)) as frames:
        async for frame in frames:
            for located in frame.transactions:
                transaction = transaction_of(located.raw)
                identity = transaction_id(located.raw)
                vote = None if transaction is None else vote_of(identity, located.raw, transaction, 0)
                if vote is not None and vote.step.contract == contract:
                    ids.append(identity)
    votes: list[Vote] = []
    for at in range(0, len(ids), _AT_ONCE):
        found = await follower.locate(ids[at : at + _AT_ONCE])
        votes += await _votes(follower, found.values())
    return votes


async def judge(admissions: Admissions, votes: Sequence[Vote]) -> dict[TransactionId, Admitted | None]:
    """Return what became of the evidence of those who cast these votes; None: it makes no worker.

    Raises:
        ChainRefused, UnavailableError: that could not be found out.
    """
    found: dict[TransactionId, Admitted | None] = {}
    for vote in votes:
        try:
            if vote.backing is None:
                found[vote.id] = await admissions.voter(vote.sender, vote.time_ns)
            else:
                backing = vote.backing
                found[vote.id] = await admissions.backer(
                    vote.sender, backing.registration, backing.judged_by, vote.time_ns
                )
        except (AttestationRefused, LedgerRefused, CryptoError, EncodingError) as error:
            _LOG.warning("the vote of %s does not count: %s", vote.sender.hex()[:16], error)
            found[vote.id] = None
    return found


async def _votes(follower: Follower, found: Iterable[LocatedTransaction]) -> list[Vote]:
    """Return the votes among located transactions that the ledger accepted."""
    votes: list[Vote] = []
    for located in found:
        transaction = transaction_of(located.raw)
        if located.result.code or transaction is None:
            continue
        ordered = await follower.header(located.height)
        vote = vote_of(located.id, located.raw, transaction, ordered.time_ns)
        if vote is not None:
            vote.is_accepted = True
            votes.append(vote)
    return votes


async def _until(frames: AsyncGenerator[Frame, None], last: int) -> AsyncGenerator[Frame, None]:
    async with aclosing(frames):
        async for frame in frames:
            if frame.height <= last:
                yield frame
            if frame.height >= last:
                return
