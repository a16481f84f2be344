"""Key generation, release, restart: real gatekeepers on a real ledger, in one process."""

from __future__ import annotations

import asyncio

from gatekeeper_asking import Worker, ask_until_assigned, deploy


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

    # Each knows how far the contract came; a candidate, who has no share, sees it for itself.
    dan = net.gatekeeper("dan")
    candidate = net.run(dan.run())
    await net.until(lambda: all(one.marks.of(contract) is not None for one in (dan, *gatekeepers.values())))
    assert dan.core.share is None
    await net.cancel(candidate)

    # One gatekeeper is restarted: mute until a peer vouched, then it answers with the same share.
    await net.cancel(running.pop("cyd"))
    again = gatekeepers["cyd"] = net.gatekeeper("cyd")
    assert again.marks.of(contract) == gatekeepers["ada"].marks.of(contract)
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
