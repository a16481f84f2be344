"""From outcomes to results: deterministic, so that every assigned worker yields identical bytes.

Everything random-looking in a result is a function of the contract's key and of what is ordered: receipts of reply key
and call, events of recipient, entry and position, slots of the result's own context. Sizes depend on lengths and the
contract's buckets alone, so a result ends at the same entry everywhere.

Every call that opens writes one slot, its sender's next nonce, rejected or not; every message the next number of its
source; every message that is sent and wants an answer a slot that goes with the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple, final

from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.base.limits import (
    MAX_BATCH,
    MAX_CALL_OUTPUT,
    MAX_EVENTS,
    MAX_RECEIPT,
    MAX_SLOT_VALUE,
    MAX_WRITES,
    RESULT_BUDGET,
)
from keephold.contract.address import Address
from keephold.contract.check import line_text
from keephold.contract.keys import DIGEST
from keephold.crypto.aead import OVERHEAD
from keephold.crypto.padding import padded_size
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import Message, message_number, room
from keephold.protocol.codec import encode
from keephold.protocol.messages import EventPlain, KeyName, Reply, SigningRequest
from keephold.protocol.transactions import Result, SealedEvent
from keephold.runtime.outcome import Outcome
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.event import EventSealer, public_event_key
from keephold.sealing.slot import SlotContext
from keephold.worker.answering import Answering, Filler, Repetition, Silence, seal_reply
from keephold.worker.code import ContractCode
from keephold.worker.inbox import Entry
from keephold.worker.letters import plain_of, seal_messages, target_of
from keephold.worker.mail import Mail
from keephold.worker.state import Awaited, ContractState, Own, awaited_key, outbox_key, own_size, slot_size

_EVENT_FRAMING: Final = 64
"""Bytes around a padded event: its tag and CBOR, rounded up. Part of the budget's definition."""
MAX_SEALED_SLOT: Final = 2 * MAX_SLOT_VALUE
"""Bytes of one slot, sealed and padded, that the ledger's rules take."""
_MESSAGE_FRAMING: Final = 128
"""Bytes around a padded message: target, epoch and CBOR, rounded up."""
_MAX_NAME: Final = 256
_RECIPIENTS: Final = 4096
"""Addresses whose account is remembered."""

TOO_LARGE: Final = Outcome(status="failed", detail="the call's receipt, writes, events and messages exceed the limits")
"""What a call comes to whose output no result can carry."""

NOTHING: Final = Outcome(status="failed")
"""What an entry comes to that nothing runs for."""


class Position(NamedTuple):
    """Where a contract stands: how much of its inbox is consumed, and what that led to."""

    done: int
    version: int
    state: ContractState


@dataclass(frozen=True, slots=True)
class Built:
    """One result and the position it leads to."""

    result: Result
    after: Position

    @property
    def last(self) -> int:
        """Index of the last entry consumed."""
        return self.result.first + self.result.count - 1


def reply_of(outcome: Outcome, code: ContractCode) -> Reply:
    """Return what the caller is told."""
    match outcome.status:
        case "ok":
            return Reply("ok", outcome.value_json.encode())
        case "rejected":
            return Reply("rejected", code=outcome.code, detail=outcome.detail)
        case "failed" if code.tells_failures:
            where = f"line {outcome.line}: " if outcome.line else ""
            shown = line_text(code.source, outcome.line)
            return Reply("failed", detail=f"{where}{outcome.detail}{f' (in: {shown})' if shown else ''}")
        case "failed":
            return Reply("failed")


class Taken(NamedTuple):
    """An entry that was opened: how it is answered, and what it changes whatever its execution comes to."""

    entry: Entry
    answering: Answering
    own: Own
    credit: int

    @property
    def room(self) -> int:
        """How many messages it may send."""
        return room(self.credit, is_answered=self.entry.wants_answer)


def output_of(outcome: Outcome, code: ContractCode, taken: Taken) -> Outcome:
    """Return the outcome, or `TOO_LARGE`, at the method's line, where a result could not carry it."""
    too_large = replace(TOO_LARGE, line=outcome.line)
    try:
        events = list(_events(outcome, taken.entry))
        cost = _Cost.of(reply_of(outcome, code), outcome, events, code, taken)
    except (ValueError, UnicodeEncodeError):  # an audience or text that the sandbox should not have let through
        return too_large
    if len(outcome.messages) > taken.room:
        return too_large
    return outcome if cost.is_within(MAX_CALL_OUTPUT, MAX_RECEIPT) else too_large


