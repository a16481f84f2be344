from __future__ import annotations

import pytest

from keephold.base.errors import UnavailableError
from keephold.ledger.engines.base import Admission
from keephold.ledger.engines.cometbft.verdicts import Verdicts


def test_all_who_ask_get_the_answer():
    verdicts = Verdicts()
    with verdicts.of([b"one", b"two"]) as first, verdicts.of([b"one"]) as second:
        verdicts.settle(b"one", Admission(7))
        assert [first[0].result(0), second[0].result(0)] == [Admission(7)] * 2
        assert not first[1].done()


def test_an_answer_to_nobody():
    Verdicts().settle(b"one", Admission())


def test_an_answer_from_before_the_question_does_not_count():
    verdicts = Verdicts()
    verdicts.settle(b"one", Admission(7))
    with verdicts.of([b"one"]) as asked:
        assert not asked[0].done()


def test_questions_are_forgotten_at_the_end():
    verdicts = Verdicts()
    with verdicts.of([b"one", b"one", b"two"]):
        verdicts.settle(b"two", Admission())
    assert verdicts._asked == {}


def test_giving_up_is_told():
    verdicts = Verdicts()
    with verdicts.of([b"one"]) as asked:
        verdicts.give_up()
        with pytest.raises(UnavailableError, match="stopped"):
            asked[0].result(0)
