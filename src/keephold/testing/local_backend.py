"""The backend `--net local`: a whole network in this process, whose clock the test turns and which it may attack."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, final

from keephold.base.errors import InputError
from keephold.client.account import Account
from keephold.testing.attacks import Attacks
from keephold.testing.bench import LEASE_DAYS, Bench
from keephold.testing.deployed import LedgerBackend

MOST_MINED: Final = 512
"""Blocks that carry something come at fifty a second."""

_DAY_S: Final = 86_400


@final
class _Turning:
    """The bench's clock."""

    most_mined = MOST_MINED

    def __init__(self, bench: Bench) -> None:
        self._bench: Final = bench
        self._turned = 0.0

    def __call__(self, seconds: float) -> None:
        """Turn it."""
        if self._turned + seconds >= LEASE_DAYS * _DAY_S:
            raise InputError(f"the clock of --net local goes {LEASE_DAYS} days forward, all tests together")
        self._turned += seconds
        self._bench.turn(seconds)


def open_local(accounts: Mapping[str, Account]) -> LedgerBackend:
    """Start a bench and return the backend on it, for these accounts.

    Raises:
        DeadlineExceeded: it does not come up.
    """
    with ExitStack() as undo:
        bench = Bench()
        undo.callback(bench.close)
        client = bench.remote()
        network = bench.connect(client)
        backend = LedgerBackend(network, accounts, undo.pop_all(), _Turning(bench))
    backend.attacks = Attacks(bench, backend, client)
    return backend
