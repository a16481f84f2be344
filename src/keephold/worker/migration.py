"""Sealing a state anew under the next key epoch: one page of slots at a time, from the committed cursor on.

A page is a function of the proven map, the cursor and the keys of both epochs: every worker that holds them makes the
same bytes, and one that was killed anywhere makes them again. What has to stay true of it:

1. **Same plaintext.** Storage key and value go from one seal into the other inside this enclave; nothing else reads
   them.
2. **New tags, new nonces.** Tags are a PRF under the next epoch's own key, so tag and ciphertext of a slot show nothing
   of the ones before; why no nonce repeats is argued in `sealing.slot`.
3. **What does not open is dropped.** No enclave of the old epoch sealed it: an assigned worker made it up, which could
   as well have deleted the slot. Kept, it would hold up the contract for ever.

What outsiders do see is which slots a page took and which it put: a page is the crowd in which a slot hides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from keephold.base.errors import EncodingError, SealBroken
from keephold.base.ids import SlotTag
from keephold.protocol.rotation import migration_page
from keephold.protocol.transactions import Migration, SlotWrite
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.slot import MigrationContext
from keephold.worker.code import ContractCode
from keephold.worker.results import Position


@final
@dataclass(frozen=True, slots=True)
class SealedPage:
    """A page and the position it leads to."""

    migration: Migration
    after: Position
    dropped: int
    """Slots that did not open."""


@final
@dataclass(frozen=True, slots=True)
class MigrationJob:
    """The next page, to be sealed anew."""

    old: ContractKeys
    new: ContractKeys
    code: ContractCode
    start: Position
    """The contract before: all calls of the old epoch consumed."""
    cursor: bytes

    def run(self) -> SealedPage:
        """Return the page; takes a moment, and needs no process."""
        old, new, start = self.old, self.new, self.start
        page = migration_page(start.state.slots, self.cursor, new.epoch)
        context = MigrationContext(start.version, start.state.root, self.cursor).digest()
        sealed: dict[bytes, bytes] = {}
        for tag, value in page.slots:
            try:
                plain = old.slots.open(SlotTag(tag), value)
            except (SealBroken, EncodingError):
                continue
            renamed, again = new.slots.seal(plain.key, plain.value, context, self.code.buckets)
            sealed[renamed] = again
        writes = tuple(SlotWrite(tag, sealed[tag]) for tag in sorted(sealed))
        state = start.state.migrate(self.cursor, new.epoch, writes)
        migration = Migration(
            contract=new.contract,
            from_epoch=old.epoch,
            to_epoch=new.epoch,
            after=self.cursor,
            until=page.until,
            version=start.version,
            pre_root=start.state.root,
            root=state.root,
            writes=writes,
            is_last=page.is_last,
        )
        after = Position(start.done, start.version + 1, state)
        return SealedPage(migration, after, len(page.slots) - len(sealed))
