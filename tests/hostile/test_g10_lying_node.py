"""G10. A node that lies about anything: a client gets the truth, or a declared error."""

from __future__ import annotations

import asyncio

import pytest
from hostile_chain import Scene
from msgspec.structs import replace

from keephold.base.errors import ChainRefused, KeepholdError, LedgerRefused, ProofInvalid
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.nodes import Gateways, Node
from keephold.follower.contracts import verify_contract
from keephold.follower.follow import Follower
from keephold.follower.law import check_extends, verify_history
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import network_id
from keephold.protocol.governance import (
    CancelProposal,
    Enacted,
    Proposal,
    RevokeIdentity,
    SetAttestation,
    SignedProposal,
    digest_of,
    sign_proposal,
)
from keephold.protocol.state import AccountRecord, account_path, contract_path
from keephold.protocol.transactions import RevokePermits
from keephold.protocol.wire import FoundTransactions, GovernanceHistory, LightBlocks, ProveAnswer, Verdict, Verdicts
from keephold.testing.adversaries import flipping, repeating, replacing, withholding
from keephold.testing.local import PATIENCE_SECONDS, LocalNetwork, named_key
from keephold.testing.remote import LocalRemote

ENDPOINTS = ("prove", "blocks", "transactions", "governance")


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """One chain for all lies: nothing here changes it."""
    network = LocalNetwork(tmp_path_factory.mktemp("lying"))
    network.open_node()
    made = Scene(network)
    made.play()
    yield made
    network.kill_node()


async def told(chain, tamper):
    """All that a client asks before it seals anything, of a node that answers through `tamper`."""

    async def no_pause(_: float) -> None:
        return

    remote = chain.net.remote()
    remote.tamper = tamper
    follower = Follower([remote], VerifiedView(chain.net.genesis), pause=no_pause)
    await follower.sync()
    contract = await verify_contract(follower, chain.contract)
    alice = account_path(chain.alice.public)
    proven = await follower.prove([alice, contract_path(chain.contract)])
    located = await follower.locate(chain.calls)
    return (
        contract.encryption_key,
        contract.record,
        contract.code,
        proven.values,
        {name: (found.height, found.index, found.result) for name, found in located.items()},
    )


def honest(name: str, answer: bytes) -> bytes:
    return answer


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_one_flipped_byte_of_any_answer_is_the_truth_or_a_declared_error(chain, endpoint: str, mask: int) -> None:
    truth = asyncio.run(told(chain, honest))
    refused = 0
    for position in (0, 1, 7, 31, 64, 100, 191, 333, 512, 700, 1009, 2027, -1, -2, -17, -40, -99, -300):
        try:
            answered = asyncio.run(told(chain, flipping(endpoint, position, mask)))
        except KeepholdError:
            refused += 1
        else:
            assert {**truth[4], **answered[4]} == truth[4]
            assert answered[:4] == truth[:4]
    assert refused >= 12 or endpoint == "governance"


def forged(chain, endpoint: str, kind, alter):
    return asyncio.run(told(chain, replacing(endpoint, lambda answer: encode(alter(decode(answer, kind))))))


def test_another_value_under_an_honest_proof_is_refused(chain) -> None:
    def alter(answer: ProveAnswer) -> ProveAnswer:
        return replace(answer, values=tuple(replace(item, value=item.value + b"\x00") for item in answer.values))

    with pytest.raises(ProofInvalid):
        forged(chain, "prove", ProveAnswer, alter)


def test_a_value_said_to_be_absent_is_refused(chain) -> None:
    def alter(answer: ProveAnswer) -> ProveAnswer:
        return replace(answer, values=tuple(replace(item, value=b"") for item in answer.values))

    with pytest.raises(ProofInvalid):
        forged(chain, "prove", ProveAnswer, alter)


def test_a_value_left_out_or_of_another_path_is_refused(chain) -> None:
    for alter in (
        lambda answer: replace(answer, values=answer.values[:-1]),
        lambda answer: replace(answer, values=(*answer.values, *answer.values[:1])),
    ):
        with pytest.raises(ProofInvalid):
            forged(chain, "prove", ProveAnswer, alter)


