"""Deployment: a contract's identity is fixed by its creator, nonce, code and policy; the ledger adds who runs it."""

from __future__ import annotations

from keephold.base.ids import PublicKey
from keephold.base.limits import MAX_WAITING_CONTRACTS
from keephold.chain.sparse import EMPTY_ROOT
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.assignments import assign
from keephold.ledger.rules.context import Applied, BlockContext, Deployed, refused
from keephold.protocol.contracts import check_deployable, code_hash, contract_id
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import ContractRecord, Waiting, waiting_path
from keephold.protocol.transactions import Deploy, Transaction


def deploy(state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes, body: Deploy) -> Applied:
    """Create a contract and assign its workers, or let it wait for them.

    Its id cannot be taken: sender and nonce are inside, and a nonce counts once.

    Raises:
        LedgerRefused: `too_large`, `policy_invalid` or `quota`.
    """
    check_deployable(body.code, body.policy)
    code = code_hash(body.code)
    contract = contract_id(block.network, PublicKey(transaction.sender), transaction.nonce, code, body.policy)
    record = ContractRecord(
        creator=transaction.sender,
        nonce=transaction.nonce,
        code=code,
        deployment=identity,
        policy=body.policy,
        phase="waiting",
        state_root=EMPTY_ROOT,
    )
    assigned = assign(state, block, contract, record)
    # Whoever asks for more workers than there are must not make the list of the waiting endless.
    waiting = state.get(waiting_path(), Waiting()).contracts
    if len(assigned.workers) < body.policy.workers and len(waiting) > MAX_WAITING_CONTRACTS:
        raise refused(Refusal.QUOTA, f"{MAX_WAITING_CONTRACTS} contracts wait for workers")
    return Applied((Deployed(contract),))
