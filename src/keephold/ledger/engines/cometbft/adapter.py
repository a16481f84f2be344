"""ABCI 2.0 becomes `engines.base.Application`: one request in, its response out. No I/O, no thread of its own.

1. **Bad input is answered, never thrown.** To CometBFT an `Exception` is no reply: the node stops. It is what this
   module lets happen when going on would be wrong: another protocol version, another network's genesis, a disk that
   fails. Whatever a transaction contains ends in a code.
2. **Durable at Commit, not before.** CometBFT replays what was finalized and not committed; of an application that is
   ahead of its blocks it dies.
3. **An answer selects its member and its status**, for zero is UNKNOWN, over which CometBFT panics.
4. **`code` and `data` of a result are consensus** (gas stays 0); `log` is for people, events are not used.
5. **A recheck is a new check.** Commit forgets the standing that waiting transactions gave their senders; then CometBFT
   asks for each that still waits, in order, and each is admitted anew. One that was ordered meanwhile has to leave the
   mempool, so it gets a code though nothing is wrong with it: `ORDERED`.
6. **A snapshot is the application's** (`engines.statesync`): this module only spells what it says. What is restored
   is told to the observer, because the blocks before it will never come by.

Vote extensions stay off: once enabled they cannot be disabled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, final

from keephold.base.errors import ConfigurationError, InputError
from keephold.chain.validators import ValidatorSet
from keephold.ledger.engines.base import Admission, Application, Block, Offence
from keephold.ledger.engines.cometbft import messages
from keephold.ledger.engines.cometbft.messages import ABCI_VERSION, ACCEPT, REJECT, Message, answer
from keephold.ledger.engines.statesync import Snapshot, Snapshots, Taken

ORDERED: Final = 1 << 16
"""Code of a transaction that needs not wait because a block has it; above all codes of the application."""

PROOF: Final = "keephold:map"
"""Type of the only proof operator of a query: `chain.sparse.MapProof`, under the app hash in the next header."""

_UNKNOWN_QUERY: Final = 1
_PREFIX: Final = 5
"""Bytes at most that protobuf adds to each transaction of a block: a tag, and a length below 2**28."""


@dataclass(frozen=True, slots=True)
class Founding:
    """What CometBFT's genesis has to state."""

    chain_id: str
    time_ns: int
    """Of block 1, whose time CometBFT takes from its genesis: later than the application's own genesis time."""
    validators: ValidatorSet


class Observer(Protocol):
    """Who wants to know what passes by. Called on the connections' threads; must not block."""

    def checked(self, raw: bytes, admission: Admission) -> None:
        """A transaction came into question, or did so again."""
        ...

    def finalized(self, block: Block) -> None:
        """A block is being applied."""
        ...

    def committed(self, height: int) -> None:
        """A block's effects are durable."""
        ...

    def restored(self) -> None:
        """The application has a state that no block of ours led to."""
        ...

    def retained(self) -> int:
        """Return the lowest height whose block CometBFT has to keep for us; 0: all."""
        ...


