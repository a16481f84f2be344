"""Handing the key on: real gatekeepers on a real ledger, in one process."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from gatekeeper_asking import Worker, ask_until_assigned, deploy

from keephold.base.errors import KeepholdError, NodeUnreachable
from keephold.crypto.signing import SigningKey
from keephold.ledger.rules import committee as rules
from keephold.protocol.governance import CommitteeRules, RevokeIdentity, SetAttestation, SetCommittee
from keephold.protocol.state import CommitteeRecord, committee_path
from keephold.testing.local import WORKER
from keephold.testing.vendor import SgxBuild

LONG = 240.0
"""Seconds for a resharing in which the absent are waited for."""


def office(net) -> CommitteeRecord:
    return net.node.reader.record(committee_path(), CommitteeRecord) or CommitteeRecord()


class Court:
    """A network whose committee of three is in office, and a worker that asks it."""

    def __init__(self, net) -> None:
        self.net = net
        self.gatekeepers = {}
        self.tasks = {}

    async def begin(self) -> None:
        self.net.start()
        for name in ("ada", "bob", "cyd"):
            self.start(name)
        await self.net.until(lambda: self.gatekeepers["ada"]._session.view.height > 0)
        self.net.bring_collateral()
        await self.speaking("ada", "bob", "cyd")
        self.first = office(self.net).keys[0]
        self.worker = Worker(self.net.session("wes", "worker"))
        self.net.run(self.worker.session.run(self.worker.on_block))
        await self.worker.session.registrar.wait_registered()
        self.contract = deploy(self.net)
        self.request = await ask_until_assigned(self.worker, self.contract)
        self.seed = await self.answer(3)

    def start(self, name: str, build: SgxBuild | None = None):
        made = self.gatekeepers[name] = self.net.gatekeeper(name, build=build)
        self.tasks[name] = self.net.run(self._live(made))
        return made

    async def _live(self, gatekeeper) -> None:
        # Whom governance revoked, the registrar ends: that is no failure of these tests.
        with contextlib.suppress(KeepholdError):
            await gatekeeper.run()

    async def kill(self, name: str) -> None:
        await self.net.cancel(self.tasks.pop(name))

    def identity(self, name: str) -> bytes:
        return self.gatekeepers[name]._session.identity

    async def registered(self, *names: str) -> None:
        for name in names:
            await self.gatekeepers[name]._session.registrar.wait_registered()

    async def speaking(self, *names: str) -> None:
        await self.net.until(lambda: all(self.gatekeepers[name].may_speak for name in names), LONG)

    async def sharing(self, epoch: int) -> None:
        await self.net.until(lambda: office(self.net).keys[0].sharing_epoch == epoch, LONG)

    def seated(self) -> set[bytes]:
        return {seat.member for seat in office(self.net).keys[0].seats}

    async def answer(self, count: int) -> bytes:
        """Return the contract's seed as the committee in office gives it."""
        request = self.request if not hasattr(self, "seed") else await self.worker.ask(self.contract)
        await self.net.until(lambda: len(self.worker.answers.get(request, ())) == count)
        (seed,) = self.worker.seeds(self.contract, request, office(self.net).keys[0])
        return seed


def hold(network, scenario) -> None:
    async def whole() -> None:
        court = Court(network)
        await court.begin()
        await scenario(court)
        await network.close()

    asyncio.run(whole())


async def replaced(court: Court) -> None:
    court.start("dan")
    await court.registered("dan")
    assert office(court.net).phase == "ready"
    court.net.govern(RevokeIdentity(court.identity("cyd")))
    await court.sharing(2)
    await court.speaking("ada", "bob", "dan")
    assert court.seated() == {court.identity(name) for name in ("ada", "bob", "dan")}
    assert office(court.net).keys[0].master == court.first.master
    assert await court.answer(3) == court.seed
    # Everyone is restarted: what lies on the disks is the new sharing, and nothing of the old one.
    for name in ("ada", "bob", "dan"):
        await court.kill(name)
    for name in ("ada", "bob", "dan"):
        again = court.start(name).core.ceremony
        assert again.share_for(court.first) is None
        assert again.share_for(office(court.net).keys[0]) is not None
    await court.speaking("ada", "bob", "dan")
    assert await court.answer(3) == court.seed
    assert court.net.gatekeeper("cyd").core.ceremony.share_for(office(court.net).keys[0]) is None


def test_a_revoked_gatekeeper_is_replaced_and_the_keys_stay_the_same(network) -> None:
    hold(network, replaced)


async def enlarged(court: Court) -> None:
    court.start("dan")
    court.start("eve")
    await court.registered("dan", "eve")
    court.net.govern(SetCommittee(CommitteeRules(5, 3, court.net.genesis.law.committee.phase_ns)))
    await court.sharing(2)
    await court.speaking("ada", "bob", "cyd", "dan", "eve")
    assert (len(court.seated()), office(court.net).keys[0].threshold) == (5, 3)
    assert await court.answer(5) == court.seed
    assert all(g.core.ceremony.share_for(court.first) is None for g in court.gatekeepers.values())


