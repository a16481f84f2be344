"""A contract as its caller holds it: verified, sealed to, answered by proof.

A call, numbered as in the design:

1. The contract's public key is verified from the pinned genesis (`follower.contracts`), once for each key epoch.
2. Method, arguments and a fresh reply key are sealed to that key, bound to network, contract, epoch, sender and nonce.
3. The signed transaction is offered until the ledger has it; only its bytes travel (`outbox`).
4. The receipt counts once it is proven to be in an accepted result, for this call's id (`follower.view`).
5. It opens under the reply key, or the call was consumed as unreadable. Rejections and failures are raised.

A question (`query`) does not touch the ledger. It goes, sealed and signed, to one worker instance whose registration
was verified; its answer must be to this question, of this epoch, from a block of the chain that this client follows,
and not older than what this client has seen of its own doing.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, final

from keephold.base.errors import (
    CallUnreadable,
    ContractFailed,
    DeadlineExceeded,
    EncodingError,
    HeaderInvalid,
    KeepholdError,
    LedgerRefused,
    NoLiveWorker,
    Rejected,
    SealBroken,
    StaleAnswer,
)
from keephold.base.ids import ContractId
from keephold.client.abi import Abi, Method, parse_abi
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.outbox import Flight
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.follower.contracts import VerifiedContract, verify_contract
from keephold.protocol.messages import CallPlain, QueryBody, Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Call
from keephold.protocol.wire import QueryEnvelope
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.query import open_answer, request_digest, seal_query, sign_query
from keephold.sealing.receipt import open_receipt

DEADLINE_SECONDS: Final = 30.0
"""Of calls and queries that name none."""

_KEY_SIZE: Final = 32
_AGAIN_SECONDS: Final = 0.1
_RENEWED_BY: Final = frozenset({Refusal.WRONG_EPOCH.word, Refusal.CONTRACT_NOT_ACTIVE.word})


@final
class PendingCall:
    """A call on its way. It is executed whether or not anybody waits for it."""

    def __init__(
        self,
        connection: Connection,
        verified: VerifiedContract,
        method: Method,
        flight: Flight,
        reply_key: SecretBytes,
        sealed: bytes,
    ) -> None:
        """For `AsyncContract.submit`."""
        self._connection: Final = connection
        self._verified: Final = verified
        self._method: Final = method
        self._flight: Final = flight
        self._reply_key: Final = reply_key
        self._reply: Reply | None = None
        self.sealed: Final = sealed
        """The call as everybody sees it, sealed to the contract."""
        self.receipt = b""
        """The proven receipt as everybody sees it; empty until it came."""

    @property
    def id(self) -> bytes:
        """The call's transaction id, 32 bytes."""
        return self._flight.id

    async def wait(self, deadline: float = DEADLINE_SECONDS) -> Any:
        """Return what the call returned; may be awaited again, after a deadline or after the answer.

        Raises:
            Rejected: the contract refused; nothing was written.
            ContractFailed: the contract's code failed; nothing was written.
            CallUnreadable: the contract could not open the call.
            LedgerRefused: the ledger did not take it.
            DeadlineExceeded: no proven receipt yet, after `deadline` seconds; the call may still be executed.
            ChainRefused: the node's chain does not hold.
        """
        if self._reply is None:
            self._reply = await self._receive(deadline)
        return value_of(self._reply, self._method)

    async def _receive(self, deadline: float) -> Reply:
        try:
            async with asyncio.timeout(deadline):
                receipt = await self._connection.ended(self._flight)
        except TimeoutError:
            raise DeadlineExceeded(
                f"no receipt for call {self.id.hex()[:16]} after {deadline:g} s; it may still be executed"
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


@final
class AsyncContract:
    """A contract on one network. Verified on first use, and again when its keys or workers changed."""

    def __init__(self, connection: Connection, contract: ContractId, verified: VerifiedContract | None = None) -> None:
        """For `AsyncNetwork.contract`."""
        self.id: Final = contract
        self._connection: Final = connection
        self._verified = verified
        self._abi: Abi | None = None
        self._verifying: Final = asyncio.Lock()
        self._turn = 0

    @property
    def address(self) -> Address:
        """The contract's address."""
        return Address.contract(self.id)

    async def verified(self) -> VerifiedContract:
        """Return the contract with the argument why it can be sealed to.

        Raises:
            As `follower.contracts.verify_contract`.
        """
        async with self._verifying:
            if self._verified is None:
                connection = self._connection
                self._verified = await verify_contract(
                    connection.follower, self.id, registrations=connection.registrations
                )
            return self._verified

    async def abi(self) -> Abi:
        """Return the interface, as the verified code says."""
        if self._abi is None:
            self._abi = parse_abi((await self.verified()).code.abi)
        return self._abi

    async def call(
        self, method: str, *arguments: object, account: Account, deadline: float = DEADLINE_SECONDS, **named: object
    ) -> Any:
        """Call a method and return what it returned, within `deadline` seconds.

        Raises:
            AbiError: the arguments do not fit; nothing was sent.
            As `submit` and `PendingCall.wait`.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline
        try:
            async with asyncio.timeout(deadline):
                pending = await self.submit(method, *arguments, account=account, **named)
        except TimeoutError:
            raise DeadlineExceeded(f"{method} was not sent within {deadline:g} s") from None
        return await pending.wait(max(0.0, ends - loop.time()))

    async def submit(self, method: str, *arguments: object, account: Account, **named: object) -> PendingCall:
        """Seal and send a call; it travels while the caller does something else.

        Raises:
            AbiError: the arguments do not fit; nothing was sent.
            NoLiveWorker, ChainRefused, LedgerRefused, NodeUnreachable: the contract cannot be verified now.
        """
        abi = await self.abi()
        described = abi.method(method, "call", "init")
        encoded = described.encode(arguments, named)
        verified = await self.verified()
        connection = self._connection
        await connection.admit(account)
        reply_key = SecretBytes.random(_KEY_SIZE)
        plain = CallPlain(method, encoded, reply_key.reveal())

        sealed = b""

        def build(nonce: int) -> Call:
            nonlocal sealed
            context = CallContext(connection.network, self.id, verified.epoch, account.key.public, nonce)
            sealed = seal_call(verified.encryption_key, context, plain, abi.pad)
            return Call(self.id, verified.epoch, sealed)

        flight = connection.send(account.key, build)
        pending = PendingCall(connection, verified, described, flight, reply_key, sealed)
        connection.when_refused(flight, self._renew)
        return pending

    def _renew(self, error: LedgerRefused) -> None:
        """Verify again before the next use; the refused call is its caller's to repeat, not ours (`outbox`, 2)."""
        if error.reason in _RENEWED_BY:
            self._verified = None

    async def query(
        self, method: str, *arguments: object, account: Account, deadline: float = DEADLINE_SECONDS, **named: object
    ) -> Any:
        """Ask a view and return its answer.

        Raises:
            AbiError: the arguments do not fit; nothing was sent.
            Rejected, ContractFailed: the contract's answer.
            StaleAnswer: the worker lags behind what this client has seen, until the deadline.
            NoLiveWorker, DeadlineExceeded, ChainRefused, NodeUnreachable
        """
        described = (await self.abi()).method(method, "view")
        encoded = described.encode(arguments, named)
        failed: KeepholdError = DeadlineExceeded(f"{method}: no answer within {deadline:g} s")
        try:
            async with asyncio.timeout(deadline):
                while True:
                    try:
                        return value_of(await self._ask(described.name, encoded, account), described)
                    except (NoLiveWorker, StaleAnswer) as error:
                        failed = error
                        self._verified = None  # the instance may be another by now
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError:
            raise failed from None

    async def _ask(self, method: str, arguments: bytes, account: Account) -> Reply:
        connection = self._connection
        verified = await self.verified()
        self._turn += 1
        worker = verified.vouchers[self._turn % len(verified.vouchers)].registration
        answer_key = SecretBytes.random(_KEY_SIZE)
        floor = connection.acknowledged
        body = QueryBody(
            network=connection.network,
            contract=self.id,
            epoch=verified.epoch,
            instance=worker.instance,
            reader=account.key.public,
            method=method,
            arguments=arguments,
            answer_key=answer_key.reveal(),
            min_height=floor,
        )
        sealed = seal_query(verified.encryption_key, sign_query(account.key, body), (await self.abi()).pad)
        envelope = await connection.gateway.query(QueryEnvelope(self.id, worker.instance, sealed))
        if not envelope.sealed:
            raise NoLiveWorker(f"worker {worker.identity.hex()[:16]}: {envelope.unavailable or 'no answer'}")
        # (1) The answer to this question, by the contract: nobody else has the answer key.
        try:
            answer = open_answer(answer_key, connection.network, self.id, request_digest(sealed), envelope.sealed)
        except (SealBroken, EncodingError):
            raise NoLiveWorker("what came back is not an answer to this question") from None
        # (2) Not older than this client's own doing.
        if answer.epoch != verified.epoch or answer.height < floor:
            raise StaleAnswer(f"answered from height {answer.height}, asked for {floor}")
        # (3) From a block of this chain.
        if await connection.follower.header_hash(answer.height + 1) != answer.header_hash:
            raise HeaderInvalid(f"the worker answers from another chain at height {answer.height}")
        return answer.reply


def value_of(reply: Reply, method: Method) -> Any:
    """Return the value of a reply, or raise what the contract raised.

    Raises:
        Rejected, ContractFailed
        AbiError: the value does not fit the ABI.
    """
    if reply.outcome == "rejected":
        raise Rejected(reply.code, reply.detail)
    if reply.outcome == "failed":
        raise ContractFailed(reply.detail)
    return method.decode(reply.value)
