"""Messages between contracts, as results carry them and inboxes hold them.

    result of A ──Message──> rules ──MessageEntry──> inbox of B ── result of B, a receipt each
                                                                        │
    inbox of A <──AnswerEntry── rules <─────────────────────────────────┘
    inbox of A <──UndeliveredEntry── rules: nothing was sealed, for the target never was active

The rules append what an accepted result says, in the same transaction, and nothing else. What is in a message only
enclaves of the two contracts can read or make (`sealing.message`); who sends to whom, when, of which size, and whether
an answer is wanted is public.

**Epochs.** A message names the key epochs it is sealed under: the sender's own, and the target's *as of the block that
ordered the entry which sent it* (`epoch_path`). So every worker of a quorum chooses the same one, however late it
executes. Neither epoch has to be open when the message arrives: while an entry sealed under a line waits in an inbox,
the line is *draining* (`Channel`) and released to workers of the contract that the entry waits for.

**Credit** bounds what may follow from one account's call: `MESSAGE_CREDIT` inbox entries in all contracts together,
answers included. Each entry divides what it has, less one for each part, evenly among the messages it sends and the
answer it owes. So a ping-pong ends by itself, and so does a fan-out; no fee and no clock is needed.
"""

from __future__ import annotations

from typing import Final, cast

from keephold.base.ids import ContractId, TransactionId
from keephold.base.limits import MAX_MESSAGES
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import ENTRY
from keephold.protocol.codec import Record, decode
from keephold.protocol.lines import ChannelLine
from keephold.protocol.types import Bytes32, Positive, Uint63

_POSITIONS: Final = 1 << 8


class Message(Record):
    """A message in the result of the contract that sends it."""

    entry: Positive
    """Inbox index of the entry that sent it."""
    target: Bytes32
    target_epoch: Uint63
    """0: the target had no key epoch then, so nothing is sealed."""
    sealed: bytes = b""
    """See `sealing.message`; empty with `target_epoch` 0 only."""
    is_answered: bool = False
    """Whether the sender wants to be told what became of it."""


class MessageEntry(Record, tag="message", tag_field="kind"):
    """A message in the inbox of its target."""

    source: Bytes32
    source_epoch: Positive
    target_epoch: Positive
    number: Uint63
    """See `message_number`; rises strictly from source to target."""
    credit: Uint63
    sealed: bytes
    is_answered: bool = False
    is_shed: bool = False
    """Too much waited when it came: it is consumed without being run, and its sender told so."""


class AnswerEntry(Record, tag="answer", tag_field="kind"):
    """What became of a message, in the inbox of its sender: the receipt of the entry at its target."""

    target: Bytes32
    """Who answers."""
    source_epoch: Positive
    """As in the message, whatever the present epochs are: it goes back under the same line."""
    target_epoch: Positive
    number: Uint63
    credit: Uint63
    sealed: bytes


class UndeliveredEntry(Record, tag="undelivered", tag_field="kind"):
    """A message went nowhere. A sender's enclave believes it of messages alone that it sealed nothing for."""

    target: Bytes32
    number: Uint63
    credit: Uint63


InboxEntry = MessageEntry | AnswerEntry | UndeliveredEntry
"""An inbox entry that no account signed."""


class LetterRecord(Record):
    """Such an entry while it waits to be consumed: the rules need what it says, and the target what is in it."""

    entry: InboxEntry


class Draining(Record):
    """How many entries sealed under a line wait in the inboxes of its two ends."""

    source_epoch: Positive
    target_epoch: Positive
    count: Positive


class Channel(Record):
    """What waits of one contract's messages to another, by epochs; absent where nothing does."""

    draining: tuple[Draining, ...] = ()

    def counts(self) -> dict[tuple[int, int], int]:
        """Return how many entries wait, by (source epoch, target epoch)."""
        return {(item.source_epoch, item.target_epoch): item.count for item in self.draining}


class EpochRecord(Record):
    """When a contract's key epoch began. Never changes; so the epoch as of any block can be proven later."""

    height: Positive
    """Of the block that made it active: it counts for entries that later blocks order."""


def id_of(raw: bytes) -> TransactionId:
    """Return the identity of an entry that no account signed, as the inbox chain holds it, from its bytes."""
    return TransactionId(tagged_hash(ENTRY, raw))


def read_entry(raw: bytes) -> InboxEntry:
    """Return the entry that no account signed which `raw` spells.

    Raises:
        EncodingError: it spells none.
    """
    return decode(raw, cast("type[MessageEntry]", InboxEntry))


def message_number(entry: int, position: int) -> int:
    """Return the number of message `position` (from 0) of a contract's inbox entry; `contract.context` agrees."""
    return entry * _POSITIONS + position


def share(credit: int, sent: int, *, is_answered: bool) -> int:
    """Return the credit of each message and answer that an entry with `credit` leads to; negative: too many."""
    parts = sent + is_answered
    return (credit - parts) // parts if parts else credit


def room(credit: int, *, is_answered: bool) -> int:
    """Return how many messages an entry may send: each must leave enough for its own answer."""
    sent = 0
    while sent < MAX_MESSAGES and share(credit, sent + 1, is_answered=is_answered) >= 1:
        sent += 1
    return sent


def line_of(receiver: ContractId, entry: InboxEntry) -> ChannelLine | None:
    """Return the line that an entry in the inbox of `receiver` is sealed under; None where nothing is sealed."""
    if isinstance(entry, MessageEntry):
        return ChannelLine(entry.source, entry.source_epoch, receiver, entry.target_epoch)
    if isinstance(entry, AnswerEntry):
        return ChannelLine(receiver, entry.source_epoch, entry.target, entry.target_epoch)
    return None


def sender_of(entry: InboxEntry) -> bytes:
    """Return the contract that an entry comes from: of what went nowhere, the one it was for."""
    return entry.source if isinstance(entry, MessageEntry) else entry.target


def wants_answer(entry: InboxEntry) -> bool:
    """Say whether an entry is a message whose sender wants to be told what became of it."""
    return isinstance(entry, MessageEntry) and entry.is_answered
