"""One hosted contract: carries out its core's orders, answers questions. I/O and timing; decisions are the core's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Final, final

from keephold.base.errors import (
    ChainRefused,
    ExecutionCrashed,
    KeepholdError,
    LedgerRefused,
    NoLiveWorker,
    PermitRefused,
    ProofInvalid,
    RollbackDetected,
    SandboxError,
    StaleAnswer,
    StateUnproven,
)
from keephold.base.ids import ContractId, InstanceId
from keephold.crypto.secret import SecretBytes
from keephold.enclave.outbox import Outcome
from keephold.enclave.session import Session
from keephold.follower.admission import Admissions
from keephold.protocol.codec import decode
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, SigningLine
from keephold.protocol.messages import Reply
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.wire import AnswerEnvelope, QueryEnvelope
from keephold.runtime.cache import CompiledGuest
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.message import ChannelKey
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker import downloads, permits, queries, witnesses
from keephold.worker.code import ContractCode
from keephold.worker.contract import ContractCore
from keephold.worker.execution import Job
from keephold.worker.inbox import Ordering
from keephold.worker.lane import Lane
from keephold.worker.mail import Lacking
from keephold.worker.marks import Marks
from keephold.worker.migration import MigrationJob, SealedPage
from keephold.worker.newest import Newest
from keephold.worker.orders import (
    Execute,
    FetchBatch,
    FetchCode,
    FetchKey,
    FetchPeer,
    FetchSigning,
    FetchSlots,
    FetchSteps,
    FetchVotes,
    JudgeVotes,
    LoadCode,
    Migrate,
    Order,
    Submit,
)
from keephold.worker.readable import Proven, Readable
from keephold.worker.results import Built
from keephold.worker.running import CRASHED

_LOG: Final = logging.getLogger("keephold.worker")
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_LATE: Final = frozenset({Refusal.OUT_OF_ORDER.word, Refusal.WRONG_PRE_STATE.word})
_STEP_SECONDS: Final = 5.0
"""How long a question waits for the state it asks for."""

Want = Callable[[KeyLine], None]
"""Has a line asked for."""

Spawn = Callable[[Coroutine[object, object, None]], object]
"""Starts a task that the service owns."""

Halt = Callable[[ContractId, KeepholdError], None]
"""Stops hosting a contract about which the ledger says what cannot be."""


@final
@dataclass(frozen=True, slots=True)
class Trusted:
    """What one worker's contracts share to tell whose word a state rests on."""

    admissions: Admissions
    marks: Marks
    newest: Newest


