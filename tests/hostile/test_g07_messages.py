"""G7, between contracts: what validators that all collude put into an inbox moves no contract."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from worker_cast import CODE, CONTRACT, KEYS, NETWORK, PAD

from keephold.base.errors import SealBroken
from keephold.base.ids import ContractId, HeaderHash, Height, NetworkId, StateRoot
from keephold.chain.sparse import EMPTY_ROOT
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.protocol.channel import AnswerEntry, MessageEntry, UndeliveredEntry, id_of, message_number
from keephold.protocol.codec import encode
from keephold.protocol.lines import ChannelLine
from keephold.protocol.messages import MessagePlain, Reply
from keephold.runtime.outcome import Outcome, Posted
from keephold.sealing.message import ChannelKey
from keephold.worker.execution import Job
from keephold.worker.inbox import Entry, Ordering
from keephold.worker.mail import Lacking, Mail, PeerEpochs
from keephold.worker.results import Position
from keephold.worker.state import Opened, downloaded

PEER, THIRD = ContractId(b"p" * 32), ContractId(b"t" * 32)
HERE = Ordering(Height(9), HeaderHash(b"h" * 32), 1)
SEED = b"s" * 32
INWARD, OUTWARD = ChannelLine(PEER, 1, CONTRACT, 1), ChannelLine(CONTRACT, 1, PEER, 1)
SENT = message_number(1, 0)


def key(line: ChannelLine, seed: bytes = SEED, network: NetworkId = NETWORK) -> ChannelKey:
    return ChannelKey(SecretBytes(seed), network, line)


def message(number: int = 300, method: str = "pay", by: ChannelKey | None = None, **changes) -> MessageEntry:
    sealed = (by or key(INWARD)).seal_message(number, MessagePlain(method, b"[1]"), PAD)
    entry = MessageEntry(PEER, 1, 1, number, 8, sealed, is_answered=True)
    return replace(entry, **changes)


def answer(reply: Reply = Reply("ok", b"7"), number: int = SENT, by: ChannelKey | None = None, **changes):  # noqa: B008 - frozen
    sealed = (by or key(OUTWARD)).seal_answer(number, reply, PAD)
    return replace(AnswerEntry(PEER, 1, 1, number, 8, sealed), **changes)


class World:
    """The contract's enclave, over whatever entries a ledger shows it."""

    def __init__(self, *, peer_began: int = 1) -> None:
        self.mail = Mail()
        for line in (INWARD, OUTWARD):
            self.mail.take(key(line))
        begun = ((1, peer_began),) if peer_began else ()
        self.mail.learn(PeerEpochs(PEER, 100, begun, is_whole=True))
        state = downloaded(StateRoot(EMPTY_ROOT), (), Opened(KEYS.slots))
        self.position = Position(0, 0, state)
        self.ran = []
        self.outcomes: list[Outcome] = []

    def execute(self, calls, store):
        calls = list(calls)
        self.ran += calls
        return [self.outcomes.pop(0) if self.outcomes else Outcome(status="ok", value_json="1") for _ in calls]

    def restart(self) -> None:
        raise AssertionError

    def show(self, *letters):
        """Have the enclave consume these; return the result."""
        first, entries = self.position.done + 1, []
        for index, letter in enumerate(letters, first):
            raw = encode(letter)
            entries.append(Entry(index, id_of(raw), raw, HERE, bytes([index]) * 32))
        built = Job(1, KEYS, CODE, tuple(entries), self.position, None, self.mail).run(self)
        assert not isinstance(built, Lacking), built
        self.position = built[-1].after
        return built[-1].result

    def send(self) -> None:
        """Send a message that wants an answer: from an authentic one, which is entry 1."""
        self.outcomes.append(Outcome(status="ok", messages=(Posted(Address.contract(PEER).text, "m", "[]", "on_m"),)))
        (sent,) = self.show(message(1)).messages
        assert bool(sent.sealed) == bool(sent.target_epoch)
        self.ran.clear()


