"""Entries that no account signed: messages of other contracts, answers to own ones, and own ones that went nowhere.

The ledger's word is not enough for any of them. Numbered as in `open_letter`:

1. A message opens under the key of its line, in its place: an enclave of its source, or of this contract, made it.
2. Its number is higher than the last that was consumed from this source, and neither of its key epochs lower, by the
   contract's own sealed record. So none is executed twice, and one that validators put behind its successor not at
   all. And who was excluded from either contract, and kept the key of a line of its past, makes no message any more
   that is run, once one of a later epoch was: from one message of a contract to its next, no epoch goes down.
3. An answer is to a message that this contract sent and waits for, by its sealed record, and opens in that message's
   place. The record goes with the first answer: there is no second.
4. That a message went nowhere is believed of those alone that this contract sealed nothing for.

What fails is consumed without a trace in the state. A message that fails 1 or 2 gets filler for an answer: were its
sender told in earnest that nothing was done, a message shown twice would be undone by the answer to its copy. One that
passes both is answered whatever comes of it, also when it is shed or holds no text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, final

from keephold.base.errors import EncodingError, SealBroken
from keephold.base.ids import ContractId
from keephold.contract.address import Address
from keephold.contract.text import Json, canonical
from keephold.protocol.channel import (
    AnswerEntry,
    InboxEntry,
    Message,
    MessageEntry,
    UndeliveredEntry,
    line_of,
    message_number,
)
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import MessagePlain, Reply
from keephold.runtime.outcome import Outcome, Posted
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.message import ChannelKey
from keephold.worker.answering import Answering, ByAnswer, Filler, Silence
from keephold.worker.code import ContractCode
from keephold.worker.inbox import Entry
from keephold.worker.mail import Mail, PeerAt
from keephold.worker.state import Awaited, ContractState, Lowest, Own, awaited_key, number_key

_REASONS: Final = {"busy": "busy", "unreadable": "unreadable"}


class Told(NamedTuple):
    """What the sandbox runs for a letter."""

    sender: str
    """Address text of the contract at the other end."""
    is_reply: bool
    method: str
    arguments: str


class OpenedLetter(NamedTuple):
    """A letter, judged."""

    answering: Answering
    own: Own
    """What it changes in the worker's part of the state, whatever its execution comes to."""
    told: Told | None
    """None: nothing runs."""
    reply: Reply | None = None
    """What is answered where nothing runs."""
    credit: int = 0


@final
class Consumed:
    """What the entries of one batch consumed before each other."""

    def __init__(self, state: ContractState) -> None:
        self._state: Final = state
        self._lowest: Final[dict[ContractId, Lowest]] = {}
        self._answered: Final[set[int]] = set()

    def is_fresh(self, letter: MessageEntry) -> bool:
        """Take a message's number and epochs, if nothing of its source that came after it was taken before."""
        source = ContractId(letter.source)
        lowest = self._lowest[source] if source in self._lowest else self._state.lowest(source)
        found = Lowest(letter.number, letter.source_epoch, letter.target_epoch)
        if any(carried < least for carried, least in zip(found, lowest, strict=True)):
            return False
        self._lowest[source] = found._replace(number=letter.number + 1)
        return True

    def lowest(self, source: ContractId) -> Lowest:
        """Return the lowest that the next message of a source may carry, from which one was taken."""
        return self._lowest[source]

    def awaited(self, number: int) -> Awaited | None:
        """Return the own message of this number, while it waits for an answer."""
        return None if number in self._answered else self._state.awaited(number)

    def answer(self, number: int) -> None:
        """Note that it waits no more."""
        self._answered.add(number)


def line_needed(contract: ContractId, entry: Entry) -> ChannelLine | None:
    """Return the line whose key a letter needs to be opened."""
    letter = entry.letter
    return None if letter is None else line_of(contract, letter)


def open_letter(contract: ContractId, letter: InboxEntry, mail: Mail, consumed: Consumed) -> OpenedLetter:
    """Return what a letter asks for; `mail` holds the key of its line.

    Raises:
        SealBroken: a slot of the state does not open.
    """
    line = line_of(contract, letter)
    key = None if line is None else mail.key(line)
    match letter:
        case MessageEntry() if key is not None:
            return _message(letter, key, consumed)
        case AnswerEntry() if key is not None:
            return _answer(letter, key, consumed)
        case UndeliveredEntry():
            return _undelivered(letter, consumed)
        case _:
            return OpenedLetter(Silence(), {}, None)


