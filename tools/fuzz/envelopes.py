"""Parsers of records, and of what lies behind each seal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz.model import ANY, Parser
from fuzz.samples import record_types, sample
from keephold.base.errors import EncodingError
from keephold.base.ids import ContractId, InstanceId, NetworkId, PublicKey, SlotTag, TransactionId
from keephold.crypto import hpke, signing
from keephold.crypto.labels import SEAL_CALL, SEAL_QUERY, SEAL_RELEASE
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import AnswerEntry, MessageEntry, UndeliveredEntry, read_entry
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import (
    Answer,
    Asked,
    CallPlain,
    EventPlain,
    MessagePlain,
    QueryBody,
    ReleasePlain,
    Reply,
    SignedQuery,
)
from keephold.protocol.transactions import KeyRequest, SealedEvent, open_signed, sign
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.event import EventSealer, event_tag, open_event
from keephold.sealing.message import ChannelKey
from keephold.sealing.query import open_answer, open_query, request_digest, seal_answer, seal_query, sign_query
from keephold.sealing.receipt import open_receipt, seal_receipt
from keephold.sealing.release import ReleaseContext, open_partials
from keephold.sealing.slot import SlotContext

_NETWORK: Final = NetworkId(b"n" * 32)
_CONTRACT: Final = ContractId(b"c" * 32)
_KEYS: Final = ContractKeys(SecretBytes(b"k" * 32), _NETWORK, _CONTRACT, 1)
_SECRET: Final = SecretBytes(b"r" * 32)
_PAD: Final = (512, 4096)
_READER: Final = signing.SigningKey(SecretBytes(b"a" * 32))
_HERE: Final = CallContext(_NETWORK, _CONTRACT, 1, _READER.public, 5)
_CALL: Final = CallPlain("transfer", b'["kh1x",5]', b"r" * 32)
_REPLY: Final = Reply("ok", b"5")
_ID: Final = TransactionId(b"t" * 32)
_REQUEST: Final = request_digest(b"sealed question")
_ANSWER: Final = Answer(_REQUEST, 3, 9, b"h" * 32, 1, _REPLY)
_EVENT: Final = EventPlain("Moved", b"{}", 4)
_QUERY: Final = QueryBody(_NETWORK, _CONTRACT, 1, b"i" * 32, _READER.public, "balance", b"[]", b"q" * 32, 3)
_WORKER: Final = hpke.EncryptionKey(SecretBytes(b"w" * 32))
_RELEASE: Final = ReleaseContext(
    _NETWORK, PublicKey(b"g" * 32), PublicKey(b"w" * 32), InstanceId(b"i" * 32), TransactionId(b"q" * 32)
)
_CHANNEL: Final = ChannelKey(SecretBytes(b"l" * 32), _NETWORK, ChannelLine(_CONTRACT, 1, b"d" * 32, 2))
_ENTRIES: Final = (MessageEntry, AnswerEntry, UndeliveredEntry)
_SIGNED: Final = sign(_NETWORK, _READER, 1, KeyRequest(b"i" * 32, ()))
_TAG, _SLOT = _KEYS.slots.seal("balances/alice", b"5", SlotContext(4, b"p" * 32, b"h" * 32, b"b" * 32).digest(), _PAD)
_TAGGED: Final = event_tag(_SECRET, _EVENT.entry, 0)


def _record(kind: type[Record]) -> Parser:
    name = f"record-{kind.__module__.rpartition('.')[2]}-{kind.__qualname__}"
    return Parser(name, lambda raw: decode(raw, kind), EncodingError, (encode(sample(kind)),), encode)  # type: ignore[arg-type]  # what `decode` returned


def _inside(name: str, open_: Callable[[bytes], object], seal: Callable[[bytes], bytes], record: Record) -> Parser:
    """Return a parser of the plaintext behind a seal that anybody can make: a public key is enough."""
    return Parser(f"inside-{name}", lambda raw: open_(seal(raw)), ANY, (encode(record),))


def _sealed_call(raw: bytes) -> bytes:
    return hpke.seal(_KEYS.encryption.public, pad(raw, _PAD), SEAL_CALL, *_HERE.parts())


def _sealed_query(raw: bytes) -> bytes:
    return hpke.seal(_KEYS.encryption.public, pad(raw, _PAD), SEAL_QUERY, _NETWORK, _CONTRACT, (1).to_bytes(8, "big"))


def _sealed_release(raw: bytes) -> bytes:
    return hpke.seal(_WORKER.public, raw, SEAL_RELEASE, *_RELEASE)


PARSERS: Final = (
    *(_record(kind) for kind in record_types()),
    Parser("padding", unpad, EncodingError, (pad(b"plain", _PAD),)),
    Parser(
        "transaction",
        lambda raw: open_signed(raw, _NETWORK),
        ANY,
        (_SIGNED,),
    ),
    Parser(
        "call", lambda raw: open_call(_KEYS, _HERE, raw), ANY, (seal_call(_KEYS.encryption.public, _HERE, _CALL, _PAD),)
    ),
    _inside("call", lambda raw: open_call(_KEYS, _HERE, raw), _sealed_call, _CALL),
    Parser(
        "receipt",
        lambda raw: open_receipt(_SECRET, _NETWORK, _CONTRACT, 1, _ID, raw),
        ANY,
        (seal_receipt(_KEYS, _SECRET, _ID, _REPLY, _PAD),),
    ),
    Parser(
        "query",
        lambda raw: open_query(_KEYS, raw),
        ANY,
        (seal_query(_KEYS.encryption.public, sign_query(_READER, _QUERY), _PAD),),
    ),
    _inside("query", lambda raw: open_query(_KEYS, raw), _sealed_query, Asked(SignedQuery(_QUERY, b"s" * 64))),
    Parser(
        "answer",
        lambda raw: open_answer(_SECRET, _NETWORK, _CONTRACT, _REQUEST, raw),
        ANY,
        (seal_answer(_SECRET, _KEYS, _ANSWER, _PAD),),
    ),
    Parser(
        "event",
        lambda raw: open_event(_SECRET, SealedEvent(_TAGGED, raw)),
        ANY,
        (EventSealer(_SECRET).seal(_EVENT, 0, _PAD).sealed,),
    ),
    Parser("inbox-entry", read_entry, EncodingError, tuple(encode(sample(kind)) for kind in _ENTRIES)),
    Parser(
        "message",
        lambda raw: _CHANNEL.open_message(1, raw),
        ANY,
        (_CHANNEL.seal_message(1, MessagePlain("collect", b"[]"), _PAD),),
    ),
    Parser("message-answer", lambda raw: _CHANNEL.open_answer(1, raw), ANY, (_CHANNEL.seal_answer(1, _REPLY, _PAD),)),
    Parser("slot", lambda raw: _KEYS.slots.open(SlotTag(_TAG), raw), ANY, (_SLOT,)),
    _inside("release", lambda raw: open_partials(_WORKER, _RELEASE, raw), _sealed_release, sample(ReleasePlain)),
)
