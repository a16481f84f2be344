"""A call on its way, and what becomes of calls that a change of key epoch shut out.

The ledger refuses a call sealed to an epoch that is closed. Its caller meant the call, not the ciphertext: so it is
sealed again, to the next epoch, under a fresh reply key. It must not happen twice for that, and a node's word that it
was refused is not enough. So before anything is sealed again one header has to prove both:

1. The contract's record: the epoch that the call was sealed to is closed. Epochs only rise, so from that state on no
   call of it is accepted, whatever bytes the node kept.
2. The account's nonce has not passed the call's: up to that state it was not accepted either.

Without this proof the refusal is the caller's, who knows what he meant.

**What an answer rests on.** That it was proven to be in an accepted result says where it stands, not who made it. It is
authentic because it opens under the reply key, which left this process inside the call's seal only: whoever seals a
reply under it opened the call, and so is an enclave that holds the contract's key (`verify_contract` says whose). A
receipt says which entry it is of, and a call appended twice has two. The one of a repetition says so under the reply
key, and is passed over: its call is answered by another. What opens in neither way is `CallUnreadable`. That is the
ledger's word and no enclave's: validators that all collude can consume a call with any bytes for a receipt, as they
can refuse it. Workers do not follow them there (`worker.lineage`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, final

from keephold.base.errors import (
    CallUnreadable,
    ChainRefused,
    ContractFailed,
    DeadlineExceeded,
    EncodingError,
    KeepholdError,
    LedgerRefused,
    NodeUnreachable,
    NoLiveWorker,
    PermitRefused,
    Rejected,
    SealBroken,
    StaleAnswer,
)
from keephold.base.ids import ContractId, PublicKey, TransactionId
from keephold.client.abi import Method
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.outbox import Flight
from keephold.crypto.secret import SecretBytes
from keephold.follower.contracts import VerifiedContract, require_live_worker
from keephold.follower.view import ProvenValues
from keephold.protocol.codec import decode
from keephold.protocol.messages import CallPlain, Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, ContractRecord, account_path, contract_path
from keephold.protocol.transactions import Call
from keephold.protocol.wire import ProvenReceipt
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.receipt import is_repeated, open_receipt

DEADLINE_SECONDS: Final = 30.0
"""Of calls and queries that name none."""

_KEY_SIZE: Final = 32
_HEADERS: Final = 8
"""Headers to wait for that prove what the node said: one is on its way whenever something changed."""
_PROOF_SECONDS: Final = 2.0
"""What a caller whose deadline passed waits for the proof that nobody runs the contract."""
_EPOCH_ENDED: Final = frozenset({Refusal.WRONG_EPOCH.word, Refusal.ROTATING.word})


@final
class PendingCall:
    """A call on its way. It is executed whether or not anybody waits for it."""

    def __init__(
        self,
        connection: Connection,
        method: Method,
        arguments: bytes,
        account: Account,
        buckets: tuple[int, ...],
        react: Callable[[PendingCall, LedgerRefused], None],
    ) -> None:
        """For `AsyncContract.submit`, which then sends it; `react` is called if the ledger refuses it."""
        self._connection: Final = connection
        self._method: Final = method
        self._arguments: Final = arguments
        self._account: Final = account
        self._buckets: Final = buckets
        self._react: Final = react
        self._verified: VerifiedContract
        self._flight: Flight
        self._reply_key: SecretBytes
        self._reply: Reply | None = None
        self._again: asyncio.Future[None] | None = None
        self._refusal: tuple[Flight, LedgerRefused] | None = None
        """The last one, and of what: it stands unless the call is on its way again."""
        self.sealed = b""
        """The call as everybody sees it, sealed to the contract."""
        self.receipt = b""
        """The proven receipt as everybody sees it; empty until it came."""

    @property
    def id(self) -> bytes:
        """The call's transaction id, 32 bytes; another one once it was sealed to another epoch."""
        return self._flight.id

    @property
    def account(self) -> PublicKey:
        """Whose call it is."""
        return self._account.key.public

    @property
    def nonce(self) -> int:
        """The nonce that it was last signed under."""
        return self._flight.nonce

    @property
    def epoch(self) -> int:
        """The epoch that it was last sealed to."""
        return self._verified.epoch

    def send(self, verified: VerifiedContract) -> None:
        """Seal the call to the contract's present keys and put it on its way.

        Raises:
            KeepholdError: the connection is broken.
        """
        connection, submissions = self._connection, self._connection.submissions
        reply_key = SecretBytes.random(_KEY_SIZE)
        plain = CallPlain(self._method.name, self._arguments, reply_key.reveal())
        sealed = b""

        def build(nonce: int) -> Call:
            nonlocal sealed
            context = CallContext(connection.network, verified.id, verified.epoch, self.account, nonce)
            sealed = seal_call(verified.encryption_key, context, plain, self._buckets)
            return Call(verified.id, verified.epoch, sealed)

        def is_answer(receipt: ProvenReceipt) -> bool:
            where = connection.network, verified.id, verified.epoch, TransactionId(receipt.call)
            return not is_repeated(reply_key, *where, receipt.receipt)

        self._flight = submissions.send(self._account.key, build)
        submissions.expect(self._flight, is_answer)
        self._verified, self._reply_key, self.sealed = verified, reply_key, sealed
        submissions.when_refused(self._flight, lambda error: self._react(self, error))

    def doubt(self) -> None:
        """It was refused, and may be sealed again: `wait` waits for `resolve`."""
        self._again = asyncio.get_running_loop().create_future()

    def resolve(self) -> None:
        """It is on its way again, or it is not and the refusal stands."""
        again, self._again = self._again, None
        if again is not None and not again.done():
            again.set_result(None)

    async def wait(self, deadline: float = DEADLINE_SECONDS) -> Any:
        """Return what the call returned; may be awaited again, after a deadline or after the answer.

        Raises:
            Rejected: the contract refused; nothing was written.
            ContractFailed: the contract's code failed; nothing was written.
            CallUnreadable: the contract could not open the call.
            LedgerRefused: the ledger did not take it.
            NoLiveWorker: after `deadline` seconds, and the ledger proves that no worker with a live lease is assigned;
                the call waits for one, and may still be executed.
            DeadlineExceeded: no proven receipt yet, after `deadline` seconds; the call may still be executed.
            ChainRefused: the node's chain does not hold.
        """
        if self._reply is None:
            self._reply = await self._receive(deadline)
        return value_of(self._reply, self._method)

    async def _receive(self, deadline: float) -> Reply:
        try:
            async with asyncio.timeout(deadline):
                receipt = await self._ended()
        except TimeoutError:
            await self._check_live()
            reasons = self._connection.follower.nodes.reasons
            raise DeadlineExceeded(
                f"no receipt for call {self.id.hex()[:16]} after {deadline:g} s; it may still be executed"
                + (f" ({reasons})" if reasons else "")
            ) from None
        if receipt is None:
            raise CallUnreadable("settled without a receipt")
        self.receipt = receipt.receipt
        verified = self._verified
        try:
            return open_receipt(
                self._reply_key, self._connection.network, verified.id, verified.epoch, self._flight.id, receipt.receipt
            )
        except (SealBroken, EncodingError):
            raise CallUnreadable(f"the receipt of call {self.id.hex()[:16]} does not open") from None

    async def _check_live(self) -> None:
        """Say that nobody runs the contract, where the ledger proves it in a moment.

        Raises:
            NoLiveWorker: nobody does.
        """
        with suppress(TimeoutError, ChainRefused, NodeUnreachable, StaleAnswer):
            async with asyncio.timeout(_PROOF_SECONDS):
                try:
                    await require_live_worker(self._connection.follower, self._verified.id)
                except NoLiveWorker as error:
                    raise NoLiveWorker(f"{error}; call {self.id.hex()[:16]} waits for one") from None

    async def _ended(self) -> ProvenReceipt | None:
        while True:
            if self._again is not None:
                await asyncio.shield(self._again)
            flight = self._flight
            if self._refusal is not None and self._refusal[0] is flight:
                raise self._refusal[1]
            try:
                return await self._connection.submissions.ended(flight)
            except LedgerRefused as error:
                self._refusal = (flight, error)


