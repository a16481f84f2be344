"""Crash, loss and rollback: a participant repeats itself exactly, or falls silent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from keephold.base.errors import ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.custody.public import transcript
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.derivation import RoundSecrets
from keephold.protocol.custody import DkgDealing, DkgExtraction, DkgKeys, DkgMessage

Generate = Callable[..., Any]


def member_of(ceremony: Any, name: int) -> bytes:
    return ceremony.opened.receivers[name].member


def silent_in(kind: type) -> Callable[[Any, DkgMessage], Sequence[DkgMessage]]:
    return lambda _, message: [] if isinstance(message, kind) else [message]


def test_a_restarted_participant_goes_on_from_its_root(finished: Any) -> None:
    who = finished.accepted[0][1]
    for stop in range(len(finished.accepted)):
        again = Participant(SecretBytes(finished.roots[who].reveal()), member=who, opened=finished.opened)
        for time_ns, sender, message in finished.accepted[:stop]:
            again.observe(sender, message, time_ns=time_ns)
        for due in again.pending():
            sent = [m for _, sender, m in finished.accepted if sender == who and type(m) is type(due)]
            if isinstance(due, DkgDealing):
                assert due.commitments == sent[0].commitments  # the seals alone are fresh
                assert due.pepper == sent[0].pepper
            else:
                assert due == sent[0]
    for time_ns, sender, message in finished.accepted[stop:]:
        again.observe(sender, message, time_ns=time_ns)
    share = again.share()
    assert share is not None
    assert share.scalar() == finished.participants[who].share().scalar()


def test_a_participant_that_lost_its_root_falls_silent_and_is_dropped(generate: Generate) -> None:
    ceremony = generate()
    who = member_of(ceremony, 1)

    def forgets(c: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if isinstance(message, DkgKeys) and who in c.roots:
            del c.roots[who]
            reborn, _ = Participant.begin(member=who, opened=c.opened, entropy=lambda size: b"\x05" * size)
            c.participants[who] = reborn
        return [message]

    ceremony.tampers[who] = forgets
    ceremony.run()
    assert ceremony.dropped() == [(2, "receiver", "silent-verdicts")]
    assert ceremony.refused == [(who, "wrong_phase")]  # its second keys; and no complaint, which could not hold
    assert len(ceremony.keys.seats) == 4


def test_the_same_root_deals_another_polynomial_to_another_audience(finished: Any) -> None:
    root = SecretBytes(bytes(32))
    state = finished.ledger
    other = replace(state, receivers=(replace(state.receivers[0], keys=bytes(32)), *state.receivers[1:]))
    fork = replace(state, threshold=2)
    drawn = [tuple(c.reveal() for c in RoundSecrets(root, s).coefficients(s)) for s in (state, other, fork)]
    assert len({one[0] for one in drawn}) == 3


def test_a_participant_does_not_begin_in_the_middle(finished: Any) -> None:
    time_ns, sender, message = finished.accepted[0]
    under_way = transcript.apply(finished.opened, sender, message, time_ns=time_ns)
    for state in (under_way, finished.ledger):
        with pytest.raises(ConfigurationError):
            Participant(SecretBytes(bytes(32)), member=sender, opened=state)


def test_a_participant_may_begin_with_a_restart(generate: Generate) -> None:
    ceremony = generate(e=silent_in(DkgExtraction)).run()
    state = ceremony.opened
    for time_ns, sender, message in ceremony.accepted:
        state = transcript.tick(state, time_ns=time_ns)
        if state.round == 8 and state.phase == "keys" and not any(r.keys for r in state.receivers):
            late = Participant(ceremony.roots[member_of(ceremony, 0)], member=member_of(ceremony, 0), opened=state)
            log = [entry for entry in ceremony.accepted if entry[2].round == 8]
            break
        state = transcript.apply(state, sender, message, time_ns=time_ns)
    for time_ns, sender, message in log:
        late.observe(sender, message, time_ns=time_ns)
    assert late.share().scalar() == ceremony.participants[member_of(ceremony, 0)].share().scalar()
