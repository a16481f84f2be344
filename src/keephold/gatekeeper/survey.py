"""Looking at the contracts in use, in turn: so that a gatekeeper's marks are of today, not of the last release.

    roll of workers ──> the roster of each ──> the record of each contract on one, and of each that has a mark

A few paths each second, around and around: of a small network everything each second, of 1000 contracts each every half
minute. That is the price of a mark, and what a rollback can still reach: back to when t gatekeepers looked last. Of
`MAX_MARKS`, which validators could make up, each comes every 17 minutes.
Nothing of it hangs on blocks, and a node that answers late or not at all delays it and nothing else; one that hides
what moved would have to do so from the echo on (`enclave.freshness`), and mutes the gatekeeper with that.

Whom the ledger assigned is its word. Validators who collude can take contracts off the rosters; what has a mark is
looked at all the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Final, final

from keephold.base.errors import (
    ChainRefused,
    CryptoError,
    EncodingError,
    InputError,
    KeepholdError,
    LedgerRefused,
    ProofInvalid,
    RollbackDetected,
    StaleAnswer,
    UnavailableError,
)
from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.follower.contracts import check_identity
from keephold.follower.follow import Follower
from keephold.follower.view import ProvenValues
from keephold.gatekeeper.marks import MAX_MARKS, Marks
from keephold.protocol.codec import decode
from keephold.protocol.state import ContractRecord, Roll, Roster, contract_path, roll_path, roster_path

_LOG: Final = logging.getLogger("keephold.gatekeeper")

AT_ONCE: Final = 32
"""Contracts with marks looked at in one step, some 2 KB each on the wire."""

FOUND_AT_ONCE: Final = 16
ROSTERS_AT_ONCE: Final = 8
"""Contracts without marks, and rosters, beside them. Each kind has turns of its own: whatever validators make up of one
delays none of the others."""

PAUSE_SECONDS: Final = 1.0
_ROLL: Final = roll_path("worker")


@final
class Survey:
    """Whose turn it is, and what the proofs say. No I/O."""

    def __init__(self, marks: Marks, network: NetworkId) -> None:
        self._marks: Final = marks
        self._network: Final = network
        self._workers: tuple[PublicKey, ...] = ()
        self._rosters: Final[dict[PublicKey, None]] = {}
        self._found: Final[dict[ContractId, None]] = {}
        self._marked: Final[dict[ContractId, None]] = {}
        self._is_full = False
        self.wrong: Final[dict[bytes, KeepholdError]] = {}
        """By path, what could not be when it was last looked at, and why: a contract before its mark, above all."""

    def due(self) -> tuple[bytes, ...]:
        """Return the paths to prove next: the roll, and whose turn it is."""
        if not self._rosters:
            self._rosters.update(dict.fromkeys(self._workers))
        if not self._marked:
            self._marked.update(dict.fromkeys(self._marks.contracts))
        return (_ROLL, *map(roster_path, self._next_rosters()), *map(contract_path, self._next_contracts()))

    def learn(self, proven: ProvenValues) -> None:
        """Take what is proven of the paths that `due` returned last.

        Raises:
            EncodingError: the roll is none; nothing was taken.
        """
        raw = proven[_ROLL]
        roll = Roll() if raw is None else decode(raw, Roll)
        self._workers = tuple(PublicKey(entry.identity) for entry in roll.entries)
        rosters, contracts = self._next_rosters(), self._next_contracts()
        for worker in rosters:
            del self._rosters[worker]
            self._take(roster_path(worker), proven, self._assigned)
        for contract in contracts:
            self._found.pop(contract, None)
            self._marked.pop(contract, None)
            self._take(contract_path(contract), proven, partial(self._look, contract))

    def _next_rosters(self) -> tuple[PublicKey, ...]:
        return tuple(islice(self._rosters, ROSTERS_AT_ONCE))

    def _next_contracts(self) -> tuple[ContractId, ...]:
        return (*islice(self._found, FOUND_AT_ONCE), *islice(self._marked, AT_ONCE))

    def _take(self, path: bytes, proven: ProvenValues, take: Callable[[bytes | None, int], None]) -> None:
        """Take one value; one that is wrong hides none of the others."""
        try:
            take(proven[path], proven.height)
        except StaleAnswer:
            return  # from a node that lags; its turn comes again
        except (EncodingError, ProofInvalid, RollbackDetected) as error:
            if path not in self.wrong:
                _LOG.error("looking at contracts: %s: %s", error.code, error)
            self.wrong[path] = error
        else:
            known = self.wrong.pop(path, None)
            if known is not None:
                _LOG.warning("no longer so: %s: %s", known.code, known)

    def _look(self, contract: ContractId, raw: bytes | None, height: int) -> None:
        record = None if raw is None else decode(raw, ContractRecord)
        if record is not None:
            check_identity(contract, record, self._network)
        self._marks.see(contract, record, height)

    def _assigned(self, raw: bytes | None, _: int) -> None:
        """Look at contracts on a roster; those that have a mark come in any case."""
        roster = Roster() if raw is None else decode(raw, Roster)
        for contract in map(ContractId, roster.contracts):
            if self._marks.of(contract) is not None:
                continue
            if len(self._found) + len(self._marks) < MAX_MARKS:
                self._found[contract] = None
            elif not self._is_full:
                self._is_full = True
                _LOG.error("%d contracts are remembered, and no more: %s is not", MAX_MARKS, contract.hex()[:16])


async def survey(follower: Follower, looking: Survey) -> None:
    """Look at a few contracts each second: for ever."""
    while True:
        await asyncio.sleep(PAUSE_SECONDS)
        if not follower.view.height:
            continue
        try:
            looking.learn(await follower.prove(looking.due()))
        except UnavailableError as error:
            _LOG.debug("survey: %s", error)
        except (ChainRefused, CryptoError, InputError, LedgerRefused) as error:
            _LOG.warning("survey: %s: %s", type(error).__name__, error)
