"""Executing one batch: entries are opened, run in order, and become results. No I/O but the executor's; no clock.

What reaches the sandbox, numbered as in `open_entry` and `Job`:

1. The sender's signature over the signed transaction is checked here, whatever the ledger says: validators that all
   collude can reorder, delay or refuse a call, but they cannot write one.
2. It is a call to this contract in this epoch.
3. It opens under the contract's key in exactly its context: network, contract, epoch, sender, nonce.
4. Its nonce was not used before, by the contract's own sealed record of it.

An entry that fails any of 1 to 3 is consumed as unreadable: no state changes, and its receipt is filler of the
commonest size. Nobody outside can tell it from a rejected call. One that fails 4 was appended twice by a ledger that
breaks its rules: it changes nothing either, and its receipt, of the same size, tells the caller alone that the answer
is another one. What other contracts' results carried is judged in `letters`.

A job may need keys of lines, or other contracts' epochs, that are not here: it then says which (`Lacking`), and nothing
of it counts.

Crashes. A process that dies during a batch says nothing about who killed it. So each entry is then run alone, in a
fresh process after each death; an entry that dies alone twice is consumed as failed. A host can kill processes at will
and so make calls fail, as it can refuse to run them: it learns nothing, and no state changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, final

from keephold.base.errors import CryptoError, EncodingError, ExecutionCrashed, LedgerRefused
from keephold.base.ids import PublicKey
from keephold.base.limits import MESSAGE_CREDIT
from keephold.contract.address import Address
from keephold.crypto.hashing import number as as_bytes
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import room
from keephold.protocol.messages import Reply
from keephold.protocol.transactions import Call, open_signed
from keephold.runtime.outcome import CallRequest, KeyName, Outcome, StateReader
from keephold.sealing.call import CallContext, open_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.answering import ByReceipt, Filler, Repetition
from keephold.worker.code import ContractCode
from keephold.worker.inbox import Entry
from keephold.worker.letters import Consumed, OpenedLetter, line_needed, lines_of, open_letter, peers_of
from keephold.worker.mail import Lacking, Mail
from keephold.worker.reading import Reading
from keephold.worker.results import Built, Drafting, Position, Taken, output_of
from keephold.worker.state import nonce_key

CRASHED: Final = Outcome(status="failed", detail="the execution process died twice")
"""What an entry comes to that kills its process, alone, twice."""

_SILENT: Final = Reply("failed")
_ATTEMPTS: Final = 2
_CAREFUL: Final = 8
"""Entries run at once after one's output was refused: those behind it have to be run again."""


class Executor(Protocol):
    """Runs calls of one contract; blocks."""

    def execute(self, calls: Sequence[CallRequest], store: StateReader) -> Sequence[Outcome]:
        """Run transactions in order, each seeing what those before it wrote.

        Raises:
            ExecutionCrashed: the process is gone; nothing of this batch counts.
        """
        ...

    def restart(self) -> None:
        """Replace the process.

        Raises:
            ExecutionCrashed: no process can be had: nothing was executed, and nothing is consumed.
        """
        ...


class OpenedCall(NamedTuple):
    """An entry that passed the checks of `open_entry`."""

    entry: Entry
    sender: PublicKey
    nonce: int
    request: CallRequest
    reply_key: SecretBytes


class _Task(NamedTuple):
    """An entry, judged."""

    taken: Taken
    request: CallRequest | None
    """None: nothing runs."""
    reply: Reply
    """What is answered then."""


@lru_cache(maxsize=65536)
def account_text(account: bytes) -> str:
    """Return the address text of an account."""
    return Address.account(account).text


def open_entry(keys: ContractKeys, code: ContractCode, entry: Entry) -> OpenedCall:
    """Return the call in an inbox entry. That it was not executed before (4) is `Job`'s to check: the state knows.

    Args:
        keys: of the contract, at the epoch executed.
        code: of the contract.
        entry: authenticated by the inbox chain.

    Raises:
        EncodingError, CryptoError, LedgerRefused: the entry is unreadable.
    """
    # (1) The sender signed it, for this network.
    transaction = open_signed(entry.raw, keys.network)
    sender = PublicKey(transaction.sender)
    # (2) For this contract and epoch.
    body = transaction.body
    if not isinstance(body, Call) or body.contract != keys.contract or body.epoch != keys.epoch:
        raise EncodingError("not a call to this contract in this epoch")
    # (3) It opens in its context, and holds text.
    context = CallContext(keys.network, keys.contract, keys.epoch, sender, transaction.nonce)
    plain = open_call(keys, context, body.sealed)
    try:
        arguments = plain.arguments.decode()
    except UnicodeDecodeError as error:
        raise EncodingError("arguments that are no text") from error
    request = CallRequest(
        method=plain.method,
        args_json=arguments,
        sender=account_text(sender),
        creator=code.creator_text,
        contract=code.contract_text,
        height=entry.ordering.height,
        time_ns=entry.ordering.time_ns,
        seed=keys.entropy(entry.id),
        entry=entry.index,
        room=room(MESSAGE_CREDIT, is_answered=False),
    )
    return OpenedCall(entry, sender, transaction.nonce, request, SecretBytes(plain.reply_key))


