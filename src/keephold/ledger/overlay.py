"""The state that rules read and change: an immutable snapshot below, this block's changes above.

Beside the map's records there are three things that are no leaves of the map, because a digest of each is in one:
slots of contracts (their map's root is in the contract's record), attachments (bulky records whose transaction id is in
a record), and governance actions in order (their chain's head is in the governance record).

A refused transaction must change nothing. Every change goes through `_set`, which notes what was there before, so that
`rollback` restores it; rules may therefore change and check in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast, final

from keephold.chain.sparse import SparseMap
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.governance import Constitution, Enacted, Waiting

T = TypeVar("T", bound=Record)

_CACHED_RECORDS: Final = 1 << 16


@final
class RecordCache:
    """Decoded records of map values, so that a hot record is decoded once. A cache: it never decides anything.

    An entry counts only for the very bytes that it was decoded from, so one cache serves all versions and threads.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[bytes, Record]] = {}

    def get(self, path: bytes, value: bytes, kind: type[T]) -> T:
        """Return the record that `value` spells."""
        entry = self._entries.get(path)
        if entry is not None and entry[0] is value and type(entry[1]) is kind:
            return entry[1]
        record = decode(value, kind)
        self.put(path, value, record)
        return record

    def put(self, path: bytes, value: bytes, record: Record) -> None:
        """Remember that `value` spells `record`."""
        if len(self._entries) >= _CACHED_RECORDS:
            self._entries.clear()
        self._entries[path] = (value, record)

    def forget(self, path: bytes) -> None:
        """Drop what a deleted leaf spelled: a batch comes and goes with every block, and nobody reads it again."""
        self._entries.pop(path, None)


@dataclass(frozen=True, slots=True)
class Anchor:
    """A block that a quote may be younger than."""

    hash: bytes
    time_ns: int


