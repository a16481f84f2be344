"""The newest state of each contract that this worker stood on, sealed: after a restart no older one is followed.

Written at most once a second, for all contracts together: what a crash loses is a second of memory. A platform that
cannot seal forgets them with the process; a host that puts an older sealed disk back puts older marks back. They are
kept when a contract is taken away: it may come back, and its past with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, final

from keephold.base.errors import EncodingError, RollbackDetected, SealBroken
from keephold.base.ids import ContractId
from keephold.crypto.secret import SecretBytes
from keephold.enclave.vault import Vault
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.state import ContractRecord
from keephold.protocol.types import Bytes32, Uint63
from keephold.worker.results import Position

_NAME: Final = "states"
_INTERVAL_SECONDS: Final = 1.0


class _Mark(Record):
    contract: Bytes32
    version: Uint63
    root: Bytes32


class _Marks(Record):
    marks: tuple[_Mark, ...] = ()


@final
class Marks:
    """Loads the marks once, then keeps them."""

    def __init__(self, vault: Vault) -> None:
        """Load.

        Raises:
            RollbackDetected: the file does not open or holds no marks: whoever could break it could replace it.
        """
        self._vault: Final = vault
        self._written: float | None = None
        self._marks: Final[dict[bytes, _Mark]] = {}
        if vault.holds(_NAME):
            try:
                kept = decode(vault.read(_NAME).reveal(), _Marks)
            except (EncodingError, SealBroken) as error:
                raise RollbackDetected(f"the sealed states: {error}") from error
            self._marks.update((mark.contract, mark) for mark in kept.marks)

    def check(self, contract: ContractId, record: ContractRecord) -> None:
        """Check that a proven record is not from before the state that this worker stood on.

        Raises:
            RollbackDetected
        """
        mark = self._marks.get(contract)
        if mark is None:
            return
        if record.version < mark.version:
            raise RollbackDetected(f"state version {record.version} where {mark.version} was seen")
        if record.version == mark.version and record.state_root != mark.root:
            raise RollbackDetected(f"another state of version {record.version} than the one seen")

    def keep(self, positions: Iterable[tuple[ContractId, Position]], now: float) -> None:
        """Seal where contracts stand now, if the last time was a second ago; `now` is monotonic."""
        if self._written is None or now - self._written >= _INTERVAL_SECONDS:
            self._written = now
            self.keep_now(positions)

    def keep_now(self, positions: Iterable[tuple[ContractId, Position]]) -> None:
        """Seal where contracts stand now."""
        moved = False
        for contract, position in positions:
            mark = self._marks.get(contract)
            if mark is None or mark.version < position.version:
                self._marks[contract] = _Mark(contract, position.version, position.state.root)
                moved = True
        if moved:
            kept = _Marks(tuple(self._marks[contract] for contract in sorted(self._marks)))
            self._vault.write(_NAME, SecretBytes(encode(kept)))
