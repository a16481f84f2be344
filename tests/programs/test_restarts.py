"""The table by which a node is started again, and the sentences that forbid it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import ConfigurationError, Halted, NodeUnreachable, PortTaken, UnavailableError
from keephold.programs.halts import HALTS, diagnose
from keephold.programs.restarts import (
    FIRST_PAUSE,
    GRACE,
    LONGEST_PAUSE,
    MOST_DEATHS,
    SETTLED,
    Died,
    Ended,
    Ending,
    Killing,
    Passed,
    Running,
    Told,
    Waiting,
    Word,
    advance,
)

ACCIDENT = Died(10.0, 1, Word.of(UnavailableError("the engine stopped: CometBFT ended by signal -9")))


@pytest.mark.parametrize("death", [ACCIDENT, Died(10.0, -9), Died(10.0, 1, None, ("Traceback", "KeyError"))])
def test_an_accident_is_followed_by_a_pause_and_another_life(death):
    waiting = advance(Running(9.0), death)
    assert waiting == Waiting(10.0 + FIRST_PAUSE, 1)
    assert advance(waiting, Passed(11.0)) == Running(11.0, 1)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Halted("app_hash", "wrong"), "app_hash"),
        (PortTaken("7707"), "port_taken"),
        (ConfigurationError("genesis: cannot read"), "configuration"),
        (NodeUnreachable("never a node's word"), "node_unreachable"),
    ],
)
def test_what_starting_again_does_not_cure_ends_it_at_once_however_long_it_lived(error, reason):
    ended = advance(Running(0.0), Died(1e6, error.exit_status, Word.of(error)))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert ended.failure.reason == reason
    assert ended.failure.detail == str(getattr(error, "detail", error))


def test_pauses_double_up_to_a_bound_and_a_loop_ends_with_what_was_said():
    state, pauses = Running(0.0), []
    for _ in range(MOST_DEATHS - 1):
        waiting = advance(state, replace(ACCIDENT, at=state.since + 1))
        assert isinstance(waiting, Waiting)
        pauses.append(waiting.until - state.since - 1)
        state = advance(waiting, Passed(waiting.until))
        assert isinstance(state, Running)
    assert pauses == [min(LONGEST_PAUSE, FIRST_PAUSE * 2**n) for n in range(MOST_DEATHS - 1)]
    ended = advance(state, Died(state.since + 1, 3, None, ("one", "two")))
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert ended.failure.reason == "crash_loop"
    assert "status 3" in ended.failure.detail
    assert "one | two" in ended.failure.detail


def test_deaths_before_a_settled_life_are_forgotten():
    assert advance(Running(0.0, MOST_DEATHS - 1), Died(SETTLED + 1, -9)) == Waiting(SETTLED + 1 + FIRST_PAUSE, 1)


@pytest.mark.parametrize("state", [Ending(1.0), Killing()])
@pytest.mark.parametrize("death", [ACCIDENT, Died(10.0, 0), Died(10.0, 12, Word.of(Halted("store")))])
def test_after_the_operators_word_nothing_is_started_and_nothing_is_a_failure(state, death):
    assert advance(state, Told(9.0)) == state, "asking twice changes nothing"
    assert advance(state, death) == Ended()


def test_asked_to_end_it_has_a_grace_and_is_killed_then():
    ending = advance(Running(0.0), Told(5.0))
    assert ending == Ending(5.0 + GRACE)
    assert advance(ending, Passed(ending.until)) == Killing()
    assert advance(Waiting(9.0, 1), Told(5.0)) == Ended()


@pytest.mark.parametrize(
    ("state", "event"),
    [(Running(0.0), Passed(1.0)), (Waiting(1.0, 1), ACCIDENT), (Killing(), Passed(1.0)), (Ended(), Told(1.0))],
)
def test_what_cannot_happen_has_no_entry(state, event):
    with pytest.raises(KeyError):
        advance(state, event)


@given(st.lists(st.sampled_from(["die", "live", "halt", "told"]), max_size=30))
def test_never_more_lives_in_a_row_than_allowed_and_none_after_the_end(story):
    state, now, row = Running(0.0), 0.0, 0
    for what in story:
        if isinstance(state, Ended):
            return
        now += SETTLED + 1 if what == "live" else 1
        if isinstance(state, Waiting):
            state = advance(state, Told(now) if what == "told" else Passed(max(now, state.until)))
            now = max(now, getattr(state, "since", now))
        elif isinstance(state, Running):
            row = 1 if now - state.since > SETTLED else row + 1
            word = Word("halted", "") if what == "halt" else None
            state = advance(state, Told(now) if what == "told" else Died(now, 1, word))
            assert row < MOST_DEATHS or isinstance(state, Ended | Ending)
            assert what != "halt" or isinstance(state, Ended)
        else:
            state = advance(state, Died(now, 1))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('{"_msg":"CONSENSUS FAILURE!!!","err":"+2/3 committed an invalid: wrong Block.Header.AppHash', "app_hash"),
        ("panic: state.AppHash does not match AppHash after replay. Got\n", "app_hash"),
        ("ERROR: latest CometBFT block (3) LastAppHash (A) does not match app's AppHash (B)", "app_hash"),
        ("ERROR: error during handshake: error on replay: app block height (9) is higher than core (3)", "store"),
        ("ERROR: failed to create node: leveldb: manifest corrupted (field 'comparer'): missing", "store"),
        ("leveldb/journal: block/chunk corrupted: checksum mismatch (4 bytes)", "store"),
        ("CorruptError: database disk image is malformed", "store"),
        ("NotADBError: file is not a database", "store"),
        ("the application failed: database or disk is full", "disk_full"),
        ("panic: write /x/data/cs.wal/wal: no space left on device", "disk_full"),
        ("OSError: [Errno 28] No space left on device: 'x'", "disk_full"),
        ("ERROR: failed to start node: listen tcp 127.0.0.1:26656: bind: address already in use", "port_taken"),
        ("ERROR: failed to create node: resource temporarily unavailable", "in_use"),
        ("the application failed: cometbft: its genesis is of chain 'x', not of this network", "genesis"),
        ("the application failed: cometbft: ABCI 2.1.0 is not 2.0.0; install a v0.38 or v0.39", "version"),
        ("CONSENSUS FAILURE!!! something new", "consensus"),
    ],
)  # fmt: skip
def test_sentences_that_forbid_another_start(said, reason):
    halted = diagnose(f"the engine stopped: CometBFT ended with status 1: {said}")
    assert halted is not None
    assert halted.reason == reason
    assert said in halted.detail
    assert next(halt for halt in HALTS if halt.reason == reason).advice in halted.detail


@pytest.mark.parametrize("said", ["CometBFT ended by signal 9", "CometBFT ended a connection", "panic: runtime error"])
def test_other_sentences_are_accidents(said):
    assert diagnose(f"the engine stopped: {said}") is None
