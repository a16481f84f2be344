"""Key generation, release, restart: real gatekeepers on a real ledger, in one process."""

from __future__ import annotations

import asyncio

from keephold.base.errors import LedgerRefused
from keephold.base.ids import ContractId, InstanceId, PublicKey, TransactionId
from keephold.crypto.signing import SigningKey
from keephold.custody.secret.release import combine, prf_input
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.custody import CONTRACT_LINE
from keephold.protocol.transactions import Deploy, KeyItem, KeyRelease, KeyRequest, open_signed
from keephold.sealing.release import ReleaseContext, open_partials


def deploy(net) -> ContractId:
    creator = SigningKey.generate()
    code = Code("python", b"class Token: ...", "Token", b"{}")
    net.send(creator, Deploy(code, ContractPolicy()))
    return contract_id(net.network, creator.public, 0, code_hash(code), ContractPolicy())


class Worker:
    """A worker's session that collects what gatekeepers release to it."""

    def __init__(self, session) -> None:
        self.session = session
        self.answers: dict[bytes, dict[PublicKey, KeyRelease]] = {}

    async def on_block(self, block) -> None:
        for ordered in block.transactions:
            transaction = open_signed(ordered.raw, self.session.network)
            if isinstance(transaction.body, KeyRelease):
                self.answers.setdefault(transaction.body.request, {})[PublicKey(transaction.sender)] = transaction.body

    async def ask(self, contract: ContractId) -> TransactionId:
        request = KeyRequest(self.session.instance.id, (KeyItem(contract, 1),))
        return (await self.session.sender.submit(request)).id

    def seeds(self, contract: ContractId, request: TransactionId, committee) -> list[bytes]:
        session = self.session
        partials = []
        for gatekeeper, release in self.answers[request].items():
            context = ReleaseContext(
                session.network, gatekeeper, session.identity, InstanceId(session.instance.id), request
            )
            plain = open_partials(session.instance.encryption, context, release.sealed)
            assert session.view.header(plain.height).hash() == plain.header_hash
            partials.append(plain.batch)
        return [
            item.reveal()
            for item in combine(partials, committee, [prf_input(session.network, CONTRACT_LINE, contract, 1)])
        ]


async def ask_until_assigned(worker, contract):
    while True:
        try:
            return await worker.ask(contract)
        except LedgerRefused as error:
            if error.reason not in ("unknown_contract", "not_assigned"):
                raise
            await asyncio.sleep(0.05)


async def scenario(net) -> None:
    net.start()
    names = ["ada", "bob", "cyd"]
    gatekeepers = {name: net.gatekeeper(name) for name in names}
    running = {name: net.run(gatekeeper.run()) for name, gatekeeper in gatekeepers.items()}
    await net.until(lambda: gatekeepers["ada"]._session.view.height > 0)
    net.bring_collateral()
    # A key is generated, and everyone speaks: nobody was restarted.
    await net.until(lambda: all(gatekeeper.may_speak for gatekeeper in gatekeepers.values()))
    committee = gatekeepers["ada"].core.office
    assert {seat.member for seat in committee.seats} == {g._session.identity for g in gatekeepers.values()}

    worker = Worker(net.session("wes", "worker"))
    net.run(worker.session.run(worker.on_block))
    await worker.session.registrar.wait_registered()
    contract = deploy(net)
    request = await ask_until_assigned(worker, contract)
    await net.until(lambda: len(worker.answers.get(request, ())) == 3)
    (first,) = worker.seeds(contract, request, committee)

    # The node dies with everything in its mempool; all go on where they were.
    net.kill_node()
    await asyncio.sleep(0.05)
    net.start()
    request = await worker.ask(contract)
    await net.until(lambda: len(worker.answers.get(request, ())) == 3)
    assert worker.seeds(contract, request, committee) == [first]

    # One gatekeeper is restarted: mute until a peer vouched, then it answers with the same share.
    await net.cancel(running.pop("cyd"))
    again = gatekeepers["cyd"] = net.gatekeeper("cyd")
    assert not again.core.standing.is_vouched
    running["cyd"] = net.run(again.run())
    await net.until(lambda: again.may_speak)
    request = await worker.ask(contract)
    await net.until(lambda: len(worker.answers.get(request, ())) == 3)
    assert worker.seeds(contract, request, committee) == [first]

    # All are restarted at once: the mute vouch for each other.
    for task in running.values():
        await net.cancel(task)
    gatekeepers = {name: net.gatekeeper(name) for name in names}
    for gatekeeper in gatekeepers.values():
        net.run(gatekeeper.run())
    await net.until(lambda: all(gatekeeper.may_speak for gatekeeper in gatekeepers.values()))
    request = await worker.ask(contract)
    await net.until(lambda: len(worker.answers.get(request, ())) == 3)
    assert worker.seeds(contract, request, committee) == [first]
    await net.close()


def test_a_committee_is_born_answers_and_survives_restarts(network) -> None:
    asyncio.run(scenario(network))


async def interrupted(net) -> None:
    """A gatekeeper dies in the middle of the ceremony; it hears the messages again, and gets its seat."""
    net.start()
    slow = net.gatekeeper("cyd")
    others = [net.gatekeeper("ada"), net.gatekeeper("bob")]
    for gatekeeper in others:
        net.run(gatekeeper.run())
    task = net.run(slow.run())
    await net.until(lambda: slow._session.view.height > 0)
    net.bring_collateral()
    await net.until(lambda: slow.core.ceremony.is_taking_part)
    await net.cancel(task)
    again = net.gatekeeper("cyd")
    assert again.core.ceremony.is_taking_part
    net.run(again.run())
    await net.until(lambda: all(gatekeeper.may_speak for gatekeeper in (*others, again)))
    assert len(again.core.office.seats) == 3
    await net.close()


def test_a_ceremony_survives_the_death_of_a_participant(network) -> None:
    asyncio.run(interrupted(network))
