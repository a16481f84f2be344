"""A sealed event: from a contract to one recipient.

Sealed under a key of its own for each (contract, recipient, epoch). The tag is a PRF of inbox index and position
under that key: the recipient computes it and looks it up, without trying to open what is not his; nobody else can
tell two recipients' events apart.

An event to everybody has the same form under a key that everybody can compute: it is as public as it was meant to be.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.ids import ContractId, NetworkId
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.kdf import mac
from keephold.crypto.labels import EVENT_PUBLIC, EVENT_TAG, SEAL_EVENT
from keephold.crypto.opaque import Opaque
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import EventPlain
from keephold.protocol.transactions import SealedEvent

TAG_SIZE = 16
"""Bytes of an event's tag."""


def public_event_key(network: NetworkId, contract: ContractId, epoch: int) -> SecretBytes:
    """Return the key of a contract's events to everybody: no secret."""
    return SecretBytes(tagged_hash(EVENT_PUBLIC, network, contract, number(epoch)))


def event_tag(event_key: SecretBytes, entry: int, position: int) -> bytes:
    """Return the tag of the recipient's event number `position` (from 0) of inbox entry `entry`."""
    return mac(event_key, EVENT_TAG, number(entry), number(position))[:TAG_SIZE]


@final
class EventSealer(Opaque):
    """Seals events of one contract to one recipient in one epoch; its keys are derived once."""

    __slots__ = ("_key", "_sealer")

    def __init__(self, event_key: SecretBytes) -> None:
        self._key: Final = event_key
        self._sealer: Final = ContextSealer(event_key, SEAL_EVENT)

    def seal(self, plain: EventPlain, position: int, buckets: tuple[int, ...]) -> SealedEvent:
        """Return one event; `position` counts, from 0, those of its entry to this recipient."""
        tag = event_tag(self._key, plain.entry, position)
        return SealedEvent(tag, self._sealer.seal(pad(encode(plain), buckets), tag))


def open_event(event_key: SecretBytes, event: SealedEvent) -> EventPlain:
    """Return the event.

    Raises:
        SealBroken: another recipient's, another contract's, or altered.
    """
    return decode(unpad(ContextSealer(event_key, SEAL_EVENT).open(event.sealed, event.tag)), EventPlain)
