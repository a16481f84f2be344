"""A vote: ballots are private for ever, the tally is public when it is over."""

from keephold import Address, Call, Contract, Event, Map, PublicView, View, call, init, require, view

_SECOND = 1_000_000_000


class Counted(Event):
    """The vote is over."""

    tally: tuple[int, ...]


class Vote(Contract, pad=(512, 4096)):
    """A question with a few answers, for those on its roll. A later ballot replaces an earlier one.

    Public is who sent a call and when, but not what it said: a ballot writes one slot, the voter's own, also when it
    repeats the one before. No counter is kept for each answer, because a write to it would be seen, and would tell the
    answer. Ballots are counted once, at the end.

    Of fewer than `least` ballots no tally is published. A unanimous one still tells how everybody voted, and a voter
    can show his own ballot to somebody who presses him: this contract does not protect from either.
    """

    question: str
    answers: tuple[str, ...]
    roll: tuple[Address, ...]
    least: int
    closes_ns: int
    ballots: Map[Address, int]
    enrolled: Map[Address, bool]
    tally: tuple[int, ...] | None = None

    @init
    def setup(
        self, ctx: Call, question: str, answers: tuple[str, ...], roll: tuple[Address, ...], least: int, seconds: int
    ) -> None:
        """Put `question` to the accounts in `roll`, for `seconds`."""
        require(len(answers) >= 2 and len(set(answers)) == len(answers), "bad_answers")
        require(len(set(roll)) == len(roll) and 1 <= least <= len(roll), "bad_roll")
        require(seconds > 0, "bad_duration")
        self.question = question
        self.answers = answers
        self.roll = roll
        self.least = least
        self.closes_ns = ctx.block.time_ns + seconds * _SECOND
        for voter in roll:
            self.enrolled[voter] = True

    @call
    def cast(self, ctx: Call, answer: int) -> None:
        """Choose answer number `answer`, from 0."""
        require(ctx.sender in self.enrolled, "not_enrolled")
        require(ctx.block.time_ns < self.closes_ns, "too_late")
        require(0 <= answer < len(self.answers), "no_such_answer")
        self.ballots[ctx.sender] = answer

    @call
    def close(self, ctx: Call) -> None:
        """Count the ballots, once the time is over; anybody may."""
        require(ctx.block.time_ns >= self.closes_ns, "still_open")
        require(self.tally is None, "closed")
        counts = [0] * len(self.answers)
        for voter in self.roll:
            answer = self.ballots.get(voter, -1)
            if answer >= 0:
                counts[answer] += 1
        tally = tuple(counts) if sum(counts) >= self.least else ()
        self.tally = tally
        ctx.emit(Counted(tally), to="public")

    @view(scope="ballot")
    def my_ballot(self, ctx: View) -> int | None:
        """Return the reader's answer; None for none."""
        answer = self.ballots.get(ctx.reader, -1)
        return answer if answer >= 0 else None

    @view(public=True)
    def result(self, ctx: PublicView) -> tuple[int, ...]:
        """Return how many chose each answer, once it is over; nothing of fewer than `least` ballots."""
        require(self.tally is not None, "still_open")
        return self.tally or ()
