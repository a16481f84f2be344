"""Which worker may be told which line of keys: one rule for each. Pure; `requests` says what it was proven by.

What every line rests on is the same: the worker is assigned to the contract and not suspended, the
contract is in use, and the worker's confidence level, as judged here, is at least as good as the contract asks for.

* A contract's keys: that, in a key epoch that is open: the present one or, while it changes, the one on its way in.
* A contract's signing seed: that. It has no epoch, so nothing that ends an epoch takes it back; whoever is assigned
  now may ask, and whoever was excluded may not.
* A channel: that, for the contract that sends or for the one that receives, in an epoch of that contract that is open,
  or while something sealed under the line waits in an inbox: a message that arrived late is still read, and an answer.
  The other contract's epoch may have passed, but must have come: the asker could read what is sealed under it anyway,
  being an end of it. The other contract need not be in use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keephold.base.errors import AttestationRefused, LedgerRefused
from keephold.base.ids import ContractId
from keephold.follower.trust import VerifiedRegistration
from keephold.protocol.channel import Channel
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, Party, SigningLine, parties
from keephold.protocol.refusals import Refusal
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import ContractRecord

_IN_USE: Final = frozenset({"keying", "active", "rotating"})


def check_line(
    line: KeyLine,
    contracts: Mapping[ContractId, ContractRecord],
    channels: Mapping[ChannelLine, Channel],
    worker: VerifiedRegistration,
) -> None:
    """Check that a worker may be told a line.

    Args:
        line: what it asks for.
        contracts: the proven records of the line's parties, identities checked.
        channels: the proven record of what waits, for each channel.
        worker: who asks, verified now, the live instance.

    Raises:
        LedgerRefused: `not_assigned`, `wrong_epoch` or `contract_not_active`.
        AttestationRefused: reason `level`.
    """
    match line:
        case ContractLine() | SigningLine():
            (party,) = parties(line)
            _check_worker(party.contract, contracts, worker)
            if party.epoch is not None:
                _check_open(contracts[party.contract], party.epoch)
        case ChannelLine():
            is_draining = (line.source_epoch, line.target_epoch) in channels[line].counts()
            # The end that the worker is assigned to; of a worker of both, either will do.
            own, other = sorted(parties(line), key=lambda end: worker.identity not in contracts[end.contract].workers)
            try:
                _check_end(own, contracts, worker, is_draining=is_draining)
            except (LedgerRefused, AttestationRefused):
                if worker.identity not in contracts[other.contract].workers:
                    raise
                _check_end(other, contracts, worker, is_draining=is_draining)
            # Both epochs have come, or are on their way in.
            for end in (own, other):
                _check_come(contracts[end.contract], end.epoch)


def _check_end(
    party: Party,
    contracts: Mapping[ContractId, ContractRecord],
    worker: VerifiedRegistration,
    *,
    is_draining: bool,
) -> None:
    _check_worker(party.contract, contracts, worker)
    if is_draining:
        _check_come(contracts[party.contract], party.epoch)
    else:
        _check_open(contracts[party.contract], party.epoch)


def _check_open(record: ContractRecord, epoch: int | None) -> None:
    if epoch not in open_epochs(record):
        raise LedgerRefused(Refusal.WRONG_EPOCH.word, f"epoch {epoch}, present {open_epochs(record)}")


def _check_come(record: ContractRecord, epoch: int | None) -> None:
    if epoch is None or epoch > open_epochs(record)[-1]:
        raise LedgerRefused(Refusal.WRONG_EPOCH.word, f"epoch {epoch}, present {open_epochs(record)}")


def _check_worker(
    contract: ContractId, contracts: Mapping[ContractId, ContractRecord], worker: VerifiedRegistration
) -> None:
    record = contracts[contract]
    if worker.identity not in record.workers or worker.identity in record.suspended:
        raise LedgerRefused(Refusal.NOT_ASSIGNED.word, contract.hex())
    if record.phase not in _IN_USE:
        raise LedgerRefused(Refusal.CONTRACT_NOT_ACTIVE.word, f"phase {record.phase}")
    if worker.level > record.policy.level:
        raise AttestationRefused("level", f"{worker.level} where the contract asks for {record.policy.level}")