@final
class Adapter:
    """Answers the requests of all connections. Any thread may call `answer`.

    Two locks, as two of the connections work at a time: consensus, and the mempool's checks. A check meets a finished
    commit or none, never half a one.
    """

    def __init__(self, application: Application, founding: Founding, observer: Observer, snapshots: Snapshots) -> None:
        self._application: Final = application
        self._snapshots: Final = snapshots
        self._founding: Final = founding
        self._observer: Final = observer
        self._consensus: Final = threading.Lock()
        self._pool: Final = threading.Lock()
        self._finalized: Block | None = None
        self._handlers: Final[dict[str, Callable[[Message], Message]]] = {
            "echo": lambda request: answer("echo", message=request.message),
            "flush": lambda _: answer("flush"),
            "info": self._info,
            "init_chain": self._init_chain,
            "query": self._query,
            "check_tx": self._check_tx,
            "prepare_proposal": self._prepare_proposal,
            "process_proposal": self._process_proposal,
            "extend_vote": lambda _: answer("extend_vote"),
            "verify_vote_extension": lambda _: answer("verify_vote_extension", status=ACCEPT),
            "finalize_block": self._finalize_block,
            "commit": lambda _: self._commit(),
            "list_snapshots": lambda _: self._list_snapshots(),
            "offer_snapshot": self._offer_snapshot,
            "load_snapshot_chunk": self._load_snapshot_chunk,
            "apply_snapshot_chunk": self._apply_snapshot_chunk,
        }

    def answer(self, request: Message) -> Message:
        """Return the response to a request that selects a member.

        Raises:
            ConfigurationError: this CometBFT, or its genesis, is not ours.
            Exception: the application failed; CometBFT must stop.
        """
        kind = request.WhichOneof("value")
        return self._handlers[kind](getattr(request, kind))

    def check(self, raw: bytes) -> Admission:
        """Return the application's word on a transaction, before any block."""
        self._application.inspect(raw)
        with self._pool:
            return self._application.check(raw)

    # --- any connection ---

    def _info(self, request: Message) -> Message:
        if request.abci_version != ABCI_VERSION:
            raise ConfigurationError(
                f"cometbft: ABCI {request.abci_version or 'unnamed'} is not {ABCI_VERSION}; install a v0.38 or v0.39"
            )
        info = self._application.info()
        return answer("info", data="keephold", last_block_height=info.height, last_block_app_hash=info.app_hash)

    def _query(self, request: Message) -> Message:
        try:
            found = self._application.query(request.path, bytes(request.data), request.height)
        except InputError as error:
            height = self._application.info().height
            return answer("query", code=_UNKNOWN_QUERY, log=str(error), key=request.data, height=height)
        response = answer("query", key=found.key, value=found.value, height=found.height)
        if request.prove:
            response.query.proof_ops.ops.add(type=PROOF, key=found.key, data=found.proof)
        return response

    # --- the mempool's connection ---

    def _check_tx(self, request: Message) -> Message:
        raw = bytes(request.tx)
        admission = self.check(raw)
        self._observer.checked(raw, admission)
        code = admission.code
        if admission.height:
            code = code or ORDERED
        return answer("check_tx", code=code, log=admission.detail)

    # --- the consensus connection ---

    def _init_chain(self, request: Message) -> Message:
        expected = self._founding
        if request.chain_id != expected.chain_id:
            raise ConfigurationError(f"cometbft: its genesis is of chain {request.chain_id!r}, not of this network")
        if messages.time_ns(request.time) != expected.time_ns or request.initial_height != 1:
            raise ConfigurationError("cometbft: its genesis has another time or first height than this network's")
        powers = {bytes(update.pub_key.ed25519): update.power for update in request.validators}
        if powers != {item.public_key: item.power for item in expected.validators.validators}:
            raise ConfigurationError("cometbft: its genesis has other validators than this network's")
        response = answer("init_chain", app_hash=self._application.info().app_hash)
        for validator in expected.validators.validators:
            _add_update(response.init_chain.validators, validator.public_key, validator.power)
        return response

    def _prepare_proposal(self, request: Message) -> Message:
        raws = tuple(map(bytes, request.txs))
        with self._consensus, self._pool:
            chosen = self._application.prepare(raws, request.max_tx_bytes - _PREFIX * len(raws))
        response = answer("prepare_proposal")
        response.prepare_proposal.txs.extend(chosen)
        return response

    def _process_proposal(self, request: Message) -> Message:
        with self._consensus:
            well_formed = self._application.process(tuple(map(bytes, request.txs)))
        return answer("process_proposal", status=ACCEPT if well_formed else REJECT)

    def _finalize_block(self, request: Message) -> Message:
        block = Block(
            request.height,
            messages.time_ns(request.time),
            bytes(request.hash),
            tuple(map(bytes, request.txs)),
            tuple(map(_offence, request.misbehavior)),
        )
        with self._consensus:
            finalized = self._application.finalize(block)
            self._finalized = block
        if len(finalized.outcomes) != len(block.transactions):
            raise ValueError("the application answers another number of transactions")
        response = answer("finalize_block", app_hash=finalized.app_hash)
        body = response.finalize_block
        for outcome in finalized.outcomes:
            body.tx_results.add(code=outcome.code, data=outcome.data, log=outcome.detail)
        for update in finalized.validator_updates:
            _add_update(body.validator_updates, update.public_key, update.power)
        self._observer.finalized(block)
        return response

    def _commit(self) -> Message:
        with self._consensus, self._pool:
            block, self._finalized = self._finalized, None
            if block is None:
                raise ValueError("commit without a finalized block")
            self._application.commit()
            self._application.recheck(())
        self._observer.committed(block.height)
        return answer("commit", retain_height=self._observer.retained())

    # --- the snapshot connection ---

    def _list_snapshots(self) -> Message:
        response = answer("list_snapshots")
        for item in self._snapshots.list():
            response.list_snapshots.snapshots.add(
                height=item.height, format=item.format, chunks=item.chunks, hash=item.hash, metadata=item.metadata
            )
        return response

    def _load_snapshot_chunk(self, request: Message) -> Message:
        chunk = self._snapshots.load(request.height, request.format, request.chunk)
        return answer("load_snapshot_chunk", chunk=chunk)

    def _offer_snapshot(self, request: Message) -> Message:
        said = request.snapshot
        snapshot = Snapshot(said.height, said.format, said.chunks, bytes(said.hash), bytes(said.metadata))
        offered = self._snapshots.offer(snapshot, bytes(request.app_hash))
        return answer("offer_snapshot", result=messages.OFFERED[offered])

    def _apply_snapshot_chunk(self, request: Message) -> Message:
        with self._consensus, self._pool:
            applied = self._snapshots.apply(request.index, bytes(request.chunk))
        response = answer("apply_snapshot_chunk", result=messages.TAKEN[applied])
        if applied is Taken.REFETCH:
            response.apply_snapshot_chunk.refetch_chunks.append(request.index)
            response.apply_snapshot_chunk.reject_senders.append(request.sender)
        self._observer.restored()
        return response


def _offence(said: Message) -> Offence:
    """Return a misbehaviour that CometBFT has verified; a kind of later versions keeps its number."""
    kind = messages.OFFENCES.get(said.type, f"offence_{said.type}")
    return Offence(kind, bytes(said.validator.address), said.height, messages.time_ns(said.time), said.validator.power)


def _add_update(updates: Message, public_key: bytes, power: int) -> None:
    update = updates.add(power=power)
    update.pub_key.ed25519 = public_key
