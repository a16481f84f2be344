"""A permit lets its bearer read, and nobody else; and no node keeps alive what its issuer revoked."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from worker_story import ALICE, ANSWER_KEY, BOB, PAD, Story, story
from worker_story import guest as guest  # noqa: PLC0414 - a fixture

from keephold.base.errors import BadSignature, InputError, NodeUnreachable, SealBroken, StaleAnswer
from keephold.client import permits
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.nodes import Node
from keephold.contract.address import Address
from keephold.crypto.bearer import BearerKey
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import QueryBody
from keephold.protocol.permits import EVENTS_SCOPE
from keephold.protocol.state import account_path
from keephold.protocol.wire import QueryEnvelope
from keephold.sealing.query import seal_query, sign_permitted
from keephold.testing.adversaries import repeating
from keephold.worker.queries import EVENT_KEY

ISSUER = Account(BOB, "bob")


class Asking:
    """A contract with bob's balance in it, and whoever asks for that under a permit."""

    def __init__(self, it: Story) -> None:
        self.it = it

    async def begin(self) -> None:
        it = self.it
        self.worker = await it.start()
        self.contract = await it.deploy()
        await it.call(self.contract, ALICE, "setup", "GLD", "1000")
        await it.call(self.contract, ALICE, "transfer", Address.account(BOB.public).text, "30")
        await it.consumed(self.contract)
        self.address = Address.contract(self.contract)
        remote = it.net.remote()
        self.client = await Connection.open([Node(remote, it.gateway)], it.net.genesis)

    async def permit(self, *scopes: str, **other) -> permits.Session:
        seed = SecretBytes.random()
        bearer = other.pop("bearer", BearerKey(seed).public)
        given = {"contracts": [self.address], "scopes": scopes or ("balance",), "bearer": bearer} | other
        return permits.Session(await permits.issue(self.client, ISSUER, **given), seed)

    def envelope(self, session: permits.Session, *, key: BearerKey | None = None, method="balance", **other):
        it, record = self.it, self.it.record(self.contract)
        fields = {
            "network": it.net.network, "contract": self.contract, "epoch": record.epoch,
            "instance": self.worker._session.instance.id, "reader": BOB.public, "method": method, "arguments": b"[]",
            "answer_key": ANSWER_KEY, "min_height": it.net.node.application.map.newest.height,
        } | other  # fmt: skip
        body = QueryBody(**fields)
        query = session.ask(body) if key is None else sign_permitted(key, session.permit, body)
        return QueryEnvelope(self.contract, fields["instance"], seal_query(record.encryption_key, query, PAD))

    async def ask(self, session: permits.Session, **other):
        envelope = self.envelope(session, **other)
        answer = await self.worker.answer(envelope, self.worker._session.instance.id)
        return self.it.opened(self.contract, envelope, answer).reply


def play(guest, tmp_path, tell) -> None:
    async def run(it: Story) -> None:
        asking = Asking(it)
        await asking.begin()
        try:
            await tell(asking)
        finally:
            await asking.client.aclose()

    story(guest, tmp_path, run)


