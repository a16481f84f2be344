"""A network in one process, with three gatekeepers of which two make a key; and a key of one gatekeeper alone."""

from __future__ import annotations

import importlib.util
import secrets
import sys
from pathlib import Path

import pytest

from keephold.base.ids import NetworkId, PublicKey
from keephold.custody.public.opening import open_generation
from keephold.custody.secret.dealer import Participant
from keephold.testing.local import LocalNetwork


def _load(name: str, file: str) -> None:
    # importmode=importlib keeps test modules apart, so that what they share needs a name of its own.
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_load("gatekeeper_relay", "relay.py")
_load("gatekeeper_asking", "asking.py")


@pytest.fixture
def network(tmp_path) -> LocalNetwork:
    return LocalNetwork(tmp_path, seats=3, threshold=2, phase_s=3)


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
