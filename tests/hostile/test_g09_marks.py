"""G9. Validators that all collude put a contract's record back, for a worker that was never there.

What it knows nothing of, the gatekeepers saw. They are asked for the contract's keys, and without t of them there are
none. Here t is 2, of 3.
"""

from __future__ import annotations

import logging

import pytest
import worker_story
from hostile_colluding import Past, lie, played, version_of
from msgspec.structs import replace
from worker_story import Story, story

from keephold.base.errors import NoLiveWorker
from keephold.base.ids import ContractId
from keephold.protocol.state import Roster, roster_path
from keephold.worker.service import Worker

guest = worker_story.guest
NAMES = ("g0", "g1", "g2")


async def remembered(it: Story, contract: ContractId, version: int) -> None:
    """Return once every gatekeeper saw the contract at a version."""

    def saw(name: str) -> bool:
        mark = it.gatekeepers[name].marks.of(contract)
        return mark is not None and mark.version == version

    await it.net.until(lambda: all(map(saw, NAMES)))


async def restart(it: Story, *, forgetful: int) -> None:
    """End all gatekeepers and start them again; the hosts of some throw their marks away in between."""
    for name in NAMES:
        await it.net.cancel(it.keeping[name])
    for name in NAMES[:forgetful]:
        it.net.vault(name, "gatekeeper").remove("states")
    for name in NAMES:
        it.gatekeepers[name] = it.net.gatekeeper(name)
        it.keeping[name] = it.net.run(it.gatekeepers[name].run())


async def newcomer(it: Story, contract: ContractId, past: Past) -> Worker:
    """A worker that was never there, and to which the validators assign a contract's past."""
    await it.net.cancel(it.tasks[0])
    it.workers[0] = it.worker("newcomer")
    it.tasks[0] = it.net.run(it.workers[0].run())
    await it.net.until(lambda: it.workers[0]._session.registrar.is_live)
    identity = it.workers[0]._session.identity
    assigned = {roster_path(identity): Roster((contract,))}
    await lie(it, contract, replace(past.record, workers=(identity,)), past.slots, assigned)
    return it.workers[0]


async def is_silent(it: Story, worker: Worker, contract: ContractId) -> None:
    """It has no key, stands on nothing, and answers nobody."""
    core = worker._hosted[contract].core
    assert core._epochs.present is None
    assert core.position is None
    with pytest.raises(NoLiveWorker):
        await worker.answer(it.question(contract, worker), worker._session.instance.id)


def refused(caplog, contract: ContractId) -> int:
    """How many requests gatekeepers refused for this reason, by name."""
    lines = [line for line in caplog.messages if line.startswith("request ") and "rollback_detected" in line]
    return sum(contract.hex()[:16] in line for line in lines)


@pytest.mark.parametrize("forgetful", [0, 1])
def test_a_worker_that_was_never_there_gets_no_keys_of_a_past(guest, tmp_path, caplog, forgetful: int) -> None:
    """All gatekeepers are restarted in between; one may forget, for with it there are two that do not."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await remembered(it, contract, now.record.version)
        worker = await newcomer(it, contract, before)
        await restart(it, forgetful=forgetful)
        caplog.clear()
        with caplog.at_level(logging.ERROR, logger="keephold.gatekeeper"):
            await it.net.until(lambda: refused(caplog, contract) >= 3 - forgetful)
        await it.net.until(lambda: contract in worker._hosted)
        await is_silent(it, worker, contract)
        # Put right again, the contract goes on: nothing was lost but time.
        identity = worker._session.identity
        await lie(it, contract, replace(now.record, workers=(identity,)), now.slots)
        await it.net.until(lambda: version_of(worker, contract) == now.record.version)

    story(guest, tmp_path, tell, freshness_s=20)


def test_it_takes_t_disks_that_forgot(guest, tmp_path) -> None:
    """What remains: the hosts of t gatekeepers roll their disks back, with validators who help."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await remembered(it, contract, now.record.version)
        worker = await newcomer(it, contract, before)
        await restart(it, forgetful=2)
        await it.net.until(lambda: version_of(worker, contract) == before.record.version)

    story(guest, tmp_path, tell, freshness_s=20)
