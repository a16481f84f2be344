"""A sealed message from one contract to another, and its sealed answer.

Under the key of their line: a threshold PRF of both contracts, both epochs and the direction, which only enclaves of
workers assigned to one of the two are told. So a message that opens was made by an enclave of the sender *or of the
receiver*, and an answer likewise: whoever broke a worker of the receiver can show the receiver messages that the sender
never sent, if the validators append them; towards other contracts he can do nothing, for theirs are other lines.

Bound in: network, both contracts, both epochs, the message's number, and by the label whether it is the message or its
answer. So neither can be replayed to another contract, turned round, or put in another's place. That one number is
taken once is the receiver's to check: its sealed state holds the last one.

Deterministic, because results are: the nonce is a PRF of the context (`crypto.aead`). A context recurs when the same
entry is executed again. On the same state it yields the same bytes; on another, after a fork of the ledger or a result
that was refused, two plaintexts may come under one nonce, and AES-GCM-SIV then shows whether they are equal, no more.

Padded to the buckets of the contract that *makes* it, message and answer alike: its author declared which sizes of its
data may show, and its enclaves need not know the other's code.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import EncodingError
from keephold.base.ids import NetworkId
from keephold.crypto import labels
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number as as_bytes
from keephold.crypto.kdf import derive
from keephold.crypto.opaque import Opaque
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import MessagePlain, Reply


@final
class ChannelKey(Opaque):
    """Seals and opens what one contract sends another in one pair of key epochs, and what goes back for it."""

    __slots__ = ("_answers", "_bound", "_messages", "line")

    def __init__(self, seed: SecretBytes, network: NetworkId, line: ChannelLine) -> None:
        """Derive the key of a line from its 32-byte seed."""
        self.line: Final = line
        self._bound: Final = (
            network,
            line.source,
            as_bytes(line.source_epoch),
            line.target,
            as_bytes(line.target_epoch),
        )
        key = derive(seed, labels.KEY_CHANNEL, *self._bound)
        self._messages: Final = ContextSealer(key, labels.SEAL_MESSAGE)
        self._answers: Final = ContextSealer(key, labels.SEAL_MESSAGE_ANSWER)

    def seal_message(self, number: int, plain: MessagePlain, buckets: tuple[int, ...]) -> bytes:
        """Return message `number` of the source, padded to one of its buckets."""
        return self._messages.seal(pad(encode(plain), buckets), *self._bound, as_bytes(number))

    def open_message(self, number: int, sealed: bytes) -> MessagePlain:
        """Return message `number`.

        Raises:
            SealBroken: no enclave of the two contracts made it for this place, or it was altered.
            EncodingError: one did, but it is no message.
        """
        return decode(unpad(self._messages.open(sealed, *self._bound, as_bytes(number))), MessagePlain)

    def seal_answer(self, number: int, reply: Reply, buckets: tuple[int, ...]) -> bytes:
        """Return the answer to message `number`, padded to one of the target's buckets."""
        return self._answers.seal(pad(encode(reply), buckets), *self._bound, as_bytes(number))

    def open_answer(self, number: int, sealed: bytes) -> Reply:
        """Return the answer to message `number`.

        Raises:
            SealBroken: as `open_message`, or it is no answer: nothing may follow from it.
        """
        plain = self._answers.open(sealed, *self._bound, as_bytes(number))
        try:
            return decode(unpad(plain), Reply)
        except EncodingError:
            return Reply("failed", code="unreadable")