def test_a_transaction_with_anothers_place_or_result_is_refused(chain) -> None:
    def moved(answer: FoundTransactions) -> FoundTransactions:
        return FoundTransactions(
            tuple(replace(item, result=replace(item.result, code=item.result.code ^ 1)) for item in answer.found)
        )

    with pytest.raises(ProofInvalid):
        forged(chain, "transactions", FoundTransactions, moved)


def test_headers_of_another_height_are_refused(chain) -> None:
    def shifted(answer: LightBlocks) -> LightBlocks:
        return LightBlocks(tuple(replace(block, height=block.height + 1) for block in answer.blocks))

    with pytest.raises((ChainRefused, LedgerRefused)):
        forged(chain, "blocks", LightBlocks, shifted)


def test_law_that_nobody_signed_is_refused(chain) -> None:
    """A governance action with the governor's name under it and the attacker's signature."""
    proposal = Proposal(chain.net.network, 1, RevokeIdentity(chain.worker.public))
    signature = sign_proposal(proposal, named_key("eve"))
    forged_entry = Enacted(
        SignedProposal(proposal, (replace(signature, key=chain.net.governor.public),)), chain.net.genesis.time_ns + 1
    )

    async def ask() -> None:
        remote = chain.net.remote()
        remote.tamper = replacing("governance", lambda _: encode(GovernanceHistory((forged_entry,))))
        follower = Follower([remote], VerifiedView(chain.net.genesis))
        await follower.sync()
        await Registrations(follower).verify(chain.worker.public)

    with pytest.raises(ProofInvalid, match="does not verify"):
        asyncio.run(ask())


def test_a_cancelled_amendment_is_not_brought_back_to_who_saw_it_cancelled(chain) -> None:
    """By validators who all collude: they prove any record, and serve the history that belongs to it."""
    genesis = chain.net.genesis
    genesis = replace(genesis, law=replace(genesis.law, governance=replace(genesis.law.governance, delay_ns=10**9)))
    network, start = network_id(genesis), genesis.time_ns
    wider = SetAttestation(replace(genesis.law.attestation, measurements=()))

    def entry(sequence: int, action, at_ns: int, key=chain.net.governor) -> Enacted:
        proposal = Proposal(network, sequence, action)
        return Enacted(SignedProposal(proposal, (sign_proposal(proposal, key),)), start + at_ns)

    waits = entry(1, wider, 1)
    cancelled = entry(2, CancelProposal(digest_of(waits.signed.proposal)), 2)
    other = entry(2, RevokeIdentity(chain.worker.public), 2)
    known = verify_history(genesis, [waits, cancelled])
    assert known.at(start + 10**12).attestation == genesis.law.attestation
    for lie in ([waits], [waits, other], []):
        with pytest.raises(ProofInvalid, match="does not go on"):
            check_extends(verify_history(genesis, lie), known.record)
    # Nor does a continuation without the cancellation take what governance signed behind it: a number is missing.
    behind = entry(3, RevokeIdentity(chain.worker.public), 3)
    with pytest.raises(LedgerRefused, match="sequence 3, expected 2"):
        verify_history(genesis, [waits, behind])
    # And nobody but governance cancels.
    forged_entry = entry(2, CancelProposal(digest_of(waits.signed.proposal)), 2, named_key("eve"))
    with pytest.raises(LedgerRefused, match="not a governance key"):
        verify_history(genesis, [waits, forged_entry])


# --- one of two nodes lies, in its answers only ---


async def with_another(chain, tamper):
    """What is proven to somebody whose first node lies, and whose second one does not."""
    liar, honest = chain.net.remote(), chain.net.remote()
    follower = Follower([liar, honest], VerifiedView(chain.net.genesis))
    await follower.sync()
    liar.tamper = tamper
    located = await follower.locate(chain.calls)
    proven = await follower.prove([account_path(chain.alice.public)])
    return set(located), proven.values


@pytest.mark.parametrize("endpoint", ["transactions", "prove", "blocks"])
def test_who_has_another_node_is_not_kept_by_one_whose_answers_do_not_hold(chain, endpoint: str) -> None:
    """An honest stream beside forged answers would else keep an enclave for ever."""
    truth = asyncio.run(with_another(chain, lambda _, answer: answer))
    assert truth[0] == set(chain.calls)
    assert asyncio.run(with_another(chain, flipping(endpoint, -20))) == truth


