"""Looking at the contracts in use, in turn: so that a gatekeeper's marks are of today, not of the last release.

    roll of workers ──> the roster of each ──> the record of each contract on one, and of each that has a mark

A few paths each second, around and around: of a small network everything each second, of 1000 contracts each every half
minute. That is the price of a mark, and what a rollback can still reach: back to when t gatekeepers looked last.
Nothing of it hangs on blocks, and a node that answers late or not at all delays it and nothing else; one that hides
what moved would have to do so from the echo on (`enclave.freshness`), and mutes the gatekeeper with that.

Whom the ledger assigned is its word. Validators who collude can take contracts off the rosters; what has a mark is
looked at all the same.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import islice
from typing import Final, NamedTuple, final

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
"""Rosters and records looked at in one step, some 2 KB each on the wire."""

PAUSE_SECONDS: Final = 1.0
_ROLL: Final = roll_path("worker")


class _Roster(NamedTuple):
    worker: PublicKey

    @property
    def path(self) -> bytes:
        return roster_path(self.worker)


class _Contract(NamedTuple):
    contract: ContractId

    @property
    def path(self) -> bytes:
        return contract_path(self.contract)


@final
class Survey:
    """Whose turn it is, and what the proofs say. No I/O."""

    def __init__(self, marks: Marks, network: NetworkId) -> None:
        self._marks: Final = marks
        self._network: Final = network
        self._workers: tuple[PublicKey, ...] = ()
        self._waiting: Final[dict[_Roster | _Contract, None]] = {}
        self._asked: tuple[_Roster | _Contract, ...] = ()
        self._is_full = False
        self.wrong: Final[dict[_Roster | _Contract, KeepholdError]] = {}
        """What could not be when it was last looked at, and why: a contract that stood before its mark, above all."""

    def due(self) -> tuple[bytes, ...]:
        """Return the paths to prove next: the roll, and whose turn it is."""
        if not self._waiting:
            self._waiting.update(dict.fromkeys(map(_Roster, self._workers)))
            self._waiting.update(dict.fromkeys(map(_Contract, self._marks.contracts)))
        self._asked = tuple(islice(self._waiting, AT_ONCE))
        return (_ROLL, *(item.path for item in self._asked))

    def learn(self, proven: ProvenValues) -> None:
        """Take what is proven of the paths that `due` returned last.

        Raises:
            EncodingError: the roll is none; nothing was taken.
        """
        raw = proven[_ROLL]
        roll = Roll() if raw is None else decode(raw, Roll)
        self._workers = tuple(PublicKey(entry.identity) for entry in roll.entries)
        for item in self._asked:
            self._waiting.pop(item, None)
        for item in self._asked:
            try:
                self._look(item, proven[item.path], proven.height)
            except StaleAnswer:
                continue  # from a node that lags; its turn comes again
            except (EncodingError, ProofInvalid, RollbackDetected) as error:
                # One that is wrong hides none of the others.
                if item not in self.wrong:
                    _LOG.error("%s: %s", error.code, error)
                self.wrong[item] = error
            else:
                if self.wrong.pop(item, None) is not None:
                    _LOG.warning("%s is as it should be again", item[0].hex()[:16])

    def _look(self, item: _Roster | _Contract, raw: bytes | None, height: int) -> None:
        if isinstance(item, _Contract):
            record = None if raw is None else decode(raw, ContractRecord)
            if record is not None:
                check_identity(item.contract, record, self._network)
            self._marks.see(item.contract, record, height)
        elif raw is not None:
            # Those that have a mark come in any case.
            for contract in map(ContractId, decode(raw, Roster).contracts):
                if self._marks.of(contract) is None:
                    self._wait(contract)

    def _wait(self, contract: ContractId) -> None:
        if len(self._waiting) + len(self._marks) < MAX_MARKS:
            self._waiting[_Contract(contract)] = None
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
