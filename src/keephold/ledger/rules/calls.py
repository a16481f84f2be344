"""Calls: appended to the contract's inbox, a hash chain, whoever can read them.

The rules cannot tell a good ciphertext from noise, and need not: an entry that does not open is consumed as unreadable.
"""

from __future__ import annotations

from msgspec.structs import replace

from keephold.base.ids import ContractId
from keephold.base.limits import MAX_INBOX_BACKLOG, MAX_SEALED_CALL
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import Applied, BlockContext, refused
from keephold.ledger.rules.inbox import append
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import Call, Transaction


def call(state: Overlay, block: BlockContext, _: Transaction, identity: bytes, body: Call) -> Applied:
    """Append a sealed call.

    Raises:
        LedgerRefused: those of `judge`.
    """
    return Applied((append(state, block, ContractId(body.contract), judge(state, body), identity),))


def preview(state: Overlay, body: Call) -> None:
    """Judge a call that waits, and count it as one of its inbox, without the hash chain that only a block continues.

    Raises:
        LedgerRefused: those of `judge`.
    """
    record = judge(state, body)
    state.put(contract_path(ContractId(body.contract)), replace(record, inbox_count=record.inbox_count + 1))


def judge(state: Overlay, body: Call) -> ContractRecord:
    """Return the record of a contract that takes this call.

    Raises:
        LedgerRefused: `unknown_contract`, `code_refused`, `rotating`, `contract_not_active`, `wrong_epoch`, `too_large`
            or `inbox_full`.
    """
    record = state.find(contract_path(ContractId(body.contract)), ContractRecord)
    # (1) There is such a contract, and its key is known and agreed upon.
    if record is None:
        raise refused(Refusal.UNKNOWN_CONTRACT)
    if record.phase == "refused":
        raise refused(Refusal.CODE_REFUSED, record.refusal)
    if record.phase == "rotating":
        raise refused(Refusal.ROTATING, f"epoch {record.epoch} is closed to calls; seal to the next once it is active")
    if record.phase != "active":
        raise refused(Refusal.CONTRACT_NOT_ACTIVE, f"phase {record.phase}")
    # (2) It was sealed to the present key.
    if body.epoch != record.epoch:
        raise refused(Refusal.WRONG_EPOCH, f"epoch {body.epoch}, present {record.epoch}")
    # (3) Its size and the backlog are bounded.
    if len(body.sealed) > MAX_SEALED_CALL:
        raise refused(Refusal.TOO_LARGE, f"a sealed call has at most {MAX_SEALED_CALL} bytes")
    if record.inbox_count - record.done >= MAX_INBOX_BACKLOG:
        raise refused(Refusal.INBOX_FULL, f"{MAX_INBOX_BACKLOG} entries wait")
    return record