def _unread(entry: Entry, answering: Filler | Repetition) -> _Task:
    return _Task(Taken(entry, answering, {}, 0), None, _SILENT)


@final
class _Overlay:
    """The state before a batch with what its earlier entries wrote: a `StateReader`."""

    __slots__ = ("_before", "values")

    def __init__(self, before: Reading) -> None:
        self._before: Final = before
        self.values: Final[dict[str, bytes | None]] = {}

    def get(self, key: str) -> bytes | None:
        return self.values[key] if key in self.values else self._before.get(key)

    def public_key(self, name: KeyName) -> bytes:
        return self._before.public_key(name)

    def add(self, writes: Mapping[str, bytes | None]) -> None:
        self.values.update(writes)


@dataclass(frozen=True, slots=True)
class Job:
    """What remains of one batch, to be executed on one state."""

    ticket: int
    """Tells the core whether it still wants the answer."""
    keys: ContractKeys
    code: ContractCode
    entries: tuple[Entry, ...]
    start: Position
    """The contract before the first entry."""
    owned: OwnedKeys | None = None
    """The keys that the contract owns; None where it declares none."""
    mail: Mail = field(default_factory=Mail)

    def run(self, executor: Executor) -> tuple[Built, ...] | Lacking:
        """Return the results of these entries, in order; more than one where the budget ends one early.

        What is missing to open or to seal a message is returned instead: then nothing was done.

        Raises:
            ExecutionCrashed: no process can be had.
            SealBroken: the state cannot be read with these keys.
        """
        needed = (line_needed(self.keys.contract, entry) for entry in self.entries)
        lacking = self.mail.lacking(line for line in needed if line is not None)
        if lacking:
            return lacking
        tasks = self._open()
        running = [(task.taken, task.request) for task in tasks if task.request is not None]
        done = self._execute(running, executor)
        peers = [
            peer for (taken, _), outcome in zip(running, done, strict=True) for peer in peers_of(taken.entry, outcome)
        ]
        lacking = self.mail.lacking(lines_of(self.keys, self.mail, peers), peers)
        if lacking:
            return lacking
        outcomes = iter(done)
        drafting = Drafting(self.keys, self.code, self.mail, self.start)
        for task in tasks:
            if task.request is None:
                drafting.add_unread(task.taken, task.reply)
            else:
                drafting.add(task.taken, next(outcomes))
        return drafting.finish()

    def _open(self) -> list[_Task]:
        used: dict[PublicKey, int] = {}
        consumed = Consumed(self.start.state)

        def lowest(sender: PublicKey) -> int:
            return used[sender] if sender in used else self.start.state.next_nonce(sender)

        opened: list[_Task] = []
        for entry in self.entries:
            if entry.letter is not None:
                opened.append(self._letter(entry, open_letter(self.keys.contract, entry.letter, self.mail, consumed)))
                continue
            try:
                call = open_entry(self.keys, self.code, entry)
            except (EncodingError, LedgerRefused, CryptoError):
                opened.append(_unread(entry, Filler()))
                continue
            # (4) For the first time. Outside the `try`: a state that does not open is not the sender's fault.
            if call.nonce < lowest(call.sender):
                opened.append(_unread(entry, Repetition(call.reply_key)))
                continue
            used[call.sender] = call.nonce + 1
            own = {nonce_key(call.sender): as_bytes(call.nonce + 1)}
            taken = Taken(entry, ByReceipt(call.reply_key), own, MESSAGE_CREDIT)
            opened.append(_Task(taken, call.request, _SILENT))
        return opened

    def _letter(self, entry: Entry, opened: OpenedLetter) -> _Task:
        taken = Taken(entry, opened.answering, opened.own, opened.credit)
        if opened.told is None:
            return _Task(taken, None, opened.reply or _SILENT)
        request = CallRequest(
            method=opened.told.method,
            args_json=opened.told.arguments,
            sender=opened.told.sender,
            creator=self.code.creator_text,
            contract=self.code.contract_text,
            height=entry.ordering.height,
            time_ns=entry.ordering.time_ns,
            seed=self.keys.entropy(entry.id),
            kind="reply" if opened.told.is_reply else "call",
            entry=entry.index,
            room=taken.room,
        )
        return _Task(taken, request, _SILENT)

    def _execute(self, calls: Sequence[tuple[Taken, CallRequest]], executor: Executor) -> list[Outcome]:
        """Return what each call comes to, each on the state that those before it really left."""
        overlay = _Overlay(Reading(self.start.state, self.code, self.owned))
        done: list[Outcome] = []
        at_once, deaths = len(calls), 0
        while len(done) < len(calls):
            part = calls[len(done) : len(done) + at_once]
            try:
                outcomes = executor.execute([request for _, request in part], overlay)
            except ExecutionCrashed:
                executor.restart()
                deaths += len(part) == 1
                at_once = 1
                if deaths < _ATTEMPTS:
                    continue
                outcomes = (CRASHED,)
            deaths = 0
            for (taken, _), told in zip(part, outcomes, strict=True):
                outcome = output_of(told, self.code, taken)
                done.append(outcome)
                overlay.add(outcome.writes)
                if outcome is not told:
                    # Those behind it ran on writes that do not count.
                    at_once = min(at_once, _CAREFUL)
                    break
        return done