def _message(letter: MessageEntry, key: ChannelKey, consumed: Consumed) -> OpenedLetter:
    source = ContractId(letter.source)
    forged = OpenedLetter(Filler() if letter.is_answered else Silence(), {}, None)
    # (1) An enclave of the two contracts made it for this place.
    try:
        plain = key.open_message(letter.number, letter.sealed)
        text: str | None = plain.arguments.decode()
    except SealBroken:
        return forged
    except (EncodingError, UnicodeDecodeError):
        plain, text = MessagePlain("", b""), None
    # (2) For the first time, and in order.
    if not consumed.is_fresh(letter):
        return forged
    own: Own = {number_key(source): consumed.lowest(source).encode()}
    answering: Answering = ByAnswer(key, letter.number) if letter.is_answered else Silence()
    if letter.is_shed or text is None:
        return OpenedLetter(answering, own, None, Reply("failed", code="busy" if letter.is_shed else "unreadable"))
    told = Told(Address.contract(source).text, False, plain.method, text)
    return OpenedLetter(answering, own, told, credit=letter.credit)


def _answer(letter: AnswerEntry, key: ChannelKey, consumed: Consumed) -> OpenedLetter:
    # (3) To a message that waits, from where that went, in its place.
    awaited = consumed.awaited(letter.number)
    if awaited is None or not awaited.is_sealed or awaited.target != letter.target:
        return OpenedLetter(Silence(), {}, None)
    try:
        reply = key.open_answer(letter.number, letter.sealed)
    except SealBroken:
        return OpenedLetter(Silence(), {}, None)
    return _handled(letter.number, awaited, _told(letter.number, reply), letter.credit, consumed)


def _undelivered(letter: UndeliveredEntry, consumed: Consumed) -> OpenedLetter:
    # (4) Nothing was sealed, so nothing can have arrived.
    awaited = consumed.awaited(letter.number)
    if awaited is None or awaited.is_sealed:
        return OpenedLetter(Silence(), {}, None)
    told: Json = {"number": letter.number, "status": "failed", "reason": "unknown_contract"}
    return _handled(letter.number, awaited, canonical(told), letter.credit, consumed)


def _handled(number: int, awaited: Awaited, arguments: str, credit: int, consumed: Consumed) -> OpenedLetter:
    consumed.answer(number)
    sender = Address.contract(awaited.target).text
    told = Told(sender, True, awaited.handler, arguments)
    return OpenedLetter(Silence(), {awaited_key(number): None}, told, credit=credit)


def _told(number: int, reply: Reply) -> str:
    """Return a reply as the handler's arguments; its value stays text, which the contract's own code judges."""
    match reply.outcome:
        case "ok":
            try:
                return canonical({"number": number, "status": "ok", "value": reply.value.decode()})
            except UnicodeDecodeError:
                return canonical({"number": number, "status": "failed", "reason": "unreadable"})
        case "rejected":
            return canonical({"number": number, "status": "rejected", "code": reply.code, "detail": reply.detail})
        case "failed" | "refused":
            reason = _REASONS.get(reply.code, "failed")
            return canonical({"number": number, "status": "failed", "reason": reason})


def peers_of(entry: Entry, outcome: Outcome) -> list[PeerAt]:
    """Return whose key epochs have to be known for what an entry sends."""
    return [PeerAt(target_of(posted), entry.ordering.height) for posted in outcome.messages]


def lines_of(keys: ContractKeys, mail: Mail, peers: Sequence[PeerAt]) -> list[ChannelLine]:
    """Return the lines of messages to these contracts, as far as their epochs are known and there are any."""
    return [
        ChannelLine(keys.contract, keys.epoch, peer.contract, epoch) for peer in peers if (epoch := mail.epoch(peer))
    ]


def target_of(posted: Posted) -> ContractId:
    """Return where a message goes.

    Raises:
        ValueError: no address, which the sandbox should not have let through.
    """
    return ContractId(Address.parse(posted.target).value)


def plain_of(posted: Posted) -> MessagePlain:
    """Return a message as it is sealed."""
    return MessagePlain(posted.method, posted.args_json.encode())


def seal_messages(
    keys: ContractKeys, code: ContractCode, mail: Mail, entry: Entry, outcome: Outcome
) -> tuple[list[Message], Own]:
    """Return what an entry sends, and what the state keeps of it until it is answered.

    `mail` holds the keys of all lines: a message without one goes to a contract that never had an epoch.
    """
    messages: list[Message] = []
    own: dict[str, bytes | None] = {}
    for position, (posted, peer) in enumerate(zip(outcome.messages, peers_of(entry, outcome), strict=True)):
        number = message_number(entry.index, position)
        epoch = mail.epoch(peer) or 0
        key = mail.key(ChannelLine(keys.contract, keys.epoch, peer.contract, epoch)) if epoch else None
        sealed = b"" if key is None else key.seal_message(number, plain_of(posted), code.buckets)
        messages.append(Message(entry.index, peer.contract, epoch, sealed, bool(posted.handler)))
        if posted.handler:
            own[awaited_key(number)] = Awaited(peer.contract, bool(sealed), posted.handler).encode()
    return messages, own