@final
class Drafting:
    """Collects a batch's entries into results, ending each where the budget says."""

    def __init__(self, keys: ContractKeys, code: ContractCode, mail: Mail, start: Position) -> None:
        self._keys: Final = keys
        self._code: Final = code
        self._mail: Final = mail
        self._at = start
        self._draft = _Draft()
        self._built: Final[list[Built]] = []
        self._sealers: Final[dict[PublicKey | None, EventSealer]] = {}
        """By recipient, None for everybody: they recur within a batch, and are forgotten with it."""

    def add_unread(self, taken: Taken, reply: Reply) -> None:
        """Consume an entry that nothing runs for."""
        cost = _Cost.of(reply, NOTHING, [], self._code, taken)
        self._make_room(cost)
        receipt = seal_reply(taken.answering, self._keys, taken.entry, reply, self._code.buckets)
        self._draft.take(taken.entry, receipt, cost)
        self._draft.own.update(taken.own)

    def add(self, taken: Taken, outcome: Outcome) -> None:
        """Consume an executed entry; `outcome` passed `output_of`, and the mail knows what its messages need."""
        entry = taken.entry
        events = list(_events(outcome, entry))
        reply = reply_of(outcome, self._code)
        cost = _Cost.of(reply, outcome, events, self._code, taken)
        self._make_room(cost)
        receipt = seal_reply(taken.answering, self._keys, entry, reply, self._code.buckets)
        self._draft.take(entry, receipt, cost)
        self._draft.writes.update(outcome.writes)
        self._draft.own.update(taken.own)
        asked = signing_requests(outcome, self._code)
        self._draft.own.update({outbox_key(topic): request for topic, request in asked.items()})
        for event in events:
            self._draft.events.append(self._sealed(event))
        messages, awaited = seal_messages(self._keys, self._code, self._mail, entry, outcome)
        self._draft.messages += messages
        self._draft.own.update(awaited)

    @property
    def built(self) -> tuple[Built, ...]:
        """The results that have ended."""
        return tuple(self._built)

    def finish(self) -> tuple[Built, ...]:
        """End the last result; return all."""
        self._end()
        return self.built

    def _sealed(self, event: _Event) -> SealedEvent:
        sealer = self._sealers.get(event.recipient)
        if sealer is None:
            sealer = self._sealers[event.recipient] = EventSealer(self._event_key(event.recipient))
        return sealer.seal(event.plain, event.position, self._code.buckets)

    def _event_key(self, recipient: PublicKey | None) -> SecretBytes:
        keys = self._keys
        if recipient is None:
            return public_event_key(keys.network, keys.contract, keys.epoch)
        return keys.event_key(recipient)

    def _make_room(self, cost: _Cost) -> None:
        draft = self._draft
        if draft.entries and not ((draft.cost + cost).is_within(RESULT_BUDGET) and len(draft.entries) < MAX_BATCH):
            self._end()

    def _end(self) -> None:
        draft, start = self._draft, self._at
        if not draft.entries:
            return
        last = draft.entries[-1]
        context = SlotContext(start.version, start.state.root, last.head, last.ordering.header_hash)
        writes, state = start.state.write(draft.writes, draft.own, context, self._code.buckets)
        result = Result(
            contract=self._keys.contract,
            epoch=self._keys.epoch,
            first=start.done + 1,
            count=len(draft.entries),
            head=last.head,
            version=start.version,
            pre_root=start.state.root,
            root=state.root,
            receipts=tuple(draft.receipts),
            writes=writes,
            events=tuple(draft.events),
            messages=tuple(draft.messages),
        )
        self._at = Position(last.index, start.version + 1, state)
        self._built.append(Built(result, self._at))
        self._draft = _Draft()


class _Event(NamedTuple):
    recipient: PublicKey | None
    """None: everybody."""
    plain: EventPlain
    position: int
    """Among this entry's events for this recipient."""


@lru_cache(_RECIPIENTS)
def _recipient(text: str) -> PublicKey:
    """Return whom an address in an audience names; the same few are told again and again.

    Raises:
        ValueError: no address.
    """
    return PublicKey(Address.parse(text).value)


def _events(outcome: Outcome, entry: Entry) -> Iterator[_Event]:
    positions: Counter[PublicKey | None] = Counter()
    for emitted in outcome.events:
        if len(emitted.name) > _MAX_NAME:
            raise ValueError("an event's name")
        plain = EventPlain(emitted.name, emitted.body_json.encode(), entry.index)
        for text in (None,) if emitted.audience == "public" else emitted.audience:
            recipient = None if text is None else _recipient(text)
            yield _Event(recipient, plain, positions[recipient])
            positions[recipient] += 1