def test_governance_makes_the_committee_larger(network) -> None:
    hold(network, enlarged)


async def another_build(court: Court) -> None:
    newer = SgxBuild.named("gatekeeper of tomorrow")
    policy = court.net.vendor.policy((WORKER, "worker"), (newer, "gatekeeper"))
    await court.kill("cyd")
    court.net.govern(SetAttestation(policy))
    await court.net.until(lambda: office(court.net).phase == "short")
    await court.net.until(lambda: not any(court.gatekeepers[name].may_speak for name in ("ada", "bob")))
    # One of those who have to deal was restarted: it cannot register any more, and deals all the same.
    await court.kill("bob")
    court.start("bob")
    for name in ("dan", "eve", "fay"):
        court.start(name, newer)
    await court.sharing(2)
    await court.speaking("dan", "eve", "fay")
    assert court.seated() == {court.identity(name) for name in ("dan", "eve", "fay")}
    assert await court.answer(3) == court.seed
    await court.net.until(
        lambda: not any(court.gatekeepers[name].core.ceremony.share_for(court.first) for name in ("ada", "bob"))
    )


def test_a_delisted_build_hands_the_key_to_its_successor(network) -> None:
    hold(network, another_build)


async def interrupted(court: Court) -> None:
    dan = court.start("dan")
    await court.registered("dan")
    court.net.govern(RevokeIdentity(court.identity("cyd")))
    await court.net.until(lambda: dan.core.ceremony.is_taking_part)
    await court.kill("dan")
    await court.net.until(lambda: court.gatekeepers["ada"].core.ceremony.is_taking_part)
    await court.kill("ada")
    assert court.start("dan").core.ceremony.is_taking_part
    assert court.start("ada").core.ceremony.is_taking_part
    await court.sharing(2)
    await court.speaking("ada", "bob", "dan")
    assert len(court.seated()) == 3
    assert await court.answer(3) == court.seed


def test_dealer_and_newcomer_die_in_the_middle_and_go_on(network) -> None:
    hold(network, interrupted)


@pytest.mark.parametrize("who", ["attested strangers", "nobody"])
def test_a_ledger_that_opens_a_bogus_resharing_gets_no_share(network, monkeypatch, who: str) -> None:
    """Colluding validators: lawful size, no cause; or successors that are no enclaves at all."""

    async def scenario(court: Court) -> None:
        chosen = [SigningKey.generate().public for _ in range(3)]
        if who == "attested strangers":
            for name in ("eva", "eve", "evi"):
                court.start(name)
            await court.registered("eva", "eve", "evi")
            chosen = [court.identity(name) for name in ("eva", "eve", "evi")]
        monkeypatch.setattr(rules, "next_members", lambda *_: tuple(chosen))
        await court.net.until(lambda: office(court.net).phase == "resharing")
        await court.net.until(lambda: office(court.net).setbacks == 1, LONG)
        monkeypatch.undo()
        record = office(court.net)
        assert record.keys == (court.first,)
        await court.net.until(lambda: not any(one.core.ceremony.is_taking_part for one in court.gatekeepers.values()))
        assert await court.answer(3) == court.seed

    hold(network, scenario)


async def unfit_when_dealt_to(court: Court) -> None:
    """A successor that is revoked between opening and dealing gets nothing, and the committee stays."""
    court.start("dan")
    await court.registered("dan")
    await court.kill("bob")
    court.net.govern(RevokeIdentity(court.identity("cyd")))
    # Bob's keys are waited for; meanwhile the law changes its mind about Dan.
    await court.net.until(lambda: court.gatekeepers["ada"].core.ceremony.is_taking_part)
    court.net.govern(RevokeIdentity(court.identity("dan")))
    court.start("eve")
    court.start("bob")
    await court.sharing(2)
    assert court.seated() == {court.identity(name) for name in ("ada", "bob", "eve")}
    await court.speaking("ada", "bob", "eve")
    assert await court.answer(3) == court.seed


def test_who_is_revoked_in_the_middle_gets_no_share(network) -> None:
    hold(network, unfit_when_dealt_to)


async def unanswered(court: Court) -> None:
    """No node answers while a round opens: those who could not verify it yet catch up from what was said meanwhile."""
    court.start("dan")
    await court.registered("dan")
    for name in ("ada", "dan"):
        late(court.gatekeepers[name])
    court.net.govern(RevokeIdentity(court.identity("cyd")))
    await court.sharing(2)
    await court.speaking("ada", "bob", "dan")
    assert await court.answer(3) == court.seed


def late(gatekeeper, times: int = 2) -> None:
    """Make the next verifications of an opening find no node."""
    whole, left = gatekeeper._open, [None] * times

    async def once_there(opening) -> None:
        if left:
            left.pop()
            raise NodeUnreachable("for the moment")
        await whole(opening)

    gatekeeper._open = once_there


def test_an_opening_that_could_not_be_verified_at_once_is_not_lost(network) -> None:
    hold(network, unanswered)
