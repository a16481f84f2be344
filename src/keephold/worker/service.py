"""The worker's shell: follows its roster, hosts the contracts on it, fetches their keys, answers questions.

It opens no listening socket of any family. It ends, and its keys with its memory, when another instance of its identity
is registered (`Superseded`), or when its lease lapsed: whoever starts it again starts with nothing but its identity.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, final

from keephold.base.errors import (
    ChainRefused,
    KeepholdError,
    LedgerRefused,
    NoLiveWorker,
    ProofInvalid,
    RollbackDetected,
    UnavailableError,
)
from keephold.base.ids import ContractId, Height, InstanceId, TransactionId
from keephold.crypto.secret import SecretBytes
from keephold.enclave.session import Session
from keephold.enclave.tasks import run_together
from keephold.follower.admission import Admissions
from keephold.follower.remote import Gateway
from keephold.follower.view import VerifiedBlock
from keephold.protocol.codec import decode
from keephold.protocol.lines import ChannelLine, KeyLine, SigningLine
from keephold.protocol.marks import Mark
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Roster, committee_path, contract_path, roster_path
from keephold.protocol.transactions import (
    Call,
    KeyRelease,
    KeyRequest,
)
from keephold.protocol.wire import AnswerEnvelope, Interest, QueryEnvelope
from keephold.runtime.cache import CompiledGuest
from keephold.worker.attach import Line
from keephold.worker.fetching import KeyFetcher
from keephold.worker.floors import reaches
from keephold.worker.hosted import Hosted, Trusted
from keephold.worker.inbox import Ordering
from keephold.worker.lane import Lane
from keephold.worker.lineage import Vote, vote_of
from keephold.worker.marks import Marks
from keephold.worker.newest import Newest
from keephold.worker.results import Position
from keephold.worker.witnesses import transaction_of

_LOG: Final = logging.getLogger("keephold.worker")

Calls = dict[ContractId, list[tuple[TransactionId, bytes]]]
Votes = dict[ContractId, list[Vote]]


@final
class Worker:
    """One worker on one session. `run` never returns; it raises what `Session.run` raises."""

    def __init__(self, session: Session, gateways: Sequence[Gateway], guest: CompiledGuest) -> None:
        """Prepare; the guest's hash was compared with the genesis'."""
        self._session: Final = session
        self._gateways: Final = tuple(gateways)
        self._guest: Final = guest
        self._fetcher: Final = KeyFetcher(session, self._keyed, self._reaches, self._put_back)
        self._hosted: Final[dict[ContractId, Hosted]] = {}
        self._instance: InstanceId | None = None
        self._assigned: frozenset[ContractId] = frozenset()
        self._halted: Final[dict[ContractId, KeepholdError]] = {}
        self._marks: Final = Marks(session.vault)
        self._newest: Final = Newest()
        self._trusted: Final = Trusted(Admissions(session.follower), self._marks, self._newest)
        self._roster: Final = roster_path(session.identity)
        self._tasks: Final[set[asyncio.Task[None]]] = set()
        self._refused: LedgerRefused | None = None
        self._broken: Final[list[asyncio.Task[None]]] = []
        self._break: Final = asyncio.Event()
        self._ending: list[Lane] = []

    @property
    def contracts(self) -> tuple[ContractId, ...]:
        """Contracts hosted now."""
        return tuple(self._hosted)

    async def run(self) -> None:
        """Follow, host, answer: for ever.

        Raises:
            EnclaveError, LedgerRefused, ChainRefused: this process must end.
        """
        self._watch()
        lines = [Line(self._session, gateway, self.answer).run() for gateway in self._gateways]
        try:
            await run_together(
                self._session.run(self._on_block, self._paths, self._on_fresh),
                self._fetcher.run(),
                self._end_with_tasks(),
                *lines,
            )
        finally:
            await self._wipe()

    async def answer(self, envelope: QueryEnvelope, instance: InstanceId) -> AnswerEnvelope:
        """Answer one sealed question, while this enclave is fresh.

        Raises:
            NotFresh: mute.
            KeepholdError: see `Hosted.answer`.
        """
        session = self._session
        session.freshness.require(session.clock.monotonic())
        hosted = self._hosted.get(ContractId(envelope.contract))
        if hosted is None or not session.registrar.is_live:
            raise NoLiveWorker("not assigned here")
        answer = await hosted.answer(envelope, instance)
        # Looked at again after every wait: the window may have closed meanwhile.
        session.freshness.require(session.clock.monotonic())
        return answer

    # --- verified blocks ---

    def _paths(self) -> tuple[bytes, ...]:
        return (self._roster, committee_path(), *(hosted.path for hosted in self._hosted.values()))

    def _watch(self) -> None:
        contracts = tuple(sorted(self._hosted))
        self._session.watch(Interest(paths=self._paths(), contracts=contracts, identities=(self._session.identity,)))

    def _on_fresh(self, values: dict[bytes, bytes | None], height: int) -> None:
        header = self._session.view.header(height)
        if header is not None:
            self._learn(values, Ordering(Height(height), header.hash(), header.time_ns))
            self._go_on()

    async def _on_block(self, block: VerifiedBlock) -> None:
        session = self._session
        if session.registrar.record is not None and not session.registrar.is_live:
            raise LedgerRefused(Refusal.LEASE_LAPSED.word, "the lease ran out: this process holds keys no more")
        if session.registrar.refused is not self._refused:
            self._refused = session.registrar.refused
            _LOG.warning("registration refused: %s", self._refused)
        ordering = Ordering(block.height, block.header_hash, block.time_ns)
        # What the header proves is the state before the block's own transactions.
        self._learn(block.values, ordering)
        calls, votes = self._sort(block)
        for contract, hosted in list(self._hosted.items()):
            try:
                hosted.core.block(ordering, calls[contract], votes[contract])
            except ProofInvalid as error:
                self._halt(contract, error)
        self._go_on()
        self._marks.keep(self._positions(), session.clock.monotonic())

    def _positions(self) -> Iterator[tuple[ContractId, Position]]:
        """Yield where contracts stand: on states that this worker computed, or that verified workers signed."""
        for contract, hosted in self._hosted.items():
            if hosted.core.position is not None:
                yield contract, hosted.core.position

    def _learn(self, values: Mapping[bytes, bytes | None], ordering: Ordering) -> None:
        if committee_path() in values and self._newest.is_news(committee_path(), ordering.height):
            self._fetcher.seat(values[committee_path()])
        if self._roster in values and self._newest.is_news(self._roster, ordering.height):
            raw = values[self._roster]
            self._assigned = frozenset() if raw is None else frozenset(map(ContractId, decode(raw, Roster).contracts))
        self._host()
        for contract, hosted in list(self._hosted.items()):
            if hosted.path in values:
                try:
                    hosted.proven(values[hosted.path], ordering)
                    self._fetcher.keep(contract, hosted.core.epochs)
                except (ProofInvalid, RollbackDetected) as error:
                    self._halt(contract, error)

    def _sort(self, block: VerifiedBlock) -> tuple[Calls, Votes]:
        """Tell apart what a block orders; whether it is signed is judged where it is used."""
        calls: Calls = defaultdict(list)
        votes: Votes = defaultdict(list)
        for ordered in block.transactions:
            transaction = transaction_of(ordered.raw)
            if transaction is None:
                continue
            vote = vote_of(ordered.id, ordered.raw, transaction, block.time_ns)
            if vote is not None:
                votes[ContractId(vote.step.contract)].append(vote)
                continue
            match transaction.body:
                case Call(contract):
                    calls[ContractId(contract)].append((ordered.id, ordered.raw))
                case KeyRequest() | KeyRelease():
                    self._fetcher.observe(ordered)
                case _:
                    pass
        return calls, votes

    def _host(self) -> None:
        """Bring what is hosted in step with the roster; nothing before this process is registered."""
        if self._session.registrar.record is None:
            return
        wanted = self._assigned - self._halted.keys()
        for contract in self._hosted.keys() - wanted:
            _LOG.info("contract %s: not assigned any more", contract.hex()[:16])
            self._end(contract)
        for contract in wanted - self._hosted.keys():
            _LOG.info("contract %s: assigned", contract.hex()[:16])
            self._hosted[contract] = self._hosting(contract)
            self._spawn(self._introduce(contract))
        for contract in self._halted.keys() - self._assigned:
            del self._halted[contract]
        self._watch()
        instance = self._session.instance.id
        if instance != self._instance:
            self._instance = instance
            for hosted in self._hosted.values():
                hosted.core.renew(instance)

    def _hosting(self, contract: ContractId) -> Hosted:
        want, trusted = self._fetcher.want, self._trusted
        return Hosted(contract, self._session, self._guest, want, self._spawn, trusted, self._halt)

    async def _introduce(self, contract: ContractId) -> None:
        """Prove the record of a contract just assigned: on an idle chain the stream tells of it seconds later.

        Its own path only: a roster proven meanwhile may be older than the stream's. What fails here comes with a block.
        """
        path = contract_path(contract)
        with suppress(UnavailableError, ChainRefused):
            proven = await self._session.follower.prove([path])
            self._on_fresh({path: proven[path]}, proven.height)

    def _halt(self, contract: ContractId, error: KeepholdError) -> None:
        """Stop hosting a contract about which the ledger says what cannot be, until it is assigned anew."""
        _LOG.error("contract %s: halted: %s: %s", contract.hex()[:16], error.code, error)
        self._halted[contract] = error
        self._end(contract)

    def _end(self, contract: ContractId) -> None:
        hosted = self._hosted.pop(contract, None)
        if hosted is not None:
            self._fetcher.forget(contract)
            self._ending += hosted.close()

    def _go_on(self) -> None:
        for hosted in self._hosted.values():
            hosted.go_on()
        self._fetcher.want_channels(frozenset[ChannelLine]().union(*(x.core.lines for x in self._hosted.values())))
        self._fetcher.go_on()

    def _keyed(self, line: KeyLine, seed: SecretBytes) -> None:
        if isinstance(line, ChannelLine):
            for end in (line.source, line.target):
                host = self._hosted.get(ContractId(end))
                if host is not None:
                    host.line(line, seed)
                    host.go_on()
            seed.wipe()
            return
        hosted = self._hosted.get(ContractId(line.contract))
        if hosted is None:
            return
        if isinstance(line, SigningLine):
            hosted.owned(seed)
        else:
            hosted.keyed(line.epoch, seed)
        hosted.go_on()

    def _reaches(self, mark: Mark, head: int) -> bool:
        hosted = self._hosted.get(ContractId(mark.contract))
        return hosted is None or reaches(hosted.core.proven, mark, head)

    def _put_back(self, contract: ContractId, error: RollbackDetected) -> None:
        if contract in self._hosted:
            self._halt(contract, error)

    # --- tasks ---

    def _spawn(self, errand: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(errand)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._broken.append(task)
            self._break.set()

    async def _end_with_tasks(self) -> None:
        """An errand that fails in a way nobody foresaw ends the process, as any other bug does."""
        await self._break.wait()
        await self._broken[0]

    async def _wipe(self) -> None:
        """Seal where contracts stand, kill every process, drop every key, and see the threads end."""
        self._marks.keep_now(self._positions())
        for contract in tuple(self._hosted):
            self._end(contract)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        lanes, self._ending = self._ending, []
        for lane in lanes:
            await asyncio.to_thread(lane.wait_ended)
        _LOG.info("keys wiped")
