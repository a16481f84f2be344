"""How far each contract had come that this gatekeeper saw: nothing is released for one that was put back.

A worker that boots knows no contract's past, and validators who all collude can prove it any record of long ago. The
gatekeepers know: each keeps, for every contract in use, the furthest record that a header of its own chain proved
(`survey` looks at them in turn, and a release looks too), and refuses what stands before it. A release takes t of them.

    nothing seen ──record──> mark ──record at or after it──> mark, moved on
                               └──record before it, or beside it──> refused; the mark stays

1. Of two headers of one chain the later one shows the later record. So an earlier record is a rollback under a header
   no older than the mark's, and under an older one nothing but an answer of a node that lags. Who asks for a proof asks
   for that height (`height_of`).
2. What is refused moves nothing.
3. Marks are sealed, at most once a second; what a crash loses is a second of memory. They outlive the share: who leaves
   the committee and comes back knows what it knew. Who is new has seen nothing yet, and is told nothing by the others:
   it looks for itself, beginning before it is in office. A host that puts an older disk back puts older marks back: it
   takes t such disks for a release.

A mark is the ledger's word, as a record is: validators who all collude can prove a *later* one than there ever was.
Then no gatekeeper releases this contract's keys any more, which such validators have in their power anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple, final

from keephold.base.errors import RollbackDetected, SealBroken, StaleAnswer
from keephold.base.ids import ContractId
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import Vault
from keephold.protocol.marks import Mark, check_mark, is_before, mark_of
from keephold.protocol.state import ContractRecord

MAX_MARKS: Final = 1 << 15
"""Contracts remembered. Of more, those that came first: whoever could push a mark out could roll that contract back."""

_NAME: Final = "states"
_INTERVAL_SECONDS: Final = 1.0

_ENTRY: Final = struct.Struct(">32sQQ32sQ")
"""On the disk, in order of contracts: contract, epoch, version, root, height; 88 bytes."""


class _Seen(NamedTuple):
    mark: Mark
    height: int
    """Of the header that proved it, the newest if several did."""


@final
class Marks:
    """The marks of one gatekeeper, in memory and in its vault."""

    def __init__(self, vault: Vault) -> None:
        """Read what the vault kept.

        Raises:
            RollbackDetected: it does not open, or holds no marks: whoever could break it could replace it.
        """
        self._vault: Final = vault
        self._seen: Final[dict[bytes, _Seen]] = {}
        self._has_moved = False
        self._written: float | None = None
        if vault.holds(_NAME):
            try:
                kept = tuple(_ENTRY.iter_unpack(vault.read(_NAME).reveal()))
            except (struct.error, SealBroken) as error:
                raise RollbackDetected(f"the sealed marks: {error}") from error
            self._seen.update((mark[0], _Seen(Mark(*mark), height)) for *mark, height in kept)

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def contracts(self) -> tuple[ContractId, ...]:
        """The contracts that are remembered."""
        return tuple(map(ContractId, self._seen))

    def of(self, contract: ContractId) -> Mark | None:
        """Return a contract's mark; None if its record was never seen."""
        seen = self._seen.get(contract)
        return None if seen is None else seen.mark

    def height_of(self, contracts: Iterable[ContractId]) -> int:
        """Return the height of the oldest header that says anything against these marks; 0 if there are none."""
        return max((self._seen[contract].height for contract in contracts if contract in self._seen), default=0)

    def see(self, contract: ContractId, record: ContractRecord | None, height: int) -> None:
        """Take a record, or its absence, proven by the header of this height; its code and policy were checked.

        Raises:
            StaleAnswer: the record stands before the mark, as may be under a header older than the mark's.
            RollbackDetected: the record stands before the mark, beside it, or is gone.
        """
        seen = self._seen.get(contract)
        if seen is None:
            if record is not None and len(self._seen) < MAX_MARKS:
                self._keep(_Seen(mark_of(contract, record), height))
            return
        # (1) An older header shows what was, and that was earlier.
        if height < seen.height and (record is None or is_before(record, seen.mark)):
            raise StaleAnswer(f"a record proven by header {height} where header {seen.height} proved a later one")
        # (2) Nothing that was put back.
        if record is None:
            raise RollbackDetected(f"contract {contract.hex()[:16]} is gone")
        check_mark(seen.mark, record)
        moved = _Seen(mark_of(contract, record), max(height, seen.height))
        if moved.mark == seen.mark:
            self._seen[contract] = moved  # a height by itself is not worth a write
        else:
            self._keep(moved)

    def keep(self, now: float) -> None:
        """Seal the marks if any moved and the last time was a second ago; `now` is monotonic."""
        if self._written is None or now - self._written >= _INTERVAL_SECONDS:
            self.keep_now()
            self._written = now

    def keep_now(self) -> None:
        """Seal the marks if any moved."""
        if self._has_moved:
            kept = (self._seen[contract] for contract in sorted(self._seen))
            entries = (_ENTRY.pack(mark.contract, mark.epoch, mark.version, mark.root, height) for mark, height in kept)
            self._vault.write(_NAME, SecretBytes(b"".join(entries)))
            self._has_moved = False

    def _keep(self, seen: _Seen) -> None:
        self._seen[seen.mark.contract] = seen
        self._has_moved = True
