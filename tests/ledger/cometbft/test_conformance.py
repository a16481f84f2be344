"""What every engine owes its node, asked of both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from keephold.base.clock import SystemClock
from keephold.base.errors import InputError
from keephold.chain import merkle
from keephold.chain.validators import Validator, ValidatorSet
from keephold.ledger.engines.base import Admission, Engine, ValidatorUpdate
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.embedded import EmbeddedEngine


@dataclass
class Machine:
    """An engine with a crank, and a way to start it again over what is durable."""

    open: Callable[[Any], tuple[Engine, Callable[[], object]]]
    founding: Founding


@pytest.fixture(params=["embedded", "cometbft"])
def machine(request, tmp_path, bench, keys, founding) -> Iterator[Machine]:
    alone = Founding(founding.chain_id, founding.time_ns, ValidatorSet.of([Validator(keys[0].public, 10)]))
    opened: list[EmbeddedEngine] = []

    def embedded(application):
        for engine in opened:
            engine.stop()
        opened[:] = [
            EmbeddedEngine(
                application,
                tmp_path,
                keys[0],
                chain_id=alone.chain_id,
                genesis_ns=alone.time_ns - 1,
                validators=alone.validators,
                clock=SystemClock(),
            )
        ]
        return opened[0], opened[0].step

    def cometbft(application):
        engine, comet = bench.open(application, founding=alone, keys=keys[:1])
        return engine, comet.step

    yield Machine(embedded if request.param == "embedded" else cometbft, alone)
    for engine in opened:
        engine.stop()


@pytest.fixture
def application(toy, keys):
    made = toy()
    made.validators = ((keys[0].public, 10),)
    return made


def test_what_was_submitted_is_ordered_once_and_in_order(machine, application, follow, wait):
    engine, step = machine.open(application)
    raws = [b"%02d" % n for n in range(20)]
    assert engine.submit([*raws, b"bad", raws[0]]) == (*[Admission()] * 20, Admission(3, "bad"), Admission())
    step()
    wait(lambda: engine.latest() == 1)
    assert engine.transactions(1) == tuple(raws)
    assert [engine.transaction(1, at) for at in (0, 19, 20)] == [raws[0], raws[19], None]
    follow(engine, machine.founding)


def test_the_next_header_states_app_hash_and_results(machine, application, follow, wait):
    engine, step = machine.open(application)
    engine.submit([b"one"])
    step()
    step()
    wait(lambda: engine.latest() == 2)
    header = engine.block(2).signed.header
    assert header.app_hash == application.info().app_hash == merkle.root([b"one"])
    assert header.last_results_hash == merkle.root([merkle.result_leaf(1, b"one")])
    assert header.last_block_id == engine.block(1).signed.commit.block_id
    follow(engine, machine.founding)


def test_there_is_nothing_below_one_or_above_the_newest(machine, application, wait):
    engine, step = machine.open(application)
    assert (engine.latest(), engine.block(0), engine.block(1), engine.transactions(1)) == (0, None, None, ())
    step()
    wait(lambda: engine.latest() == 1)
    assert engine.block(1) is not None
    assert engine.block(2) is None
    assert engine.transaction(2, 0) is None


def test_a_restart_goes_on_where_it_was(machine, application, toy, follow, wait):
    engine, step = machine.open(application)
    engine.submit([b"one"])
    step()
    wait(lambda: engine.latest() == 1)
    again = toy(application.durable)
    again.validators = application.validators
    engine, step = machine.open(again)
    assert engine.latest() == 1
    engine.submit([b"two"])
    step()
    wait(lambda: engine.latest() == 2)
    assert engine.transactions(1) + engine.transactions(2) == (b"one", b"two")
    follow(engine, machine.founding)


def test_listeners_hear_a_height_that_can_be_read(machine, application, wait):
    engine, step = machine.open(application)
    read: list[object] = []
    unsubscribe = engine.subscribe(lambda height: read.append(engine.block(height)))
    step()
    wait(lambda: len(read) == 1)
    assert read[0] is not None
    unsubscribe()


def test_a_new_validator_signs_two_blocks_later(machine, application, follow, wait, keys):
    engine, step = machine.open(application)
    application.updates = (ValidatorUpdate(keys[1].public, 1),)
    application.validators = (*application.validators, (keys[1].public, 1))
    step()
    application.updates = ()
    step()
    step()
    wait(lambda: engine.latest() == 3)
    assert [len(engine.block(at).validators.validators) for at in (1, 2, 3)] == [1, 1, 2]
    follow(engine, machine.founding)


def test_pruned_blocks_keep_their_headers_and_say_where_transactions_begin(machine, application, toy, follow, wait):
    engine, step = machine.open(application)
    for raw in (b"one", b"two", b"three"):
        engine.submit([raw])
        step()
    wait(lambda: engine.latest() == 3)
    assert engine.first() == 1
    engine.prune(3)
    engine.prune(2)
    assert (engine.first(), engine.transactions(1), engine.transactions(3)) == (3, (), (b"three",))
    assert engine.block(1) is not None
    engine.prune(99)
    assert (engine.first(), engine.transactions(3)) == (3, (b"three",)), "the newest block is kept"
    again = toy(application.durable)
    again.validators = application.validators
    engine, step = machine.open(again)
    assert engine.first() == 3
    step()
    wait(lambda: engine.latest() == 4)


def test_priorities_are_of_the_validators_of_a_block(machine, application, wait):
    engine, step = machine.open(application)
    step()
    wait(lambda: engine.latest() == 1)
    assert engine.priorities(1) == (0,)
    with pytest.raises(InputError, match="no block 9"):
        engine.priorities(9)