def told(result, number: int = 300) -> Reply:
    return key(INWARD).open_answer(number, result.receipts[-1])


def test_an_honest_message_runs_as_its_sender_and_is_answered() -> None:
    world = World()
    assert told(world.show(message())) == Reply("ok", b"1")
    (ran,) = world.ran
    assert (ran.sender, ran.kind, ran.method) == (Address.contract(PEER).text, "call", "pay")


FORGED = {
    "an account's own seal": message(by=key(INWARD, b"x" * 32)),
    "noise": message(sealed=bytes(600)),
    "redirected: for another contract": message(by=key(ChannelLine(PEER, 1, THIRD, 1))),
    "another's": message(by=key(ChannelLine(THIRD, 1, CONTRACT, 1))),
    "turned round": message(by=key(OUTWARD)),
    "of the epoch before": message(by=key(ChannelLine(PEER, 1, CONTRACT, 2))),
    "of another network": message(by=key(INWARD, network=NetworkId(b"m" * 32))),
    "under another number": replace(message(301), number=302),
    "an answer as a message": message(sealed=key(INWARD).seal_answer(300, Reply("ok"), PAD)),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_an_invented_or_redirected_message_is_not_run_and_not_answered_in_earnest(forged) -> None:
    world = World()
    result = world.show(forged)
    assert world.ran == []
    assert result.writes == ()
    assert len(result.receipts[0]) == len(world.show(message(400)).receipts[0])  # looks like any other
    with pytest.raises(SealBroken):
        told(result, forged.number)


def test_a_message_shown_twice_runs_once_and_its_copy_undoes_nothing() -> None:
    world = World()
    twice = world.show(message(), message())
    assert len(world.ran) == 1
    key(INWARD).open_answer(300, twice.receipts[0])
    for result in (twice, world.show(message())):
        with pytest.raises(SealBroken):
            told(result)
    assert len(world.ran) == 1


def test_a_message_behind_its_successor_is_not_run() -> None:
    world = World()
    world.show(message(301))
    with pytest.raises(SealBroken):
        told(world.show(message(300)))
    assert [ran.method for ran in world.ran] == ["pay"]


@pytest.mark.parametrize("kept", [(1, 2), (2, 1), (1, 1)], ids=["of the source", "of this contract", "of both"])
def test_who_was_excluded_makes_no_message_once_one_of_a_later_epoch_was_taken(kept) -> None:
    """Validators append what the key of a past line made, under whatever number."""
    world = World()
    lines = {epochs: key(ChannelLine(PEER, epochs[0], CONTRACT, epochs[1])) for epochs in (kept, (2, 2))}
    for each in lines.values():
        world.mail.take(each)

    def sent(number: int, epochs: tuple[int, int]) -> MessageEntry:
        return message(number, by=lines[epochs], source_epoch=epochs[0], target_epoch=epochs[1])

    world.show(sent(300, kept))
    world.show(sent(400, (2, 2)), sent(500, kept))
    forged = sent(1 << 40, kept)
    result = world.show(forged)
    with pytest.raises(SealBroken):
        lines[kept].open_answer(forged.number, result.receipts[0])
    assert len(world.ran) == 2
    # Nor does it stand in the way of what is genuine.
    world.show(sent(401, (2, 2)))
    assert len(world.ran) == 3


def test_a_message_that_is_shed_is_not_run_then_or_later_and_its_sender_told() -> None:
    world = World()
    assert told(world.show(message(is_shed=True))) == Reply("failed", code="busy")
    with pytest.raises(SealBroken):
        told(world.show(message()))
    assert world.ran == []


def test_a_message_that_holds_no_text_is_answered_as_unreadable() -> None:
    world = World()
    odd = message(sealed=key(INWARD).seal_message(300, MessagePlain("pay", b"\xff"), PAD))
    assert told(world.show(odd)) == Reply("failed", code="unreadable")
    assert world.ran == []


def test_an_answer_runs_its_handler_once() -> None:
    world = World()
    world.send()
    world.show(answer(), answer())
    world.show(answer())
    (ran,) = world.ran
    assert (ran.kind, ran.method, ran.sender) == ("reply", "on_m", Address.contract(PEER).text)
    assert json.loads(ran.args_json) == {"number": SENT, "status": "ok", "value": "7"}


WRONG = {
    "nobody's": answer(by=key(OUTWARD, b"x" * 32)),
    "of another contract": answer(by=key(ChannelLine(CONTRACT, 1, THIRD, 1)), target=THIRD),
    "another message's": answer(number=SENT + 1),
    "under this number": replace(answer(number=SENT + 1), number=SENT),
    "noise": answer(sealed=bytes(300)),
    "a message as an answer": answer(sealed=key(OUTWARD).seal_message(SENT, MessagePlain("m", b"[]"), PAD)),
    "said to have gone nowhere": UndeliveredEntry(PEER, SENT, 8),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_moves_nothing_and_the_true_one_still_counts(wrong) -> None:
    world = World()
    world.mail.take(key(ChannelLine(CONTRACT, 1, THIRD, 1)))
    world.send()
    result = world.show(wrong)
    assert (world.ran, result.writes, result.receipts) == ([], (), (b"",))
    world.show(answer())
    assert len(world.ran) == 1


def test_what_was_sealed_for_nobody_may_have_gone_nowhere_and_cannot_be_answered() -> None:
    world = World(peer_began=0)
    world.send()
    world.show(answer())
    assert world.ran == []
    world.show(UndeliveredEntry(PEER, SENT, 8))
    (ran,) = world.ran
    assert json.loads(ran.args_json) == {"number": SENT, "status": "failed", "reason": "unknown_contract"}
    world.show(UndeliveredEntry(PEER, SENT, 8))
    assert len(world.ran) == 1


def test_every_worker_of_a_quorum_seals_the_same_bytes() -> None:
    results = []
    for until in (9, 100):  # one that executed at once, and one that came late
        world = World()
        world.mail.learn(PeerEpochs(PEER, until, ((2, 9), (1, 3)) if until > 9 else ((1, 3),), is_whole=True))
        world.outcomes.append(Outcome(status="ok", messages=(Posted(Address.contract(PEER).text, "m", "[]", "on_m"),)))
        results.append(encode(world.show(message(1))))
    assert results[0] == results[1]


def test_without_the_key_or_the_epoch_a_job_says_what_it_lacks_and_does_nothing() -> None:
    world = World()
    world.mail.forget_keys()
    raw = encode(message())
    entry = Entry(1, id_of(raw), raw, HERE, b"1" * 32)
    found = Job(1, KEYS, CODE, (entry,), world.position, None, world.mail).run(world)
    assert found == Lacking(frozenset({INWARD}))
    assert world.ran == []


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply("rejected", code="no", detail="why"), {"status": "rejected", "code": "no", "detail": "why"}),
        (Reply("failed"), {"status": "failed", "reason": "failed"}),
        (Reply("failed", code="busy"), {"status": "failed", "reason": "busy"}),
        (Reply("failed", code="made up"), {"status": "failed", "reason": "failed"}),
        (Reply("refused", code="x"), {"status": "failed", "reason": "failed"}),
        (Reply("ok", b"\xff"), {"status": "failed", "reason": "unreadable"}),
    ],
)
def test_whatever_the_other_enclave_says_is_one_of_three_things(reply, said) -> None:
    world = World()
    world.send()
    world.show(answer(reply))
    (ran,) = world.ran
    assert json.loads(ran.args_json) == {"number": SENT, **said}


def test_a_message_that_wants_no_answer_gets_none_forged_or_not() -> None:
    world = World()
    for letter in (message(is_answered=False), MessageEntry(PEER, 1, 1, 301, 8, bytes(600))):
        assert world.show(letter).receipts == (b"",)
    assert len(world.ran) == 1
