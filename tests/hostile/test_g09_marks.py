"""G9. Validators that all collude put a contract's record back, for a worker that was never there.

What it knows nothing of, the gatekeepers saw. They are asked for the contract's keys, and without t of them there are
none. Here t is 2, of 3.
"""

from __future__ import annotations

import asyncio
import logging

import pytest
import worker_story
from hostile_colluding import Past, lie, played, version_of
from msgspec.structs import replace
from worker_story import Story, story

from keephold.base.errors import NodeUnreachable, NoLiveWorker, RollbackDetected
from keephold.base.ids import ContractId, InstanceId, PublicKey, TransactionId
from keephold.enclave.vault import ForgetfulVault
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedView
from keephold.gatekeeper.marks import Marks
from keephold.gatekeeper.requests import Justified, Request, justify, paths
from keephold.protocol.codec import decode, encode
from keephold.protocol.lines import ContractLine
from keephold.protocol.state import ContractRecord, Roster, contract_path, roster_path
from keephold.protocol.wire import Frame, ProveAnswer, ProvenValue
from keephold.testing.adversaries import Colluders
from keephold.testing.remote import Tamper, honest
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


async def newcomer(it: Story, contract: ContractId, past: Past, tamper: Tamper = honest) -> Worker:
    """A worker that was never there, and to which the validators assign a contract's past."""
    await it.net.cancel(it.tasks[0])
    remote = it.net.remote()
    remote.tamper = tamper
    it.workers[0] = Worker(it.net.session("newcomer", "worker", remote=remote), [it.gateway], it.guest)
    it.tasks[0] = it.net.run(it.workers[0].run())
    await it.net.until(lambda: it.workers[0]._session.registrar.is_live)
    await show(it, it.workers[0], contract, past)
    return it.workers[0]


async def show(it: Story, worker: Worker, contract: ContractId, moment: Past) -> None:
    """Have the validators prove a contract as it was at some moment, assigned to this worker."""
    identity = worker._session.identity
    assigned = {roster_path(identity): Roster((contract,))}
    await lie(it, contract, replace(moment.record, workers=(identity,)), moment.slots, assigned)


def hiding(moment: Past) -> Tamper:
    """A node that leaves out every record of a contract as it is at some moment."""
    path = contract_path(moment.contract)

    def is_hidden(proven: ProvenValue) -> bool:
        return proven.path == path and decode(proven.value, ContractRecord).version == moment.record.version

    def tamper(name: str, answer: bytes) -> bytes:
        if name == "stream":
            frame = decode(answer, Frame)
            return encode(replace(frame, values=tuple(value for value in frame.values if not is_hidden(value))))
        if name == "prove" and any(map(is_hidden, decode(answer, ProveAnswer).values)):
            raise NodeUnreachable("does not answer this")
        return answer

    return tamper


async def is_silent(it: Story, worker: Worker, contract: ContractId) -> None:
    """It has no key, stands on nothing, and answers nobody."""
    hosted = worker._hosted.get(contract)
    assert hosted is None or (hosted.core._epochs.present, hosted.core.position) == (None, None)
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
        await show(it, worker, contract, now)
        await it.net.until(lambda: version_of(worker, contract) == now.record.version)

    story(guest, tmp_path, tell, freshness_s=20)


def test_keys_that_were_released_for_the_present_open_no_past(guest, tmp_path, monkeypatch) -> None:
    """The gatekeepers are shown the present for as long as it takes them to answer; the worker, only the past."""
    monkeypatch.setattr("keephold.worker.keys.RETRY_SECONDS", 0.5)

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await remembered(it, contract, now.record.version)
        worker = await newcomer(it, contract, before, hiding(now))
        desk = worker._fetcher._desk
        await it.net.until(lambda: bool(desk._pending))
        await show(it, worker, contract, now)
        await it.net.until(lambda: any(len(pending.releases) == 3 for pending in desk._pending.values()))
        assert desk.heights()
        await is_silent(it, worker, contract)
        await show(it, worker, contract, before)
        await it.net.until(lambda: contract in worker._halted)
        assert worker._halted[contract].code == "rollback_detected"
        await is_silent(it, worker, contract)

    story(guest, tmp_path, tell, freshness_s=20)


@pytest.mark.parametrize("is_restarted", [False, True])
def test_an_epoch_that_ended_is_open_to_nobody_again(chain, is_restarted: bool) -> None:
    """Whoever was assigned then is assigned again, on the record of then; the gatekeeper saw the epoch after."""
    vault, path = ForgetfulVault(), contract_path(chain.contract)
    then = chain.net.node.reader.record(path, ContractRecord)
    marks = Marks(vault)
    assert gatekeeper_answers(chain, marks, epoch=1)
    Colluders(chain.net.node).prove({path: replace(then, epoch=2)})
    assert gatekeeper_answers(chain, marks, epoch=2)
    Colluders(chain.net.node).prove({path: then})
    marks.keep_now()
    with pytest.raises(RollbackDetected):
        gatekeeper_answers(chain, Marks(vault) if is_restarted else marks, epoch=1)
    # One that saw nothing of it has nothing to hold against it.
    assert gatekeeper_answers(chain, Marks(ForgetfulVault()), epoch=1)


def gatekeeper_answers(chain, marks: Marks, epoch: int) -> Justified:
    """What a gatekeeper that remembers makes of a request."""

    async def work() -> Justified:
        follower = Follower([chain.net.remote()], VerifiedView(chain.net.genesis))
        await follower.sync()
        identity, items = PublicKey(chain.worker.public), (ContractLine(chain.contract, epoch),)
        request = Request(TransactionId(bytes(32)), identity, InstanceId(chain.instance), items, 3)
        contracts = await follower.prove(paths(request), marks.height_of([chain.contract]))
        registration = await Registrations(follower).verify(identity, at_least=contracts.height)
        return justify(request, contracts, registration, marks, chain.net.network)

    return asyncio.run(work())


def test_it_takes_t_disks_that_forgot(guest, tmp_path) -> None:
    """What remains: the hosts of t gatekeepers roll their disks back, with validators who help."""

    async def tell(it: Story) -> None:
        contract, before, now = await played(it)
        await remembered(it, contract, now.record.version)
        worker = await newcomer(it, contract, before)
        await restart(it, forgetful=2)
        await it.net.until(lambda: version_of(worker, contract) == before.record.version)

    story(guest, tmp_path, tell, freshness_s=20)