def test_what_one_node_leaves_out_another_one_is_asked_for(chain) -> None:
    truth = asyncio.run(with_another(chain, lambda _, answer: answer))
    silent = replacing("transactions", lambda _: encode(FoundTransactions(())))
    assert asyncio.run(with_another(chain, silent)) == truth


# --- a client that has another node moves to it, with what it has under way ---


class Moving:
    """A client of two connections to one network; what it waits for is a transaction's effect, proven."""

    def __init__(self, net: LocalNetwork, liar: LocalRemote, honest: LocalRemote) -> None:
        self.net, self.liar, self.honest = net, liar, honest
        self.alice = Account(named_key("alice"), "alice")

    async def open(self) -> None:
        nobody = Gateways([])
        self.connection = await Connection.open(
            [Node(self.liar, nobody), Node(self.honest, nobody)], self.net.genesis, self.net.clock
        )

    async def effect(self) -> None:
        """Send something, and return once a header proves that it happened."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            flight = await self.connection.transact(self.alice, RevokePermits())
            await self.connection.effect(
                flight,
                account_path(flight.account),
                lambda raw: raw is not None and decode(raw, AccountRecord).nonce > flight.nonce,
            )


def swallowed(name: str, _: bytes) -> bytes | None:
    """Accept every submission, and order none."""
    return encode(Verdicts((Verdict(),))) if name == "submit" else None


def stuck(tamper):
    """Show the past in every answer, and nothing in the stream."""
    past, silent = repeating({"blocks", "prove", "transactions"}), withholding()
    return lambda name, answer: tamper(name, silent(name, past(name, answer)))


LIES = {
    "what it shows is true": lambda _, answer: answer,
    "its stream shows nothing": withholding(),
    "its stream is altered": flipping("stream", -20),
    "its proofs are altered": flipping("prove", -20),
    "its headers are altered": flipping("blocks", -20),
    "its transactions are altered": flipping("transactions", -20),
    "it shows its past": stuck(lambda _, answer: answer),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
@pytest.mark.parametrize("intercept", [None, swallowed], ids=["takes what is sent", "swallows what is sent"])
def test_a_client_moves_on_with_what_it_has_under_way(tmp_path, lie, intercept) -> None:
    async def story(net: LocalNetwork) -> None:
        moving = Moving(net, net.remote(), net.remote())
        await moving.open()
        try:
            await moving.effect()
            head = moving.connection.follower.view.height
            moving.liar.tamper = lie
            moving.liar.intercept = intercept or moving.liar.intercept
            await moving.effect()
            assert moving.connection.follower.view.height >= head
        finally:
            await moving.connection.aclose()

    _at_network(tmp_path, story)


def test_a_node_that_shows_a_fork_is_left_and_nothing_of_it_is_taken(tmp_path) -> None:
    """Same genesis, same validator, another history: what was verified once stays, and goes on where it is true."""

    async def story(net: LocalNetwork) -> None:
        fork = net.another_node("fork")
        truth, other = net.remote(), net.remote()
        other.node = fork
        moving = Moving(net, truth, other)
        while fork.engine.latest() < net.node.engine.latest():
            fork.engine.step()
        try:
            await moving.open()
            view = moving.connection.follower.view
            while fork.engine.latest() < view.height:
                fork.engine.step()
            known = view.header(view.height)
            truth.node, node = None, truth.node
            waiting = asyncio.ensure_future(moving.effect())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(waiting), 2)
            assert view.header(known.height) == known
            truth.node = node
            if waiting.done():
                waiting.exception()
                waiting = asyncio.ensure_future(moving.effect())
            await waiting
        finally:
            await moving.connection.aclose()
            fork.stop()

    _at_network(tmp_path, story)


def _at_network(tmp_path, story) -> None:
    async def main() -> None:
        net = LocalNetwork(tmp_path, freshness_s=1)
        net.start()
        try:
            await net.until(lambda: net.node.engine.latest() > 0)
            await story(net)
        finally:
            await net.close()

    asyncio.run(main())