@final
class Resealing:
    """One contract's calls that were sealed to an epoch that ended."""

    def __init__(
        self, connection: Connection, contract: ContractId, verified: Callable[[int, int], Awaitable[VerifiedContract]]
    ) -> None:
        """`verified` returns the contract under a later epoch than one closed at a height, once there is one."""
        self._connection: Final = connection
        self._contract: Final = contract
        self._verified: Final = verified
        self._shut_out: list[PendingCall] = []
        self._examined: list[PendingCall] = []
        self._settled: Final = asyncio.Event()
        self._settled.set()

    def refused(self, call: PendingCall, error: LedgerRefused) -> None:
        """Take a refused call; one that is refused for another reason than its epoch is its caller's again."""
        # Calls of the same account behind one that was shut out lose their turn with it, in order.
        is_behind = error.reason == Refusal.BAD_NONCE.word and any(
            other.account == call.account for other in self._shut_out
        )
        if error.reason not in _EPOCH_ENDED and not is_behind:
            return
        call.doubt()
        self._shut_out.append(call)
        if self._settled.is_set():
            self._settled.clear()
            self._begin()

    async def settled(self) -> VerifiedContract:
        """Return the contract to seal to, once no call waits to be sealed again: later ones do not overtake it.

        Raises:
            As `follower.contracts.verify_contract`.
        """
        while True:
            await self._settled.wait()
            verified = await self._verified(0, 0)
            if self._settled.is_set():
                return verified

    def _begin(self) -> None:
        self._connection.spawn(self._run()).add_done_callback(self._over)

    async def _run(self) -> None:
        # What cannot be proven or verified now leaves the callers with the refusal that they had.
        with suppress(KeepholdError):
            while self._shut_out:
                self._examined, self._shut_out = self._shut_out, []
                await self._reseal(self._examined)

    def _over(self, task: asyncio.Task[None]) -> None:
        left, self._examined = self._examined, []
        if self._shut_out and not task.cancelled():
            self._begin()
        else:
            left, self._shut_out = [*left, *self._shut_out], []
            self._settled.set()
        for call in left:
            call.resolve()

    async def _reseal(self, calls: list[PendingCall]) -> None:
        proven, closed = await self._proof(calls)
        dead = set()
        for call in calls:
            raw = proven[account_path(call.account)]
            nonce = 0 if raw is None else decode(raw, AccountRecord).nonce
            # (1) Its epoch is closed, and (2) it has not been accepted before it was.
            if call.epoch <= closed and nonce <= call.nonce:
                dead.add(call)
        if dead:
            verified, next_nonce = await self._verified(closed, proven.height), self._connection.submissions.next_nonce
            for call in calls if verified.epoch > closed else ():
                # What was behind, under an open epoch, may go again under its own nonce: only one of the two counts.
                if call in dead or (call.epoch > closed and next_nonce(call.account) == call.nonce):
                    call.send(verified)
        for call in calls:
            call.resolve()

    async def _proof(self, calls: list[PendingCall]) -> tuple[ProvenValues, int]:
        """Return contract and accounts under one header, and the last epoch that is closed there."""
        path, at_least, closed = contract_path(self._contract), 0, 0
        accounts = sorted({account_path(call.account) for call in calls})
        for _ in range(_HEADERS):
            proven = await self._connection.follower.prove([path, *accounts], at_least)
            raw = proven[path]
            if raw is not None:
                record = decode(raw, ContractRecord)
                closed = record.epoch if record.phase == "rotating" else record.epoch - 1
            if closed >= min(call.epoch for call in calls):
                break
            at_least = proven.height + 1
        return proven, closed


def value_of(reply: Reply, method: Method) -> Any:
    """Return the value of a reply, or raise what the contract raised.

    Raises:
        Rejected, ContractFailed, PermitRefused
        AbiError: the value does not fit the ABI.
    """
    if reply.outcome == "rejected":
        raise Rejected(reply.code, reply.detail)
    if reply.outcome == "failed":
        raise ContractFailed(reply.detail)
    if reply.outcome == "refused":
        raise PermitRefused(reply.code, reply.detail)
    return method.decode(reply.value)
