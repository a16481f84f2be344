"""A network in one process, with three gatekeepers of which two make a key; and a key of one gatekeeper alone."""

from __future__ import annotations

import secrets

import pytest

from keephold.base.ids import NetworkId, PublicKey
from keephold.custody.public.opening import open_generation
from keephold.custody.secret.dealer import Participant
from keephold.testing.local import LocalNetwork


@pytest.fixture
def network(tmp_path) -> LocalNetwork:
    return LocalNetwork(tmp_path, seats=3, threshold=2, phase_s=8, freshness_s=30)


@pytest.fixture
def lone_share():
    """A share of a committee of one: t = 1, the single MasterKey scheme."""
    member = PublicKey(b"\x05" * 32)
    opened = open_generation(
        network=NetworkId(bytes(32)), round_number=1, members=[member], threshold=1, phase_ns=10**9, time_ns=10**9
    )
    participant, _ = Participant.begin(member=member, opened=opened, entropy=secrets.token_bytes)
    due = list(participant.advance(time_ns=10**9))
    while due:
        due += participant.observe(member, due.pop(0), time_ns=10**9)
    share = participant.share()
    assert share is not None
    return share
