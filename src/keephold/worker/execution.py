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
of it counts. How entries are run, and what becomes of crashes, is in `running`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from keephold.base.errors import CryptoError, EncodingError, LedgerRefused
from keephold.base.ids import PublicKey
from keephold.base.limits import MESSAGE_CREDIT
from keephold.contract.address import Address
from keephold.crypto.hashing import number as as_bytes
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import room
from keephold.protocol.messages import Reply
from keephold.protocol.transactions import Call, open_signed
from keephold.runtime.outcome import CallRequest
from keephold.sealing.call import CallContext, open_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.answering import ByReceipt, Filler, Repetition
from keephold.worker.code import ContractCode
from keephold.worker.inbox import Entry
from keephold.worker.letters import Consumed, OpenedLetter, line_needed, lines_of, open_letter, peers_of
from keephold.worker.mail import Lacking, Mail
from keephold.worker.reading import Reading
from keephold.worker.results import Built, Drafting, Position, Taken
from keephold.worker.running import Executor, Run, Task
from keephold.worker.state import nonce_key

MOST_RESULTS: Final = 8
"""Results of one job. What is left of its batch is the next one's: so a batch whose calls write much is never in memory
as a whole, and its results, which end where the budget says, are the same ones."""

_SILENT: Final = Reply("failed")


class OpenedCall(NamedTuple):
    """An entry that passed the checks of `open_entry`."""

    entry: Entry
    sender: PublicKey
    nonce: int
    request: CallRequest
    reply_key: SecretBytes


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


def _unread(entry: Entry, answering: Filler | Repetition) -> Task:
    return Task(Taken(entry, answering, {}, 0), None, _SILENT)


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
        drafting = Drafting(self.keys, self.code, self.mail, self.start)
        run = Run(self._open(), Reading(self.start.state, self.code, self.owned), self.code, executor)
        for task, outcome in run:
            if outcome is not None:
                peers = peers_of(task.taken.entry, outcome)
                lacking |= self.mail.lacking(lines_of(self.keys, self.mail, peers), peers)
            if lacking:
                continue  # whom else it lacks is worth finding out at once
            if outcome is None:
                drafting.add_unread(task.taken, task.reply)
            else:
                drafting.add(task.taken, outcome)
            if len(drafting.built) == MOST_RESULTS:
                run.stop()
        return lacking or (drafting.built if run.is_stopped else drafting.finish())

    def _open(self) -> Iterator[Task]:
        """Yield the entries, judged."""
        used: dict[PublicKey, int] = {}
        consumed = Consumed(self.start.state)

        def lowest(sender: PublicKey) -> int:
            return used[sender] if sender in used else self.start.state.next_nonce(sender)

        for entry in self.entries:
            if entry.letter is not None:
                yield self._letter(entry, open_letter(self.keys.contract, entry.letter, self.mail, consumed))
                continue
            try:
                call = open_entry(self.keys, self.code, entry)
            except (EncodingError, LedgerRefused, CryptoError):
                yield _unread(entry, Filler())
                continue
            # (4) For the first time. Outside the `try`: a state that does not open is not the sender's fault.
            if call.nonce < lowest(call.sender):
                yield _unread(entry, Repetition(call.reply_key))
                continue
            used[call.sender] = call.nonce + 1
            own = {nonce_key(call.sender): as_bytes(call.nonce + 1)}
            taken = Taken(entry, ByReceipt(call.reply_key), own, MESSAGE_CREDIT)
            yield Task(taken, call.request, _SILENT)

    def _letter(self, entry: Entry, opened: OpenedLetter) -> Task:
        taken = Taken(entry, opened.answering, opened.own, opened.credit)
        if opened.told is None:
            return Task(taken, None, opened.reply or _SILENT)
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
        return Task(taken, request, _SILENT)