@final
class Hosted:
    """A contract assigned to this worker, with its processes. `close` ends it and drops its keys."""

    def __init__(
        self,
        contract: ContractId,
        session: Session,
        guest: CompiledGuest,
        want: Want,
        spawn: Spawn,
        trusted: Trusted,
        halt: Halt,
    ) -> None:
        self.contract: Final = contract
        self.path: Final = contract_path(contract)
        self._session: Final = session
        self._guest: Final = guest
        self._want: Final = want
        self._spawn: Final = spawn
        self._name: Final = contract.hex()[:16]
        self.core = ContractCore(contract, session.network, session.identity, session.instance.id)
        self._trusted: Final = trusted
        self._halt: Final = halt
        self._calls: Lane | None = None
        self._questions: Lane | None = None
        self._failures = 0
        self._changed = asyncio.Event()
        self._is_closed = False

    # --- verified blocks ---

    def proven(self, raw: bytes | None, ordering: Ordering) -> None:
        """Take the record that a verified header proves, unless a later one proved it before.

        Raises:
            ProofInvalid: the ledger contradicts what it proved before.
            RollbackDetected: it stands before the state that this worker sealed.
        """
        if raw is not None and self._trusted.newest.is_news(self.path, ordering.height):
            record = decode(raw, ContractRecord)
            self._trusted.marks.check(self.contract, record)
            self.core.record(Proven(record, *ordering))

    def go_on(self) -> None:
        """Carry out whatever the core orders now."""
        if self._is_closed:
            return
        for order in self.core.orders():
            if isinstance(order, Submit):
                # In order: results build on each other.
                sent = self._session.sender.submit_nowait(order.body)
                sent.add_done_callback(partial(self._sent, order))
            elif isinstance(order, FetchKey):
                self._want(ContractLine(self.contract, order.epoch))
            elif isinstance(order, FetchSigning):
                self._want(SigningLine(self.contract))
            else:
                self._spawn(self._carry_out(order))
        for line in self.core.lines:
            self._want(line)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def keyed(self, epoch: int, seed: SecretBytes) -> None:
        """Take a combined key."""
        self.core.keyed(ContractKeys(seed, self._session.network, self.contract, epoch))
        seed.wipe()
        _LOG.info("contract %s: key of epoch %d", self._name, epoch)

    def owned(self, seed: SecretBytes) -> None:
        """Take the combined seed of the keys that the contract owns."""
        self.core.owned(OwnedKeys(seed, self._session.network, self.contract))
        seed.wipe()
        _LOG.info("contract %s: signing keys", self._name)

    def line(self, line: ChannelLine, seed: SecretBytes) -> None:
        """Take the combined key of a line that this contract is an end of; the caller wipes the seed."""
        self.core.line(ChannelKey(seed, self._session.network, line))
        _LOG.info("contract %s: key of a channel", self._name)

    def _sent(self, order: Submit, sent: asyncio.Future[Outcome]) -> None:
        if sent.cancelled() or self._is_closed:
            return
        error = sent.exception()
        if error is not None:
            # Where several workers run a contract, all but one come too late, each time.
            late = isinstance(error, LedgerRefused) and error.reason in _LATE
            level = logging.DEBUG if late else logging.WARNING
            _LOG.log(level, "contract %s: %s refused: %s", self._name, type(order.body).__name__, error)
            self.core.failed(order)
            self.go_on()

    # --- orders ---

    async def _carry_out(self, order: Order) -> None:
        try:
            await self._do(order)
        except StateUnproven as error:
            self._halt(self.contract, error)
        except SandboxError as error:
            _LOG.warning("contract %s: code refused: %s", self._name, error)
            self.core.refused_code(error)
        except (KeepholdError, OSError) as error:
            _LOG.warning("contract %s: %s: %s: %s", self._name, type(order).__name__, type(error).__name__, error)
            if isinstance(error, ChainRefused):
                self._session.follower.mistrust()
            await self._fail(order)
        except Exception as error:  # noqa: BLE001 - unforeseen, but one contract's trouble must not end the others
            # Its name only: an exception's text may hold what the contract keeps.
            _LOG.error("contract %s: %s: %s", self._name, type(order).__name__, type(error).__name__)
            await self._fail(order)
        else:
            self._failures = 0
        self.go_on()

    async def _fail(self, order: Order) -> None:
        if not self._is_closed:
            await asyncio.sleep(min(_FIRST_PAUSE * 2**self._failures, _LONGEST_PAUSE))
            self._failures = min(self._failures + 1, 10)
            self.core.failed(order)

    async def _do(self, order: Order) -> None:
        match order:
            case FetchCode():
                self.core.coded(await downloads.code(self._session, self.contract))
            case LoadCode(code):
                if self._calls is None:
                    self._calls = self._lane(code, "calls")
                self.core.loaded(await self._calls.run(self._calls.start))
            case FetchVotes(backings):
                self.core.voted(order, await witnesses.named_votes(self._session.follower, backings))
            case FetchSteps(first, last):
                _LOG.error("contract %s: lost track: no result seen leads to the state of block %d", self._name, last)
                follower = self._session.follower
                self.core.voted(order, await witnesses.ordered_votes(follower, self.contract, first, last))
            case JudgeVotes(votes):
                self.core.judged(await witnesses.judge(self._trusted.admissions, votes))
            case FetchSlots():
                self.core.slots(order, await downloads.slots(self._session.follower, self.contract, order.root))
            case FetchBatch(index):
                self.core.batch(await downloads.batch(self._session.follower, self.contract, index))
            case FetchPeer(peer):
                self.core.peer(await downloads.peer(self._session.follower, peer))
            case Execute(job) if self._calls is not None:
                await self._execute(job, self._calls)
            case Migrate(job) if self._calls is not None:
                self._sealed(job, await self._calls.run(job.run))
            case _:
                raise ExecutionCrashed("no process")

    def _lane(self, code: ContractCode, what: str) -> Lane:
        """Return a new lane: of a contract that is still this worker's, or its process would outlive the keys.

        Raises:
            NoLiveWorker: it has ended here meanwhile.
        """
        if self._is_closed:
            raise NoLiveWorker("the contract has ended here")
        return Lane(self._guest, code.source, f"{what}-{self._name}")

    async def _execute(self, job: Job, lane: Lane) -> None:
        found: tuple[Built, ...] | Lacking = await lane.run(job.run, lane)
        if isinstance(found, Lacking):
            self.core.lacking(job, found)
        else:
            self.core.executed(job, found)

    def _sealed(self, job: MigrationJob, page: SealedPage) -> None:
        if page.dropped:
            _LOG.error("contract %s: %d slots that no enclave sealed are dropped", self._name, page.dropped)
        _LOG.info("contract %s: %d slots under epoch %d", self._name, len(page.migration.writes), job.new.epoch)
        self.core.migrated(job, page)

    # --- questions ---

    async def answer(self, envelope: QueryEnvelope, instance: InstanceId) -> AnswerEnvelope:
        """Return the sealed answer; see `queries`. The caller has checked that this enclave is fresh.

        Raises:
            CryptoError, EncodingError: not a question to us.
            NoLiveWorker, UnavailableError: not ready, or not in time.
        """
        question = queries.open_question(await self._ready(), instance, envelope)
        readable = await self._recent(question)
        try:
            await self._check_permit(readable, question)
        except PermitRefused as error:
            reply = queries.refusal(error)
        else:
            reply = queries.built_in(readable, question) or await self._run(readable, question)
        return queries.seal(readable, question, reply)

    async def _check_permit(self, readable: Readable, question: queries.Question) -> None:
        """Hold a permit against what the ledger proves now: no proof, no answer.

        Raises:
            PermitRefused: it does not hold.
            StaleAnswer, ChainRefused, NodeUnreachable: nothing recent is proven about it.
        """
        permit = question.permit
        if permit is not None:
            proven = await self._session.follower.prove(permits.paths(permit), question.body.min_height + 1)
            queries.check_permit(readable, question, permit, permits.standing(permit, proven))

    async def _run(self, readable: Readable, question: queries.Question) -> Reply:
        if self._questions is None:
            self._questions = self._lane(readable.code, "questions")
        lane, request = self._questions, queries.request_of(readable, question)
        try:
            outcome = await lane.run(lane.query, request, readable.reading)
        except ExecutionCrashed:
            outcome = CRASHED
        return queries.reply_to(readable, outcome)

    async def _ready(self) -> Readable:
        """Return what questions are answered from: after a start or a result of another worker, in a moment.

        Raises:
            NoLiveWorker: it takes longer.
        """
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                while (readable := self.core.readable()) is None:
                    await self._changed.wait()
        except TimeoutError:
            raise NoLiveWorker("the contract is not ready here") from None
        return readable

    async def _recent(self, question: queries.Question) -> Readable:
        """Return state at the height asked for: what is proven already, or proven for this question.

        Raises:
            StaleAnswer: it does not come in time.
        """
        is_asked = False
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                while True:
                    readable = self.core.readable()
                    if readable is not None and queries.is_recent(readable, question):
                        return readable
                    changed = self._changed
                    if is_asked:
                        await changed.wait()
                    else:
                        is_asked = True
                        found = await self._session.follower.prove([self.path], question.body.min_height + 1)
                        self._prove(found[self.path], Ordering(found.height, found.header_hash, found.time_ns))
                        self.go_on()
        except TimeoutError:
            raise StaleAnswer(f"no state proven at height {question.body.min_height}") from None

    def _prove(self, raw: bytes | None, ordering: Ordering) -> None:
        """As `proven`; what contradicts it ends the contract here.

        Raises:
            NoLiveWorker: it did.
        """
        try:
            self.proven(raw, ordering)
        except (ProofInvalid, RollbackDetected) as error:
            self._halt(self.contract, error)
            raise NoLiveWorker("the ledger's state is not followed") from error

    # --- end ---

    def close(self) -> list[Lane]:
        """Kill the processes and drop the keys; return the lanes, whose threads end in a moment."""
        self._is_closed = True
        session = self._session
        self.core = ContractCore(self.contract, session.network, session.identity, InstanceId(bytes(32)))
        lanes = [lane for lane in (self._calls, self._questions) if lane is not None]
        for lane in lanes:
            lane.kill()
        self._calls = self._questions = None
        return lanes
