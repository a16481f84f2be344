"""A contract's state as its worker holds it: sealed slots in a map that proves its root, plaintext only when read.

A state is immutable; writing makes another one that shares what did not change. So a result can build on an
unconfirmed one, a question can read the proven state meanwhile, and rolling back is dropping a reference.

Keys live in spaces that cannot meet: the contract's own, and the worker's, which contract code reaches by no name. The
worker's hold the next nonce of each account, the next number of each contract that sends messages, and what own
messages wait for: so a call, a message and an answer count once *for the enclave*, whatever the rules of a colluding
ledger append again. Beside the number are the key epochs of the last message, which do not go back either. And they
hold the signatures that the contract asked for, by their topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, final

from keephold.base.errors import ProofInvalid
from keephold.base.ids import ContractId, PublicKey, SlotTag, StateRoot
from keephold.chain.sparse import SparseMap
from keephold.crypto.aead import OVERHEAD
from keephold.crypto.hashing import number as as_bytes
from keephold.crypto.padding import padded_size
from keephold.protocol.rotation import migration_page
from keephold.protocol.transactions import SlotWrite
from keephold.sealing.slot import SlotContext, SlotSealer

_OWN: Final = "c/"
_NONCE: Final = "n/"
_OUTBOX: Final = "s/"
_NUMBER: Final = "q/"
_AWAITED: Final = "m/"
_FRAMING: Final = 192
"""Bytes around a padded slot: tag, context, epoch and CBOR, rounded up. Part of the budget's definition."""
_SLOT_CBOR: Final = 24
"""Bytes of CBOR around key and value inside a slot, rounded up."""
_ID: Final = 32
_NUMBER_SIZE: Final = 8
_REMEMBERED: Final = 200_000
"""Opened slots and tags kept; beyond, they are opened again."""


Own = Mapping[str, bytes | None]
"""Changes to the worker's part of the state, by `nonce_key`, `number_key` and `awaited_key`."""


def nonce_key(sender: PublicKey) -> str:
    """Return where the next nonce of an account lies."""
    return _NONCE + sender.hex()


def number_key(source: ContractId) -> str:
    """Return where the lowest lies that a contract's next message may carry."""
    return _NUMBER + source.hex()


def outbox_key(topic: str) -> str:
    """Return where the signing request of a topic lies."""
    return _OUTBOX + topic


def awaited_key(number: int) -> str:
    """Return where a message of the contract's own lies until it is answered."""
    return f"{_AWAITED}{number:016x}"


@final
class Lowest(NamedTuple):
    """The lowest that the next message of a contract may carry."""

    number: int = 0
    source_epoch: int = 0
    target_epoch: int = 0

    def encode(self) -> bytes:
        """Return it as a slot's value."""
        return b"".join(map(as_bytes, self))

    @classmethod
    def decode(cls, raw: bytes) -> Lowest:
        """Return what `encode` made."""
        return cls(*(int.from_bytes(raw[at : at + _NUMBER_SIZE], "big") for at in range(0, len(raw), _NUMBER_SIZE)))


@final
class Awaited(NamedTuple):
    """A message that the contract sent and wants to hear of."""

    target: ContractId
    is_sealed: bool
    """Else it had no key to be sealed under, and nobody can have it."""
    handler: str

    def encode(self) -> bytes:
        """Return it as a slot's value."""
        return self.target + bytes([self.is_sealed]) + self.handler.encode()

    @classmethod
    def decode(cls, raw: bytes) -> Awaited:
        """Return what `encode` made."""
        return cls(ContractId(raw[:_ID]), bool(raw[_ID]), raw[_ID + 1 :].decode())


@final
class Opened:
    """What one contract's slots opened to, shared by all its states. Entries name the sealed bytes they came from."""

    def __init__(self, sealer: SlotSealer) -> None:
        self._sealer: Final = sealer
        self._tags: Final[dict[str, SlotTag]] = {}
        self._values: Final[dict[SlotTag, tuple[bytes, bytes]]] = {}

    def tag(self, key: str) -> SlotTag:
        """Return the tag of a key."""
        tag = self._tags.get(key)
        if tag is None:
            if len(self._tags) >= _REMEMBERED:
                self._tags.clear()
            tag = self._tags[key] = self._sealer.tag(key)
        return tag

    def value(self, tag: SlotTag, sealed: bytes) -> bytes:
        """Return the value sealed in a slot.

        Raises:
            SealBroken, EncodingError: see `SlotSealer.open`.
        """
        known = self._values.get(tag)
        if known is not None and known[0] is sealed:
            return known[1]
        value = self._sealer.open(tag, sealed).value
        self.remember(tag, sealed, value)
        return value

    def remember(self, tag: SlotTag, sealed: bytes, value: bytes) -> None:
        """Note what these very bytes open to."""
        if len(self._values) >= _REMEMBERED:
            self._values.clear()
        self._values[tag] = (sealed, value)

    def seal(self, key: str, value: bytes, context: bytes, buckets: tuple[int, ...]) -> tuple[SlotTag, bytes]:
        """Seal one slot and remember it."""
        tag, sealed = self._sealer.seal(key, value, context, buckets)
        self.remember(tag, sealed, value)
        return tag, sealed


