"""A worker is excluded: it is told no key any more, while its successor gets those of both epochs and moves the state.

The rules refuse its requests already; that a gatekeeper refuses them by its own judgement is in `test_requests`.
"""

from __future__ import annotations

import asyncio

import pytest
from gatekeeper_asking import Worker, ask_until_assigned, deploy

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId, InstanceId
from keephold.crypto.entity import EntityKeys
from keephold.custody.secret.release import combine, prf_input
from keephold.protocol.governance import RevokeIdentity
from keephold.protocol.lines import ContractLine
from keephold.protocol.state import ContractRecord, contract_path
from keephold.protocol.transactions import KeyRequest, Migration, PublishKey, SubmitMigration
from keephold.sealing.release import ReleaseContext, open_partials


async def ask(worker: Worker, contract: ContractId, *epochs: int) -> bytes:
    items = tuple(ContractLine(contract, epoch) for epoch in epochs)
    return (await worker.session.sender.submit(KeyRequest(worker.session.instance.id, items))).id


def seeds(worker: Worker, contract: ContractId, request: bytes, committee, *epochs: int) -> list[bytes]:
    """What the answers to a request for several epochs combine to."""
    session, partials = worker.session, []
    for gatekeeper, release in worker.answers[request].items():
        instance = InstanceId(session.instance.id)
        context = ReleaseContext(session.network, gatekeeper, session.identity, instance, request)
        partials.append(open_partials(session.instance.encryption, context, release.sealed).batch)
    inputs = [prf_input(session.network, ContractLine(contract, epoch)) for epoch in epochs]
    return [item.reveal() for item in combine(partials, committee, inputs)]


def publication(worker: Worker, contract: ContractId, epoch: int) -> PublishKey:
    keys = EntityKeys.generate()
    instance = worker.session.instance.id
    return PublishKey(contract, epoch, instance, keys.signing.public, keys.encryption.public)


async def scenario(net) -> None:
    net.start()
    gatekeepers = [net.gatekeeper(name) for name in ("ada", "bob", "cyd")]
    for gatekeeper in gatekeepers:
        net.run(gatekeeper.run())
    await net.until(lambda: gatekeepers[0]._session.view.height > 0)
    net.bring_collateral()
    await net.until(lambda: all(gatekeeper.may_speak for gatekeeper in gatekeepers))
    committee = gatekeepers[0].core.office

    def record() -> ContractRecord:
        return net.node.reader.record(contract_path(contract), ContractRecord)

    async def join(name: str) -> Worker:
        worker = Worker(net.session(name, "worker"))
        net.run(worker.session.run(worker.on_block))
        await worker.session.registrar.wait_registered()
        return worker

    eve = await join("eve")
    contract = deploy(net)
    request = await ask_until_assigned(eve, contract)
    await net.until(lambda: len(eve.answers.get(request, ())) == 3)
    (first,) = eve.seeds(contract, request, committee)
    await eve.session.sender.submit(publication(eve, contract, 1))
    assert record().phase == "active"

    # Excluded: the epoch ends at once, and she is told nothing of either.
    net.govern(RevokeIdentity(eve.session.identity))
    await net.until(lambda: record().phase == "rotating")
    heard = dict(eve.answers)
    for epochs in ((1,), (2,), (1, 2)):
        with pytest.raises(LedgerRefused, match="revoked"):
            await ask(eve, contract, *epochs)

    # Her successor drains and migrates: both keys, the old one the same as hers.
    wes = await join("wes")
    await net.until(lambda: wes.session.identity in record().workers)
    request = await ask(wes, contract, 1, 2)
    await net.until(lambda: len(wes.answers.get(request, ())) == 3)
    old, new = seeds(wes, contract, request, committee, 1, 2)
    assert (old, new != old) == (first, True)
    await wes.session.sender.submit(publication(wes, contract, 2))
    now = record()
    root = now.state_root
    page = Migration(contract, 1, 2, bytes(32), bytes(32), now.version, root, root, is_last=True)
    await wes.session.sender.submit(SubmitMigration(wes.session.instance.id, page))
    await net.until(lambda: (record().phase, record().epoch) == ("active", 2))

    # With the next epoch the old key is gone for him as well.
    with pytest.raises(LedgerRefused, match="wrong_epoch"):
        await ask(wes, contract, 1)
    assert eve.answers == heard
    await net.close()


def test_the_excluded_get_no_key_and_the_old_one_is_released_never_again(network) -> None:
    asyncio.run(scenario(network))
