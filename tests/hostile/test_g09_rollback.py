"""G9. Validators that all collude prove older, mixed and invented states to real workers: none of them goes along.

The validators here own the ledger's map: they put any record and any slots into it, and sign the blocks that prove it.
What they cannot do is to sign a result as a worker whose evidence verifies.
"""

from __future__ import annotations

import pytest
import worker_story
from hostile_colluding import Past, lie, played, transfer
from msgspec.structs import replace
from worker_story import ALICE, TOKEN, Story, story

from keephold.base.errors import KeepholdError
from keephold.base.ids import ContractId
from keephold.chain.sparse import SparseMap
from keephold.client.source import code_from_source
from keephold.crypto.signing import SigningKey
from keephold.protocol.state import Backing, Roster, roster_path
from keephold.protocol.transactions import Result, SlotWrite, SubmitResult, sign, transaction_id
from keephold.testing.adversaries import Colluders
from keephold.worker.service import Worker

guest = worker_story.guest


async def is_refused(it: Story, worker: Worker, contract: ContractId, *codes: str) -> None:
    """The worker stops: it names the reason, runs nothing, answers nothing, and goes on for its other contracts."""
    await it.net.until(lambda: contract in worker._halted)
    assert worker._halted[contract].code in codes
    assert contract not in worker.contracts
    envelope = it.question(contract, worker)
    with pytest.raises(KeepholdError):
        await worker.answer(envelope, worker._session.instance.id)
    done = it.record(contract).done
    other = await it.deploy(code_from_source(TOKEN.replace("class Token", "class Other")))
    await it.call(other, ALICE, "setup", "GLD", "1000")
    await it.consumed(other)
    assert it.record(contract).done == done


async def reboot(it: Story, at: int = 0) -> Worker:
    await it.net.cancel(it.tasks[at])
    it.workers[at] = it.worker(f"w{at}")
    it.tasks[at] = it.net.run(it.workers[at].run())
    return it.workers[at]


def swapped(slots: SparseMap) -> SparseMap:
    """Two genuine slots with each other's values."""
    (one, first), (two, second) = list(slots)[:2]
    return slots.update([(one, second), (two, first)])


LIES = {
    "rolled back, and said so": lambda before, now: (before.record, before.slots),
    "rolled back under a later version": lambda before, now: (
        replace(now.record, version=now.record.version + 1, state_root=before.slots.root),
        before.slots,
    ),
    "rolled back, with the votes of then": lambda before, now: (
        replace(
            now.record,
            version=now.record.version + 1,
            state_root=before.slots.root,
            settled=before.record.settled,
        ),
        before.slots,
    ),
    "invented": lambda before, now: (
        replace(now.record, version=now.record.version + 1, state_root=now.slots.update([(b"t" * 32, b"v")]).root),
        now.slots.update([(b"t" * 32, b"v")]),
    ),
    "slots swapped": lambda before, now: (
        replace(now.record, version=now.record.version + 1, state_root=swapped(now.slots).root),
        swapped(now.slots),
    ),
    "emptied": lambda before, now: (
        replace(now.record, version=now.record.version + 1, state_root=SparseMap.empty().root),
        SparseMap.empty(),
    ),
}


@pytest.mark.parametrize("how", LIES)
def test_a_running_worker_is_not_rolled_back(guest, tmp_path, how: str) -> None:
    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await lie(it, contract, *LIES[how](before, now))
        went_back = how == "rolled back, and said so"
        codes = ("proof_invalid", "rollback_detected") if went_back else ("state_unproven",)
        await is_refused(it, it.workers[0], contract, *codes)

    story(guest, tmp_path, tell)


@pytest.mark.parametrize("how", LIES)
def test_nor_is_one_that_was_restarted(guest, tmp_path, how: str) -> None:
    """Nothing is left in its memory; its disk holds the version that it stood on."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await it.net.cancel(it.tasks[0])
        await lie(it, contract, *LIES[how](before, now))
        it.workers[0] = it.worker("w0")
        it.tasks[0] = it.net.run(it.workers[0].run())
        before_its_own = how == "rolled back, and said so"
        await is_refused(it, it.workers[0], contract, "rollback_detected" if before_its_own else "state_unproven")

    story(guest, tmp_path, tell)


@pytest.mark.parametrize("how", [how for how in LIES if how != "rolled back, and said so"])
def test_nor_is_one_that_was_never_there(guest, tmp_path, how: str) -> None:
    """It has nothing but its keys: still only what verified workers signed is a state to it."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await it.net.cancel(it.tasks[0])
        record, slots = LIES[how](before, now)
        it.workers[0] = it.worker("newcomer")
        it.tasks[0] = it.net.run(it.workers[0].run())
        await it.net.until(lambda: it.workers[0]._session.registrar.is_live)
        identity = it.workers[0]._session.identity
        assigned = {roster_path(identity): Roster((contract,))}
        await lie(it, contract, replace(record, workers=(identity,)), slots, assigned)
        await it.net.until(lambda: contract in it.workers[0]._halted)

    story(guest, tmp_path, tell)


def test_a_result_that_validators_signed_themselves_moves_no_worker(guest, tmp_path) -> None:
    """They order it, accept it, and name its votes; what they have no quote for is a registration."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        puppet = SigningKey.generate()
        result = forged_result(contract, before, now)
        raw = sign(it.net.network, puppet, 0, SubmitResult(b"i" * 32, result))
        await Colluders(it.net.node).order_running(raw)
        forged = replace(
            now.record,
            version=result.version + 1,
            state_root=result.root,
            done=result.first,
            workers=(*now.record.workers, puppet.public),
            settled=(
                Backing(transaction_id(raw), now.record.settled[0].registration, now.record.settled[0].judged_by),
            ),
        )
        await lie(it, contract, forged, before.slots)
        await is_refused(it, it.workers[0], contract, "state_unproven")

    story(guest, tmp_path, tell)


def forged_result(contract: ContractId, before: Past, now: Past) -> Result:
    """A result that takes the state back: every slot written since is put back to what it was."""
    then, present = dict(before.slots), dict(now.slots)
    changed = {tag for tag in then.keys() | present.keys() if then.get(tag) != present.get(tag)}
    writes = tuple(SlotWrite(tag, then.get(tag, b"")) for tag in sorted(changed))
    assert writes
    return Result(
        contract=contract,
        epoch=1,
        first=now.record.done + 1,
        count=1,
        head=now.record.inbox_head,
        version=now.record.version,
        pre_root=now.record.state_root,
        root=before.slots.root,
        receipts=(b"",),
        writes=writes,
    )


def test_honest_operation_goes_on_through_a_restart_and_a_takeover(guest, tmp_path) -> None:
    """The one that comes back finds the state that it left; one that was never there takes it from its votes."""

    async def tell(it: Story) -> None:
        contract, _, _ = await played(it, workers=2)
        for at in (0, 1):
            await reboot(it, at)
            await it.net.until(lambda at=at: contract in it.workers[at].contracts)
            await transfer(it, contract)
        for worker in it.workers:
            session = worker._session
            await it.net.until(lambda session=session: session.freshness.is_fresh(session.clock.monotonic()))
            head = it.net.node.application.map.newest.height
            assert b"4" in (await it.ask(contract, worker, min_height=head)).reply.value
            assert not worker._halted

    story(guest, tmp_path, tell)
