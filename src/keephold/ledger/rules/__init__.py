"""The rules: what each transaction does to the state. Pure, deterministic, the same under every engine.

`begin_block` first, then each transaction through `apply`, then `validator_changes`. A transaction is applied whole or
changes nothing, not even its sender's nonce.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from keephold.base.errors import KeepholdError, LedgerRefused
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules import (
    accounts,
    calls,
    collateral,
    committee,
    contracts,
    governance,
    keys,
    offences,
    presence,
    quotas,
    registrations,
    results,
    roll,
    rotation,
)
from keephold.ledger.rules.context import Applied, BlockContext, refused
from keephold.protocol import custody
from keephold.protocol import transactions as kinds
from keephold.protocol.offences import Offence
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Transaction

Rule = Callable[[Overlay, BlockContext, Transaction, bytes, Any], Applied]

RULES: Final[dict[type, Rule]] = {
    kinds.Deploy: contracts.deploy,
    kinds.Call: calls.call,
    kinds.PublishAccountKey: accounts.publish_key,
    kinds.RevokePermits: accounts.revoke_permits,
    kinds.RevokePermit: accounts.revoke_permit,
    kinds.Rotate: rotation.rotate,
    kinds.Register: registrations.register,
    kinds.Echo: presence.echo,
    kinds.Vouch: presence.vouch,
    kinds.KeyRequest: keys.request,
    kinds.KeyRelease: keys.release,
    kinds.PublishKey: keys.publish,
    kinds.RefuseCode: keys.refuse_code,
    kinds.SubmitResult: results.submit,
    kinds.SubmitMigration: rotation.submit,
    custody.DkgKeys: committee.message,
    custody.DkgDealing: committee.message,
    custody.DkgVerdict: committee.message,
    custody.DkgComplaint: committee.message,
    custody.DkgExtraction: committee.message,
    kinds.UpdateCollateral: collateral.update,
    kinds.Govern: governance.govern,
}
"""One rule for each member of `transactions.Body`; a test asks that none is missing."""


def begin_block(state: Overlay, block: BlockContext, proven: Iterable[Offence] = ()) -> None:
    """Let time pass: law that is due, leases that ran out, key epochs that wait to end, ceremony phases that ended.

    Before that, record the offences of validators that the block proves.

    Without anything due nothing changes: height and time enter the root in no other way, so an idle chain rests.
    """
    offences.record(state, proven)
    governance.settle(state, block)
    roll.lapse(state, block)
    rotation.start_due(state)
    committee.begin(state, block)


def apply(state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes) -> Applied:
    """Apply a transaction whose signature and network were checked (`transactions.open_signed`).

    Raises:
        LedgerRefused: the rules refuse it; the state is as it was.
    """
    mark = state.mark()
    try:
        accounts.consume_nonce(state, transaction)
        quotas.charge(state, transaction)
        return RULES[type(transaction.body)](state, block, transaction, identity, transaction.body)
    except KeepholdError as error:
        state.rollback(mark)
        raise _as_refusal(error) from error


def preview(state: Overlay, block: BlockContext, transaction: Transaction, identity: bytes) -> None:
    """Apply a transaction to a throw-away state, to keep out what would be refused; less strict than `apply`.

    Quotas are left to whoever builds the block. Of a result or migration only its sender's standing is checked: the one
    may build on others that are still waiting, the other costs much to compute. A call is counted, not appended.

    Raises:
        LedgerRefused: as `apply`.
    """
    mark = state.mark()
    try:
        accounts.consume_nonce(state, transaction)
        if isinstance(transaction.body, kinds.Call):
            calls.preview(state, transaction.body)
        elif isinstance(transaction.body, kinds.SubmitResult):
            results.check_entitled(state, block, transaction, transaction.body)
        elif isinstance(transaction.body, kinds.SubmitMigration):
            rotation.check_entitled(state, block, transaction, transaction.body)
        else:
            RULES[type(transaction.body)](state, block, transaction, identity, transaction.body)
    except KeepholdError as error:
        state.rollback(mark)
        raise _as_refusal(error) from error


def _as_refusal(error: KeepholdError) -> LedgerRefused:
    """Return the one error that leaves the rules; whatever content breaks on its way is malformed."""
    return error if isinstance(error, LedgerRefused) else refused(Refusal.MALFORMED, str(error))


def validator_changes(state: Overlay) -> tuple[tuple[bytes, int], ...]:
    """Return (public key, new power) of each validator that this block's law changed; power 0 removes."""
    before = {entry.public_key: entry.power for entry in state.base.law.validators}
    after = {entry.public_key: entry.power for entry in state.law.validators}
    return tuple(
        (key, after.get(key, 0)) for key in sorted({*before, *after}) if before.get(key, 0) != after.get(key, 0)
    )