def test_a_permit_opens_what_it_says_to_its_bearer_until_it_is_revoked(guest, tmp_path):
    async def tell(it: Asking) -> None:
        session = await it.permit()
        handed = permits.Session.parse(session.reveal())
        for reader in (session, handed):
            reply = await it.ask(reader)
            assert (reply.outcome, json.loads(reply.value)) == ("ok", 30)
        # Other scopes, the event key among them.
        for method in ("history", EVENT_KEY):
            assert (await it.ask(session, method=method)).code == "permit_scope"
        assert (await it.ask(await it.permit(EVENTS_SCOPE), method=EVENT_KEY)).outcome == "ok"
        # Another contract's.
        elsewhere = await it.permit(contracts=[Address.contract(b"x" * 32)])
        assert (await it.ask(elsewhere)).code == "permit_contract"
        # Stolen: all of the permit, without the key.
        with pytest.raises(BadSignature):
            await it.ask(session, key=BearerKey(SecretBytes(b"t" * 32)))
        # Recorded, and asked of another instance, or under the next epoch.
        for other in ({"instance": b"j" * 32}, {"epoch": 2}):
            with pytest.raises(SealBroken):
                await it.ask(session, **other)
        # Asked again of the same instance: the same answer, for the same one-time key.
        envelope = it.envelope(session)
        answers = [await it.worker.answer(envelope, it.worker._session.instance.id) for _ in range(2)]
        assert len({it.it.opened(it.contract, envelope, answer).reply for answer in answers}) == 1
        # One is revoked, the other is not; nobody revokes another's.
        other = await it.permit("balance", contracts="*")
        with pytest.raises(InputError, match="another account"):
            await permits.revoke(it.client, Account(ALICE), session.permit)
        await permits.revoke(it.client, ISSUER, session.permit)
        await permits.revoke(it.client, ISSUER, session.permit)
        assert (await it.ask(session)).code == "permit_revoked"
        assert (await it.ask(handed)).code == "permit_revoked"
        assert (await it.ask(other)).outcome == "ok"
        # All of them.
        assert await permits.revoke_all(it.client, ISSUER) == 1
        assert (await it.ask(other)).code == "permit_generation"
        assert (await it.ask(await it.permit())).outcome == "ok"

    play(guest, tmp_path, tell)


def test_a_node_that_shows_the_past_keeps_no_permit_alive(guest, tmp_path):
    async def tell(it: Asking) -> None:
        session, other = await it.permit(), await it.permit()
        lied_to = it.worker._session.follower.remote
        assert (await it.ask(session)).outcome == "ok"
        # From now on the worker's node proves the issuer's account as it was, and everything else as it is: a worker
        # that gets no proof of its own echo would be mute anyhow.
        path, old = account_path(BOB.public), repeating({"prove"})
        lied_to.tamper = lambda name, answer: old(name, answer) if path in answer else answer
        assert (await it.ask(session)).outcome == "ok"
        await permits.revoke_all(it.client, ISSUER)
        await it.it.net.until(lambda: it.worker._session.view.height >= it.client.follower.view.height)
        with pytest.raises(StaleAnswer):
            await it.ask(session)
        lied_to.tamper = lambda _, answer: answer
        assert (await it.ask(session)).code == "permit_generation"
        # One that proves nothing about it gets no answer out of the worker either.
        lied_to.tamper = lambda name, answer: b"" if name == "prove" and path in answer else answer
        with pytest.raises(NodeUnreachable):
            await it.ask(other)

    play(guest, tmp_path, tell)


def test_what_cannot_be_a_permit_is_not_signed(guest, tmp_path):
    async def tell(it: Asking) -> None:
        for wrong in (
            {"contracts": []}, {"scopes": []}, {"expires": timedelta(days=31)}, {"expires": timedelta(0)},
            {"expires": timedelta(seconds=-1)}, {"contracts": [ISSUER.address]}, {"scopes": ["x"] * 2 + ["y" * 300]},
            {"origin": "x" * 300},
        ):  # fmt: skip
            given = {
                "contracts": "*",
                "scopes": ["balance"],
                "bearer": BearerKey(SecretBytes(b"u" * 32)).public,
            } | wrong
            with pytest.raises(InputError):
                await permits.issue(it.client, ISSUER, **given)
        session = await it.permit()
        with pytest.raises(InputError, match="another bearer"):
            permits.Session(session.permit, SecretBytes(b"u" * 32))
        text = session.reveal()
        assert permits.parse_permit(text) == session.permit == permits.parse_permit(permits.permit_text(session.permit))
        for broken in (text[:-4], text + "AAAA", "keephold-permit:" + text.partition(":")[2], "", "keephold-session:="):
            with pytest.raises(InputError):
                permits.parse_permit(broken)
        with pytest.raises(InputError):
            permits.Session.parse(permits.permit_text(session.permit))

    play(guest, tmp_path, tell)


@pytest.mark.parametrize("shown", [repr, str])
def test_a_session_shows_no_key(guest, tmp_path, shown):
    async def tell(it: Asking) -> None:
        session = await it.permit()
        assert session.reveal().partition(":")[2][-20:] not in shown(session)

    play(guest, tmp_path, tell)