@dataclass(frozen=True, slots=True)
class State:
    """The ledger after one block. Immutable; versions share what they have in common."""

    height: int
    """0: genesis."""
    time_ns: int
    values: SparseMap
    slots: Mapping[bytes, SparseMap]
    """Contract id to its own map; absent while empty."""
    attachments: Mapping[bytes, Record]
    """Under the path of the record that carries their digest."""
    enacted: tuple[Enacted, ...]
    law: Constitution
    """In force at `time_ns`."""
    waiting: tuple[Waiting, ...] = ()
    """Actions ordered but not yet in force: from when on, and what."""
    cache: RecordCache = field(default_factory=RecordCache, compare=False)

    def record(self, path: bytes, kind: type[T]) -> T | None:
        """Return the record at `path`."""
        value = self.values.get(path)
        return None if value is None else self.cache.get(path, value, kind)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a block changes, ready to be persisted."""

    values: Mapping[bytes, bytes | None]
    """Map path to encoded record; None deletes."""
    slots: Mapping[tuple[bytes, bytes], bytes | None]
    """(contract, tag) to sealed value; None deletes."""
    attachments: Mapping[bytes, Record]
    enacted: tuple[Enacted, ...]
    """Governance actions added by this block."""


@final
class Overlay:
    """One block's changes over a state."""

    def __init__(self, base: State) -> None:
        self.base: Final = base
        self._records: dict[bytes, Record | None] = {}
        self._maps: dict[bytes, SparseMap] = {}
        self._slots: dict[tuple[bytes, bytes], bytes | None] = {}
        self._attachments: dict[bytes, Record] = {}
        self._scratch: dict[tuple[object, ...], object] = {}
        self._law: dict[str, object] = {"law": base.law, "waiting": base.waiting, "enacted": base.enacted}
        self._journal: list[tuple[dict[object, object], object, object]] = []

    # --- records of the map ---

    def find(self, path: bytes, kind: type[T]) -> T | None:
        """Return the record at `path`, or None."""
        if path in self._records:
            return cast("T | None", self._records[path])
        return self.base.record(path, kind)

    def get(self, path: bytes, default: T) -> T:
        """Return the record at `path`, or `default`: what an absent record stands for."""
        found = self.find(path, type(default))
        return default if found is None else found

    def put(self, path: bytes, record: Record) -> None:
        """Set the record at `path`."""
        self._set(self._records, path, record)

    def delete(self, path: bytes) -> None:
        """Remove the record at `path`."""
        self._set(self._records, path, None)

    # --- what is no leaf of the map ---

    def slot_map(self, contract: bytes) -> SparseMap:
        """Return the contract's own map."""
        found = self._maps.get(contract)
        return self.base.slots.get(contract, SparseMap.empty()) if found is None else found

    def write_slots(self, contract: bytes, writes: Iterable[tuple[bytes, bytes | None]], after: SparseMap) -> None:
        """Replace the contract's map by `after`, which is the present one with `writes` applied."""
        for tag, value in writes:
            self._set(self._slots, (contract, tag), value)
        self._set(self._maps, contract, after)

    def attachment(self, path: bytes, kind: type[T]) -> T | None:
        """Return what is attached to the record at `path`."""
        found = self._attachments.get(path, self.base.attachments.get(path))
        return found if isinstance(found, kind) else None

    def attach(self, path: bytes, record: Record) -> None:
        """Attach a record whose digest the record at `path` carries."""
        self._set(self._attachments, path, record)

    @property
    def law(self) -> Constitution:
        """The law in force in this block."""
        return cast("Constitution", self._law["law"])

    @property
    def waiting(self) -> tuple[Waiting, ...]:
        """Governance actions not yet in force."""
        return cast("tuple[Waiting, ...]", self._law["waiting"])

    @property
    def enacted(self) -> tuple[Enacted, ...]:
        """All governance actions, in order."""
        return cast("tuple[Enacted, ...]", self._law["enacted"])

    def enact(self, entry: Enacted) -> None:
        """Append a governance action to the history."""
        self._set(self._law, "enacted", (*self.enacted, entry))

    def set_law(self, law: Constitution, waiting: tuple[Waiting, ...]) -> None:
        """Replace the law in force and what waits to be."""
        self._set(self._law, "law", law)
        self._set(self._law, "waiting", waiting)

    # --- this block only ---

    def counted(self, *key: object) -> int:
        """Return how often `count` was called with this key in this block."""
        return cast("int", self._scratch.get(key, 0))

    def count(self, *key: object) -> None:
        """Count one more of something in this block."""
        self._set(self._scratch, key, self.counted(*key) + 1)

    # --- all or nothing ---

    def mark(self) -> int:
        """Return a point to roll back to."""
        return len(self._journal)

    def rollback(self, mark: int) -> None:
        """Undo every change since `mark`."""
        while len(self._journal) > mark:
            table, key, before = self._journal.pop()
            if before is _ABSENT:
                del table[key]
            else:
                table[key] = before

    def _set(self, table: Mapping[K, V], key: K, value: V) -> None:
        changed = cast("dict[object, object]", table)
        self._journal.append((changed, key, changed.get(key, _ABSENT)))
        changed[key] = value

    # --- the end of the block ---

    def changed(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Yield path and encoded record (None: deleted) of each leaf whose value differs from the base's."""
        for path, record in self._records.items():
            before = self.base.values.get(path)
            if record is None:
                if before is not None:
                    self.base.cache.forget(path)
                    yield path, None
                continue
            value = encode(record)
            if value != before:
                self.base.cache.put(path, value, record)
                yield path, value

    def settle(self, height: int, time_ns: int) -> tuple[State, Changes]:
        """Return the state after this block, and what persists it."""
        values = dict(self.changed())
        changes = Changes(values, self._slots, self._attachments, self.enacted[len(self.base.enacted) :])
        state = State(
            height=height,
            time_ns=time_ns,
            values=self.base.values.update(sorted(values.items())),
            slots={**self.base.slots, **self._maps} if self._maps else self.base.slots,
            attachments={**self.base.attachments, **self._attachments} if self._attachments else self.base.attachments,
            enacted=self.enacted,
            law=self.law,
            waiting=self.waiting,
            cache=self.base.cache,
        )
        return state, changes


K = TypeVar("K")
V = TypeVar("V")
_ABSENT: Final = object()
