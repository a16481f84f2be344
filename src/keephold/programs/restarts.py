"""When a node that died is started again, and when not: a state machine without clock or process.

    state     event    next
    Running   Died     Waiting, or Ended: with its reason, or with `crash_loop`
    Running   Told     Ending
    Waiting   Passed   Running
    Waiting   Told     Ended
    Ending    Died     Ended
    Ending    Told     the same
    Ending    Passed   Killing
    Killing   Died     Ended
    Killing   Told     the same

Anything else is a mistake of the shell (`supervisor`), and has no entry. What entering a state asks of the shell:
Running: start; Waiting: come back at `until`; Ending: ask to end, come back at `until`; Killing: kill.

A node that was asked to end is never started again, whatever it says; one that gave a reason which starting again does
not cure is never started again, however long it lived.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keephold.base.errors import Halted, KeepholdError, UnavailableError

FIRST_PAUSE: Final = 0.5
"""Seconds before the first restart; each further one in a row doubles it."""

LONGEST_PAUSE: Final = 8.0
MOST_DEATHS: Final = 6
"""Deaths in a row after which it is a loop."""

SETTLED: Final = 60.0
"""Seconds of life after which earlier deaths are forgotten."""

GRACE: Final = 15.0
"""Seconds between asking a node to end and killing it: CometBFT gets five of them."""


class Word(msgspec.Struct, frozen=True):
    """The last word of a node: the error that ended it."""

    code: str
    detail: str
    reason: str = ""
    """Of a Halted."""

    @staticmethod
    def of(error: KeepholdError) -> Word:
        """Return the word for an error."""
        reason = error.reason if isinstance(error, Halted) else ""
        return Word(error.code, error.detail if isinstance(error, Halted) else str(error), reason)


@dataclass(frozen=True, slots=True)
class Died:
    """The node has ended, and CometBFT with it."""

    at: float
    status: int
    """Negative: the signal."""
    word: Word | None = None
    """None when it had no time for one."""
    log: tuple[str, ...] = ()
    """Its last lines."""


@dataclass(frozen=True, slots=True)
class Told:
    """The operator wants the end."""

    at: float


@dataclass(frozen=True, slots=True)
class Passed:
    """The time that a state named has come."""

    at: float


@dataclass(frozen=True, slots=True)
class Running:
    """The node lives."""

    since: float
    deaths: int = 0
    """In a row, before this life."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """It died and is to be started again."""

    until: float
    deaths: int


@dataclass(frozen=True, slots=True)
class Ending:
    """It was asked to end."""

    until: float


@dataclass(frozen=True, slots=True)
class Killing:
    """It did not end when asked."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing runs, and nothing will."""

    failure: Halted | None = None
    """None: the operator wanted it."""


State = Running | Waiting | Ending | Killing | Ended
Event = Died | Told | Passed


def _died(state: Running, event: Died) -> State:
    if event.word is not None and event.word.code != UnavailableError.code:
        return Ended(Halted(event.word.reason or event.word.code, event.word.detail))
    deaths = 1 if event.at - state.since > SETTLED else state.deaths + 1
    if deaths >= MOST_DEATHS:
        return Ended(_loop(event, deaths))
    return Waiting(event.at + min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (deaths - 1)), deaths)


def _loop(event: Died, deaths: int) -> Halted:
    how = f"signal {-event.status}" if event.status < 0 else f"status {event.status}"
    said = event.word.detail if event.word is not None else " | ".join(event.log) or "nothing"
    return Halted(
        "crash_loop",
        f"the node died {deaths} times in a row, within {SETTLED:.0f} s of its start each time, last with {how}; "
        f"it said: {said} — put right what it names, or report it with the log and `keephold doctor`; then start it",
    )


_TABLE: Final[dict[tuple[type[State], type[Event]], Callable[[Any, Any], State]]] = {
    (Running, Died): _died,
    (Running, Told): lambda _, event: Ending(event.at + GRACE),
    (Waiting, Passed): lambda state, event: Running(event.at, state.deaths),
    (Waiting, Told): lambda _, __: Ended(),
    (Ending, Died): lambda _, __: Ended(),
    (Ending, Told): lambda state, _: state,
    (Ending, Passed): lambda _, __: Killing(),
    (Killing, Died): lambda _, __: Ended(),
    (Killing, Told): lambda state, _: state,
}


def advance(state: State, event: Event) -> State:
    """Return the next state.

    Raises:
        KeyError: the shell tells what cannot happen in this state.
    """
    return _TABLE[type(state), type(event)](state, event)