def signing_requests(outcome: Outcome, code: ContractCode) -> dict[str, bytes]:
    """Return what is kept of each signature asked for, by topic.

    Raises:
        ValueError: a key that the contract does not declare, no digest, or a reader who is no account: an execution
            process that lets these through is broken.
    """
    kept: dict[str, bytes] = {}
    for requested in outcome.releases:
        readers = [Address.parse(text) for text in requested.readers]
        if any(reader.kind != "account" for reader in readers):
            raise ValueError("a signature is released to accounts")
        if (requested.key.label, requested.key.scheme) not in code.keys:
            raise ValueError("the interface declares no such key")
        if requested.key.scheme != "ed25519" and len(requested.message) != DIGEST:
            raise ValueError("no digest")
        key = KeyName(requested.key.scheme, requested.key.label, requested.key.path)
        request = SigningRequest(key, requested.message, tuple(reader.value for reader in readers))
        kept[requested.topic] = encode(request)
    return kept


def _receipt_size(answering: Answering, reply: Reply, buckets: tuple[int, ...]) -> int:
    match answering:
        case Silence():
            return 0
        case Filler() | Repetition():
            return padded_size(0, buckets) + OVERHEAD
        case _:
            return padded_size(len(encode(reply)), buckets) + OVERHEAD


class _Cost(NamedTuple):
    """What an entry counts towards the limits, before anything is sealed."""

    receipt: int = 0
    writes: int = 0
    events: int = 0
    """With messages."""
    count_writes: int = 0
    count_events: int = 0
    widest: int = 0
    """Of all slots."""

    @classmethod
    def of(cls, reply: Reply, outcome: Outcome, events: list[_Event], code: ContractCode, taken: Taken) -> _Cost:
        buckets = code.buckets
        sizes = [slot_size(key, value, buckets) for key, value in outcome.writes.items()]
        own = [own_size(key, value, buckets) for key, value in taken.own.items()]
        asked = signing_requests(outcome, code)
        own += [own_size(outbox_key(topic), request, buckets) for topic, request in asked.items()]
        first = awaited_key(message_number(taken.entry.index, 0))
        awaited = [
            Awaited(target_of(item), is_sealed=True, handler=item.handler) for item in outcome.messages if item.handler
        ]
        own += [own_size(first, item.encode(), buckets) for item in awaited]
        # What one event tells to several is encoded once: they share the record.
        told = {id(event.plain): event.plain for event in events}
        lengths = {at: padded_size(len(encode(plain)), buckets) for at, plain in told.items()}
        sealed = sum(lengths[id(event.plain)] + OVERHEAD + _EVENT_FRAMING for event in events)
        sealed += sum(
            padded_size(len(encode(plain_of(item))), buckets) + OVERHEAD + _MESSAGE_FRAMING for item in outcome.messages
        )
        widest = max(sizes, default=0)
        receipt = _receipt_size(taken.answering, reply, buckets)
        return cls(receipt, sum(sizes) + sum(own), sealed, len(sizes) + len(own), len(events), widest)

    def __add__(self, other: object) -> _Cost:
        if not isinstance(other, _Cost):
            return NotImplemented
        return _Cost(
            self.receipt + other.receipt,
            self.writes + other.writes,
            self.events + other.events,
            self.count_writes + other.count_writes,
            self.count_events + other.count_events,
            max(self.widest, other.widest),
        )

    def is_within(self, budget: int, receipt: int = RESULT_BUDGET) -> bool:
        total = self.receipt + self.writes + self.events
        return (
            total <= budget
            and self.receipt <= receipt
            and self.count_writes <= MAX_WRITES
            and self.count_events <= MAX_EVENTS
            and self.widest <= MAX_SEALED_SLOT
        )


@dataclass(slots=True)
class _Draft:
    entries: list[Entry] = field(default_factory=list)
    receipts: list[bytes] = field(default_factory=list)
    writes: dict[str, bytes | None] = field(default_factory=dict)
    own: dict[str, bytes | None] = field(default_factory=dict)
    events: list[SealedEvent] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    cost: _Cost = field(default_factory=_Cost)

    def take(self, entry: Entry, receipt: bytes, cost: _Cost) -> None:
        self.entries.append(entry)
        self.receipts.append(receipt)
        self.cost = self.cost + cost
