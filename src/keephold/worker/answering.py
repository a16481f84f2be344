"""How what an entry came to goes back: each way has its seal, and one that nobody can tell from the others outside."""

from __future__ import annotations

from typing import NamedTuple

from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import Reply
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.message import ChannelKey
from keephold.sealing.receipt import repeated_receipt, seal_receipt, unreadable_receipt
from keephold.worker.inbox import Entry


class ByReceipt(NamedTuple):
    """To the account that called."""

    reply_key: SecretBytes


class ByAnswer(NamedTuple):
    """To the contract that sent the message."""

    key: ChannelKey
    number: int


class Repetition(NamedTuple):
    """To the account that called, under a nonce consumed before: this entry is not the one that is answered."""

    reply_key: SecretBytes


class Filler(NamedTuple):
    """To nobody: the entry could not be read, and what looks like a receipt opens for no one."""


class Silence(NamedTuple):
    """No answer is wanted."""


Answering = ByReceipt | ByAnswer | Repetition | Filler | Silence


def seal_reply(answering: Answering, keys: ContractKeys, entry: Entry, reply: Reply, buckets: tuple[int, ...]) -> bytes:
    """Return the receipt of an entry."""
    match answering:
        case ByReceipt(reply_key):
            return seal_receipt(keys, reply_key, entry.id, reply, buckets)
        case ByAnswer(key, number):
            return key.seal_answer(number, reply, buckets)
        case Repetition(reply_key):
            return repeated_receipt(keys, reply_key, entry.id, buckets)
        case Filler():
            return unreadable_receipt(keys, entry.id, buckets)
        case Silence():
            return b""
