"""A sealed event: from a contract to one recipient.

Sealed under a key of its own for each (contract, recipient, epoch). The tag is a PRF of inbox index and position
under that key: the recipient computes it and looks it up, without trying to open what is not his; nobody else can
tell two recipients' events apart.
"""

from __future__ import annotations

from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number
from keephold.crypto.kdf import mac
from keephold.crypto.labels import EVENT_TAG, SEAL_EVENT
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import EventPlain
from keephold.protocol.transactions import SealedEvent

TAG_SIZE = 16
"""Bytes of an event's tag."""


def event_tag(event_key: SecretBytes, entry: int, position: int) -> bytes:
    """Return the tag of the recipient's event number `position` (from 0) of inbox entry `entry`."""
    return mac(event_key, EVENT_TAG, number(entry), number(position))[:TAG_SIZE]


def seal_event(event_key: SecretBytes, plain: EventPlain, position: int, buckets: tuple[int, ...]) -> SealedEvent:
    """Return one event for one recipient."""
    tag = event_tag(event_key, plain.entry, position)
    return SealedEvent(tag, ContextSealer(event_key, SEAL_EVENT).seal(pad(encode(plain), buckets), tag))


def open_event(event_key: SecretBytes, event: SealedEvent) -> EventPlain:
    """Return the event.

    Raises:
        SealBroken: another recipient's, another contract's, or altered.
    """
    return decode(unpad(ContextSealer(event_key, SEAL_EVENT).open(event.sealed, event.tag)), EventPlain)