@final
class ContractState:
    """One version of a contract's state. A `StateReader` of the contract's own keys; threads may read it."""

    __slots__ = ("_opened", "_slots")

    def __init__(self, slots: SparseMap, opened: Opened) -> None:
        self._slots: Final = slots
        self._opened: Final = opened

    @property
    def slots(self) -> SparseMap:
        """The sealed slots."""
        return self._slots

    @property
    def root(self) -> StateRoot:
        """Root of the sealed slots."""
        return StateRoot(self._slots.root)

    def get(self, key: str) -> bytes | None:
        """Return the value under one of the contract's own keys.

        Raises:
            SealBroken, EncodingError: the slot was not sealed by this contract in this epoch.
        """
        return self._read(_OWN + key)

    def asked(self, topic: str) -> bytes | None:
        """Return the signing request under a topic.

        Raises:
            SealBroken, EncodingError: as `get`.
        """
        return self._read(outbox_key(topic))

    def next_nonce(self, sender: PublicKey) -> int:
        """Return the lowest nonce that a call of this sender may carry."""
        raw = self._read(nonce_key(sender))
        return 0 if raw is None else int.from_bytes(raw, "big")

    def lowest(self, source: ContractId) -> Lowest:
        """Return the lowest that the next message of this contract may carry."""
        raw = self._read(number_key(source))
        return Lowest() if raw is None else Lowest.decode(raw)

    def awaited(self, number: int) -> Awaited | None:
        """Return the contract's own message of this number, while it waits for an answer."""
        raw = self._read(awaited_key(number))
        return None if raw is None else Awaited.decode(raw)

    def write(
        self,
        values: Mapping[str, bytes | None],
        own: Own,
        context: SlotContext,
        buckets: tuple[int, ...],
    ) -> tuple[tuple[SlotWrite, ...], ContractState]:
        """Return the slot writes of a result, sorted by tag, and the state after them.

        Deleting what is not there is no write.
        """
        digest = context.digest()
        changed: dict[SlotTag, bytes] = {}
        for key, value in {**{_OWN + key: value for key, value in values.items()}, **own}.items():
            if value is None:
                tag = self._opened.tag(key)
                if self._slots.get(tag) is not None:
                    changed[tag] = b""
            else:
                tag, sealed = self._opened.seal(key, value, digest, buckets)
                changed[tag] = sealed
        writes = tuple(SlotWrite(tag, changed[tag]) for tag in sorted(changed))
        return writes, self.apply(writes)

    def apply(self, writes: Iterable[SlotWrite]) -> ContractState:
        """Return the state after writes that somebody sealed."""
        slots = self._slots.update((write.tag, write.value or None) for write in writes)
        return ContractState(slots, self._opened)

    def migrate(self, cursor: bytes, to_epoch: int, writes: Iterable[SlotWrite]) -> ContractState:
        """Return the state after a page that somebody sealed anew; it is read no more until `under` the new keys."""
        page = migration_page(self._slots, cursor, to_epoch)
        changes = [(tag, None) for tag, _ in page.slots] + [(write.tag, write.value) for write in writes]
        return ContractState(self._slots.update(changes), self._opened)

    def under(self, opened: Opened) -> ContractState:
        """Return the same slots, read with the keys of another epoch."""
        return ContractState(self._slots, opened)

    def _read(self, key: str) -> bytes | None:
        tag = self._opened.tag(key)
        sealed = self._slots.get(tag)
        return None if sealed is None else self._opened.value(tag, sealed)


def slot_size(key: str, value: bytes | None, buckets: tuple[int, ...]) -> int:
    """Return what a write counts towards a result's budget: an upper bound that depends on lengths alone."""
    return own_size(_OWN + key, value, buckets)


def own_size(key: str, value: bytes | None, buckets: tuple[int, ...]) -> int:
    """Return the same for a key of either space, as `Own` has it."""
    if value is None:
        return _FRAMING
    inner = len(key.encode()) + len(value) + _SLOT_CBOR
    return padded_size(inner, buckets) + OVERHEAD + _FRAMING


def downloaded(root: StateRoot, slots: Iterable[tuple[bytes, bytes]], opened: Opened) -> ContractState:
    """Return the state whose slots a node handed out.

    Raises:
        ProofInvalid: together they do not hash to the proven root.
    """
    try:
        state = ContractState(SparseMap.of(slots), opened)
    except ValueError as error:
        raise ProofInvalid(f"slots: {error}") from error
    if state.root != root:
        raise ProofInvalid("the slots are not those of the proven state root")
    return state
