"""A contract as its caller holds it: verified, sealed to, answered by proof.

A call, numbered as in the design:

1. The contract's public key is verified from the pinned genesis (`follower.contracts`), once for each key epoch.
2. Method, arguments and a fresh reply key are sealed to that key, bound to network, contract, epoch, sender and nonce.
3. The signed transaction is offered until the ledger has it; only its bytes travel (`outbox`).
4. The receipt counts once it is proven to be in an accepted result, for this call's id (`follower.view`).
5. It opens under the reply key, or the call was consumed as unreadable. Rejections and failures are raised.

While the contract's key epoch changes nothing is sealed: calls and questions wait for the next one. A call that the
change shut out on its way is sealed again (`pending`); one that was accepted before is answered under its own epoch.

A question (`query`) does not touch the ledger. It goes, sealed and signed, to one worker instance whose registration
was verified; its answer must be to this question, of this epoch, from a block of the chain that this client follows,
and not older than what this client has seen of its own doing.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any, Final, final

from keephold.base.errors import (
    DeadlineExceeded,
    EncodingError,
    HeaderInvalid,
    KeepholdError,
    LedgerRefused,
    NodeUnreachable,
    NoLiveWorker,
    Rejected,
    SealBroken,
    StaleAnswer,
)
from keephold.base.ids import ContractId
from keephold.client.abi import Abi, parse_abi
from keephold.client.account import Account, Reader
from keephold.client.connection import Connection
from keephold.client.events import EVENT_KEY, ContractEvent, EventLog
from keephold.client.patience import within
from keephold.client.pending import DEADLINE_SECONDS, PendingCall, Resealing, value_of
from keephold.client.released import RELEASED, Released, released_of
from keephold.client.trust import TrustReport
from keephold.client.trust_shell import trust_of
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.follower.contracts import VerifiedContract, verify_contract
from keephold.protocol.codec import decode
from keephold.protocol.messages import QueryBody, Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import Rotate
from keephold.protocol.wire import QueryEnvelope
from keephold.sealing.query import open_answer, request_digest, seal_query

_KEY_SIZE: Final = 32
_AGAIN_SECONDS: Final = 0.1
_WAIT_SECONDS: Final = 0.5
_EVERYWHERE: Final = {EVENT_KEY.name: EVENT_KEY, RELEASED.name: RELEASED}
"""Views that every contract has."""
_RENEWED_BY: Final = frozenset({Refusal.WRONG_EPOCH.word, Refusal.ROTATING.word, Refusal.CONTRACT_NOT_ACTIVE.word})


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
        self._resealing: Final = Resealing(connection, contract, self._verified_beyond)
        self._turn = 0

    @property
    def address(self) -> Address:
        """The contract's address."""
        return Address.contract(self.id)

    async def verified(self) -> VerifiedContract:
        """Return the contract with the argument why it can be sealed to; while its key epoch changes, wait.

        Raises:
            DeadlineExceeded: the change of epoch takes longer than `DEADLINE_SECONDS`.
            KeepholdError: as `follower.contracts.verify_contract`.
        """
        return await self._verify(0)

    async def _verify(self, at_least: int) -> VerifiedContract:
        connection = self._connection
        async with self._verifying:
            while self._verified is None:
                try:
                    self._verified = await verify_contract(
                        connection.follower, self.id, registrations=connection.registrations, at_least=at_least
                    )
                except LedgerRefused as error:
                    if error.reason != Refusal.ROTATING.word:
                        raise
                    await self._turned()
            return self._verified

    async def _verified_beyond(self, epoch: int, height: int) -> VerifiedContract:
        """Return the contract under a later epoch than `epoch`, which is closed by the header at `height`."""
        if self._verified is not None and self._verified.epoch <= epoch:
            self._verified = None
        return await self._verify(height)

    async def _turned(self) -> None:
        """Return once the contract's key epoch does not change any more."""
        try:
            async with (
                asyncio.timeout(DEADLINE_SECONDS),
                aclosing(self._connection.values(contract_path(self.id))) as values,
            ):
                async for raw in values:
                    if raw is None or decode(raw, ContractRecord).phase != "rotating":
                        return
        except TimeoutError:
            raise DeadlineExceeded(f"the contract's key epoch still changes after {DEADLINE_SECONDS:g} s") from None

    async def trust(self) -> TrustReport:
        """Return whom this contract rests on: who could read, forge or stop it, alone or together; see `trust`.

        Raises:
            As `trust_shell.trust_of`.
        """
        return await trust_of(self._connection, self.id)

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
            KeepholdError: as `submit` and `PendingCall.wait`.
        """
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline
        try:
            async with within(ends):
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
        await self._connection.submissions.admit(account.key.public)
        pending = PendingCall(self._connection, described, encoded, account, abi.pad, self._refused)
        pending.send(await self._resealing.settled())
        return pending

    async def rotate(self, account: Account, deadline: float = DEADLINE_SECONDS) -> VerifiedContract:
        """End the contract's key epoch, as its creator; return it verified under the next one.

        Whoever holds keys of the present epoch and is not assigned now is shut out with it. Calls wait meanwhile.

        Raises:
            LedgerRefused: `not_creator`, `rotating`, `contract_not_active`.
            DeadlineExceeded: the next epoch has not begun; it will.
            KeepholdError: as `follower.contracts.verify_contract`.
        """
        connection = self._connection
        ends = asyncio.get_running_loop().time() + deadline
        try:
            async with within(ends):
                before = (await self.verified()).epoch
                flight = await connection.transact(account, Rotate(self.id))
                async with aclosing(connection.values(contract_path(self.id), unless=flight)) as values:
                    async for raw in values:
                        record = None if raw is None else decode(raw, ContractRecord)
                        if record is not None and (record.phase == "rotating" or record.epoch > before):
                            connection.submissions.settle(flight)
                        if record is not None and record.phase == "active" and record.epoch > before:
                            break
                self._verified = None
                return await self.verified()
        except TimeoutError:
            raise DeadlineExceeded(f"the next key epoch has not begun within {deadline:g} s") from None

    def _refused(self, call: PendingCall, error: LedgerRefused) -> None:
        """Verify again before the next use, and send again what a change of epoch shut out."""
        if error.reason in _RENEWED_BY:
            self._verified = None
        self._resealing.refused(call, error)

    async def query(
        self, method: str, *arguments: object, account: Reader, deadline: float = DEADLINE_SECONDS, **named: object
    ) -> Any:
        """Ask a view, as an account or under a permit of one (`permits.Session`), and return its answer.

        Raises:
            PermitRefused: the permit does not hold for this question now.
            AbiError: the arguments do not fit; nothing was sent.
            Rejected, ContractFailed: the contract's answer.
            StaleAnswer: the worker lags behind what this client has seen, until the deadline.
            NoLiveWorker, DeadlineExceeded, NodeUnreachable: nobody answered properly, or in time.
            ChainRefused: what the node shows does not hold.
        """
        failed: KeepholdError = DeadlineExceeded(f"{method}: no answer within {deadline:g} s")
        try:
            async with within(asyncio.get_running_loop().time() + deadline):
                described = _EVERYWHERE.get(method) or (await self.abi()).method(method, "view")
                encoded = described.encode(arguments, named)
                while True:
                    try:
                        return value_of(await self._ask(described.name, encoded, account), described)
                    except (NoLiveWorker, StaleAnswer) as error:
                        failed = error
                        self._verified = None  # the instance may be another by now
                    except NodeUnreachable as error:  # it restarts: a query changes nothing, so it is asked again
                        failed = error
                    await asyncio.sleep(_AGAIN_SECONDS)
        except TimeoutError:
            raise failed from None

    async def released(
        self, topic: str, *, account: Reader, wait: bool = False, deadline: float = DEADLINE_SECONDS
    ) -> Released:
        """Return the signature that the contract released to `account` under `topic`.

        Right after a call of this client returned, what it asked for is there: the answer is never older than that. A
        signature that somebody else's call will ask for is waited for with `wait`.

        Raises:
            Rejected: `not_released`: nothing under this topic, or nothing for this account (by the deadline).
            BadKey, BadSignature: the worker gave something else than a signature.
            KeepholdError: as `query`.
        """
        ends = asyncio.get_running_loop().time() + deadline
        while True:
            left = max(0.0, ends - asyncio.get_running_loop().time())
            try:
                return released_of(topic, await self.query(RELEASED.name, topic, account=account, deadline=left))
            except Rejected:
                if not wait or left <= _WAIT_SECONDS:
                    raise
            await asyncio.sleep(_WAIT_SECONDS)

    async def events(
        self, *, account: Reader | None = None, since: int = 0, deadline: float = DEADLINE_SECONDS
    ) -> tuple[ContractEvent, ...]:
        """Return the events that `account` can open and the public ones, of entries after number `since`, in order.

        Events of an earlier key epoch than the present one are sealed under a key that is gone: of those, only the
        public ones are returned.

        Raises:
            ProofInvalid: the node leaves results out.
            KeepholdError: as `query`.
        """
        ends = asyncio.get_running_loop().time() + deadline
        key, epoch = b"", 0
        try:
            async with within(ends):
                while account is not None:
                    epoch = (await self.verified()).epoch
                    key = await self.query(EVENT_KEY.name, account=account, deadline=deadline)
                    if (await self.verified()).epoch == epoch:
                        break
                log = EventLog(self._connection.follower, self.id, (await self.abi()).events)
                return await log.read(SecretBytes(key) if key else None, epoch, since)
        except TimeoutError:
            raise DeadlineExceeded(f"the results were not read within {deadline:g} s") from None

    async def _ask(self, method: str, arguments: bytes, account: Reader) -> Reply:
        connection = self._connection
        verified = await self.verified()
        self._turn += 1
        worker = verified.vouchers[self._turn % len(verified.vouchers)].registration
        answer_key = SecretBytes.random(_KEY_SIZE)
        floor = connection.submissions.acknowledged
        body = QueryBody(
            network=connection.network,
            contract=self.id,
            epoch=verified.epoch,
            instance=worker.instance,
            reader=account.reader,
            method=method,
            arguments=arguments,
            answer_key=answer_key.reveal(),
            min_height=floor,
        )
        sealed = seal_query(verified.encryption_key, account.ask(body), (await self.abi()).pad)
        try:
            envelope = await connection.gateway.query(QueryEnvelope(self.id, worker.instance, sealed))
        except DeadlineExceeded as error:  # it is attached, and cut off or stuck; another one may not be
            raise NoLiveWorker(f"worker {worker.identity.hex()[:16]}: {error}") from error
        if not envelope.sealed:
            raise NoLiveWorker(f"worker {worker.identity.hex()[:16]}: {envelope.unavailable or 'no answer'}")
        # (1) The answer to this question, by the contract: nobody else has the answer key.
        try:
            answer = open_answer(answer_key, connection.network, self.id, request_digest(sealed), envelope.sealed)
        except (SealBroken, EncodingError):
            connection.gateway.leave()
            raise NoLiveWorker("what came back is not an answer to this question") from None
        # (2) Not older than this client's own doing.
        if answer.epoch != verified.epoch or answer.height < floor:
            raise StaleAnswer(f"answered from height {answer.height}, asked for {floor}")
        # (3) From a block of this chain.
        if await connection.follower.header_hash(answer.height + 1) != answer.header_hash:
            raise HeaderInvalid(f"the worker answers from another chain at height {answer.height}")
        return answer.reply
