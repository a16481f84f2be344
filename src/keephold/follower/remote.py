"""What a follower asks of a node or gateway: records in, records out. Nothing that comes back is believed here.

`Remote` and `Gateway` are the interfaces; `RecordRemote` is what everybody shares who reaches a node with bytes, as
`http_remote` does. What a reader must check in an answer is checked by whoever reads it (`view`, `trust`): here bytes
become records.

A refusal names an error by its code. Only the codes of `refusal` are taken at their word, and those of a gateway from a
gateway alone: a node that could make an enclave raise `superseded` or `ledger_refused` would have a switch to turn it
off. What the ledger refused, blocks prove.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import Final, Protocol, TypeVar

from keephold.base.errors import (
    DeadlineExceeded,
    EncodingError,
    InputError,
    KeepholdError,
    NodeUnreachable,
    NoLiveWorker,
    NotKept,
)
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerEnvelope,
    Attachment,
    AttachTicket,
    BlocksRequest,
    Fault,
    FoundTransaction,
    FoundTransactions,
    Frame,
    GovernanceHistory,
    InboxPage,
    InboxRequest,
    LightBlock,
    LightBlocks,
    ProveAnswer,
    ProveRequest,
    QueryDelivery,
    QueryEnvelope,
    SlotsPage,
    SlotsRequest,
    StreamRequest,
    Submission,
    TransactionsRequest,
    Verdict,
    Verdicts,
)

_HEIGHT_DIGITS: Final = 19
OF_GATEWAYS: Final = (NoLiveWorker, DeadlineExceeded)
"""What a gateway says of a worker. A node that says so of itself does not answer."""

T = TypeVar("T", bound=Record)


class Remote(Protocol):
    """A node's machine endpoints. Every method raises NodeUnreachable when there is no proper answer."""

    async def genesis(self) -> Genesis:
        """Return the genesis that the node claims to follow."""
        ...

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """Offer signed transactions, in order; return one verdict for each.

        Raises:
            InputError: the node refuses the submission as such: too many, too large.
        """
        ...

    def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        """Yield blocks; ends only by NodeUnreachable, or when the reader closes it."""
        ...

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        """Return values with proofs under the header of `height` (0: the newest)."""
        ...

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        """Return the light blocks of these heights (0: the newest), in order."""
        ...

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        """Return the transactions that were found, in the order asked for."""
        ...

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        """Return entries of a contract's inbox from index `first` (from 1) on."""
        ...

    async def slots(self, contract: bytes, root: bytes, after: bytes) -> SlotsPage:
        """Return slots of a contract at a state root, after a tag (exclusive)."""
        ...

    async def governance(self) -> GovernanceHistory:
        """Return all governance actions in order."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class Gateway(Protocol):
    """A gateway's machine endpoints: sealed queries out to workers that dialled in, and answers back."""

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        """Deliver a sealed query and return its answer."""
        ...

    async def attach(self, identity: bytes) -> AttachTicket:
        """Return a fresh challenge for a worker that wants to attach."""
        ...

    def queries(self, attachment: Attachment) -> AsyncGenerator[QueryDelivery, None]:
        """Yield queries for an attached worker; ends only by NodeUnreachable, or when the reader closes it."""
        ...

    async def answers(self, batch: AnswerBatch) -> None:
        """Hand back answers."""
        ...

    async def aclose(self) -> None:
        """Release connections."""
        ...


class RecordRemote(ABC):
    """The questions of `Remote`, as records in bytes, over whatever takes them to a node and brings its answer."""

    async def genesis(self) -> Genesis:
        """See `Remote`."""
        return await self._ask("genesis", b"", Genesis)

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """See `Remote`."""
        try:
            answer = decoded(await self._post("submit", encode(Submission(tuple(transactions)))), Verdicts)
        except OF_GATEWAYS as error:
            raise NodeUnreachable(f"{self}: {error}") from error
        if len(answer.verdicts) != len(transactions):
            raise NodeUnreachable("not one verdict for each transaction")
        return answer.verdicts

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        """See `Remote`."""
        return await self._ask("prove", encode(ProveRequest(height, tuple(paths))), ProveAnswer)

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        """See `Remote`."""
        answer = await self._ask("blocks", encode(BlocksRequest(tuple(heights))), LightBlocks)
        if len(answer.blocks) != len(heights):
            raise NodeUnreachable("not one block for each height")
        return answer.blocks

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        """See `Remote`."""
        answer = await self._ask("transactions", encode(TransactionsRequest(tuple(ids))), FoundTransactions)
        return answer.found

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        """See `Remote`."""
        return await self._ask("inbox", encode(InboxRequest(contract, first)), InboxPage)

    async def slots(self, contract: bytes, root: bytes, after: bytes) -> SlotsPage:
        """See `Remote`."""
        return await self._ask("slots", encode(SlotsRequest(contract, root, after)), SlotsPage)

    async def governance(self) -> GovernanceHistory:
        """See `Remote`."""
        return await self._ask("governance", b"", GovernanceHistory)

    async def _ask(self, name: str, body: bytes, kind: type[T]) -> T:
        try:
            return decoded(await self._post(name, body), kind)
        except (InputError, *OF_GATEWAYS) as error:
            # Our questions are well-formed: what this node does not have yet, or no more, is a reason to ask another.
            raise NodeUnreachable(f"{self}: {error}") from error

    @abstractmethod
    async def _post(self, name: str, body: bytes) -> bytes:
        """Return what the endpoint `name` answers.

        Raises:
            InputError, NodeUnreachable
        """


def refusal(body: bytes, status: int) -> KeepholdError:
    """Return the error that a refused request amounts to; see the module's note on which codes are believed."""
    try:
        fault = decode(body, Fault)
    except EncodingError:
        return NodeUnreachable(f"refused with status {status}")
    match fault.code:
        case EncodingError.code | InputError.code:
            return InputError(fault.detail)
        case NotKept.code if fault.reason.isascii() and fault.reason.isdigit() and len(fault.reason) <= _HEIGHT_DIGITS:
            return NotKept(int(fault.reason))
        case NoLiveWorker.code:
            return NoLiveWorker(fault.detail)
        case DeadlineExceeded.code:
            return DeadlineExceeded(fault.detail)
        case _:
            return NodeUnreachable(f"{fault.code}: {fault.detail}")


def decoded(raw: bytes, kind: type[T]) -> T:
    """Return the record that an answer is. Raises NodeUnreachable: it is none."""
    try:
        return decode(raw, kind)
    except EncodingError as error:
        raise NodeUnreachable(f"not an answer: {error}") from error
