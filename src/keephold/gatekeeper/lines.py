"""Which worker may be told which line of keys: one rule for each. Pure; `requests` says what it was proven by.

What every line rests on is the same: the worker is assigned to the contract and not suspended, the
contract is in use, and the worker's confidence level, as judged here, is at least as good as the contract asks for.

* A contract's keys: that, in a key epoch that is open: the present one or, while it changes, the one on its way in.
* A contract's signing seed: that. It has no epoch, so nothing that ends an epoch takes it back; whoever is assigned
  now may ask, and whoever was excluded may not.
* A channel: that, for the contract that sends or for the one that receives, in epochs of both that are open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keephold.base.errors import AttestationRefused, LedgerRefused
from keephold.base.ids import ContractId
from keephold.follower.trust import VerifiedRegistration
from keephold.protocol.lines import ChannelLine, ContractLine, KeyLine, SigningLine, parties
from keephold.protocol.refusals import Refusal
from keephold.protocol.rotation import open_epochs
from keephold.protocol.state import ContractRecord

_IN_USE: Final = frozenset({"keying", "active", "rotating"})


def check_line(line: KeyLine, contracts: Mapping[ContractId, ContractRecord], worker: VerifiedRegistration) -> None:
    """Check that a worker may be told a line.

    Args:
        line: what it asks for.
        contracts: the proven records of the line's parties, identities checked.
        worker: who asks, verified now, the live instance.

    Raises:
        LedgerRefused: `not_assigned`, `wrong_epoch` or `contract_not_active`.
        AttestationRefused: reason `level`.
    """
    match line:
        case ContractLine() | SigningLine():
            _check_worker(ContractId(line.contract), contracts, worker)
        case ChannelLine():
            try:
                _check_worker(ContractId(line.source), contracts, worker)
            except (LedgerRefused, AttestationRefused):
                _check_worker(ContractId(line.target), contracts, worker)
    for contract, epoch in parties(line):
        record = contracts[contract]
        if record.phase not in _IN_USE:
            raise LedgerRefused(Refusal.CONTRACT_NOT_ACTIVE.word, f"phase {record.phase}")
        if epoch is not None and epoch not in open_epochs(record):
            raise LedgerRefused(Refusal.WRONG_EPOCH.word, f"epoch {epoch}, present {open_epochs(record)}")


def _check_worker(
    contract: ContractId, contracts: Mapping[ContractId, ContractRecord], worker: VerifiedRegistration
) -> None:
    record = contracts[contract]
    if worker.identity not in record.workers or worker.identity in record.suspended:
        raise LedgerRefused(Refusal.NOT_ASSIGNED.word, contract.hex())
    if worker.level > record.policy.level:
        raise AttestationRefused("level", f"{worker.level} where the contract asks for {record.policy.level}")
