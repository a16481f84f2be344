"""Messages between contracts: what an accepted result says goes into the other inboxes, in the same transaction.

The rules cannot read a message, and do not judge it: whether it is authentic is for the enclaves that open it. What
they see to is that nothing arrives but what an accepted result carried, that each answer goes back to where its message
came from, and that what follows from one account's call is bounded (`protocol.channel.share`).

A message always arrives if its target ever had keys, whatever the target's phase and however full its inbox: who
refuses it is the target's own enclave (`is_shed`). So a sender learns of a failure only from an enclave of the target,
or because its own enclave sealed nothing; never on the word of validators, who could deliver what they say they did
not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from keephold.base.ids import ContractId
from keephold.base.limits import MAX_INBOX_BACKLOG, MAX_SEALED_CALL, MESSAGE_CREDIT
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import Appended, BlockContext, refused
from keephold.ledger.rules.inbox import append_letter
from keephold.protocol.channel import (
    AnswerEntry,
    Channel,
    Draining,
    EpochRecord,
    InboxEntry,
    LetterRecord,
    Message,
    MessageEntry,
    UndeliveredEntry,
    line_of,
    message_number,
    room,
    share,
    wants_answer,
)
from keephold.protocol.lines import ChannelLine
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Batch, ContractRecord, channel_path, contract_path, epoch_path, letter_path
from keephold.protocol.transactions import Result


class _Means(NamedTuple):
    """What an entry may lead to."""

    credit: int
    is_answered: bool
    """By an entry in another inbox."""


_CALL: Final = _Means(MESSAGE_CREDIT, is_answered=False)


def letters_of(state: Overlay, batch: Batch, result: Result) -> dict[int, InboxEntry]:
    """Return the entries that a result consumes and no account signed, by index."""
    contract = ContractId(result.contract)
    found: dict[int, InboxEntry] = {}
    for index in batch.letters:
        record = state.find(letter_path(contract, index), LetterRecord)
        if record is not None and index < result.first + result.count:
            found[index] = record.entry
    return found


def check(letters: Mapping[int, InboxEntry], result: Result) -> None:
    """Refuse messages or answers that no honest worker's result has: `result_malformed`."""
    # (1) An answer for each message that wants one; nothing for the other entries that no account signed.
    for index, letter in letters.items():
        if bool(result.receipts[index - result.first]) != wants_answer(letter):
            raise refused(Refusal.RESULT_MALFORMED, "one answer for each message that wants one")
    # (2) In order, each from an entry of this result, to another contract, bounded, sealed if its target has keys.
    entries = [message.entry for message in result.messages]
    if entries != sorted(entries) or not all(0 <= entry - result.first < result.count for entry in entries):
        raise refused(Refusal.RESULT_MALFORMED, "messages in the order of this result's entries")
    for message in result.messages:
        if message.target == result.contract or len(message.sealed) > MAX_SEALED_CALL:
            raise refused(Refusal.RESULT_MALFORMED, f"to another contract, at most {MAX_SEALED_CALL} bytes")
        if bool(message.sealed) != bool(message.target_epoch):
            raise refused(Refusal.RESULT_MALFORMED, "a message is sealed if its target has an epoch")
    # (3) No more than what its entry's credit allows.
    for entry, sent in Counter(entries).items():
        means = _means(letters, entry)
        if sent > room(means.credit, is_answered=means.is_answered):
            raise refused(Refusal.RESULT_MALFORMED, "more messages than follow from one call")


def carry(
    state: Overlay, block: BlockContext, letters: Mapping[int, InboxEntry], result: Result
) -> tuple[Appended, ...]:
    """Append what an accepted result sends and answers; what it consumed waits and drains no more."""
    contract = ContractId(result.contract)
    for index, letter in letters.items():
        state.delete(letter_path(contract, index))
        line = line_of(contract, letter)
        if line is not None:
            _drain(state, line, -1)
    sent = Counter(message.entry for message in result.messages)
    appended: list[Appended] = []
    for number, message in _numbered(result):
        means = _means(letters, message.entry)
        credit = share(means.credit, sent[message.entry], is_answered=means.is_answered)
        appended += _send(state, block, result, message, number, credit)
    for index, letter in letters.items():
        if isinstance(letter, MessageEntry) and letter.is_answered:
            credit = share(letter.credit, sent[index], is_answered=True)
            epochs = (letter.source_epoch, letter.target_epoch)
            answer = AnswerEntry(contract, *epochs, letter.number, credit, result.receipts[index - result.first])
            appended.append(_post(state, block, ContractId(letter.source), answer))
    return tuple(appended)


def _means(letters: Mapping[int, InboxEntry], index: int) -> _Means:
    letter = letters.get(index)
    return _CALL if letter is None else _Means(letter.credit, wants_answer(letter))


def _numbered(result: Result) -> Iterator[tuple[int, Message]]:
    positions: Counter[int] = Counter()
    for message in result.messages:
        yield message_number(message.entry, positions[message.entry]), message
        positions[message.entry] += 1


def _send(
    state: Overlay, block: BlockContext, result: Result, message: Message, number: int, credit: int
) -> list[Appended]:
    source, target = ContractId(result.contract), ContractId(message.target)
    record = state.find(contract_path(target), ContractRecord)
    begun = message.target_epoch and state.find(epoch_path(target, message.target_epoch), EpochRecord)
    if record is not None and begun:
        entry = MessageEntry(
            source=source,
            source_epoch=result.epoch,
            target_epoch=message.target_epoch,
            number=number,
            credit=credit,
            sealed=message.sealed,
            is_answered=message.is_answered,
            is_shed=record.inbox_count - record.done >= MAX_INBOX_BACKLOG,
        )
        return [_post(state, block, target, entry)]
    if not message.is_answered:
        return []
    return [_post(state, block, source, UndeliveredEntry(target, number, max(0, credit - 1)))]


def _post(state: Overlay, block: BlockContext, receiver: ContractId, entry: InboxEntry) -> Appended:
    line = line_of(receiver, entry)
    if line is not None:
        _drain(state, line, 1)
    return append_letter(state, block, receiver, entry)


def _drain(state: Overlay, line: ChannelLine, step: int) -> None:
    path = channel_path(ContractId(line.source), ContractId(line.target))
    counts = state.get(path, Channel()).counts()
    epochs = (line.source_epoch, line.target_epoch)
    counts[epochs] = counts.get(epochs, 0) + step
    waiting = tuple(Draining(*key, count) for key, count in sorted(counts.items()) if count)
    if waiting:
        state.put(path, Channel(waiting))
    else:
        state.delete(path)
