"""The node's essentials for Prometheus, in its text format 0.0.4: `GET /metrics`. All of it is public anyway.

Everything is read from the newest committed state at the moment of the question; nothing is counted in between, so a
restarted node tells the same. A value that cannot be told at the moment is left out, and `keephold_engine_up` is 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, final

from keephold.api.views import contract_text
from keephold.base.errors import KeepholdError
from keephold.ledger.engines.base import Engine
from keephold.ledger.people import People, Worker
from keephold.ledger.reader import LedgerReader
from keephold.version import __version__

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_CONTRACTS: Final = 1000
"""The newest so many are looked at; a network with more is watched by sums of its own."""

_SECOND: Final = 10**9
_PHASES: Final = ("forming", "generating", "ready", "resharing", "short", "failed")

Labels = Mapping[str, str]


@final
class Metrics:
    """One answer to `GET /metrics` after another."""

    def __init__(self, reader: LedgerReader, engine: Engine) -> None:
        self._people: Final[People] = reader.people
        self._engine: Final = engine

    def text(self) -> bytes:
        """Return all metrics."""
        page = _Page()
        self._ledger(page)
        self._load(page)
        self._contracts(page)
        self._enclaves(page)
        self._committee(page)
        return page.encoded()

    def _ledger(self, page: _Page) -> None:
        status = self._people.status()
        labels = {"network": status.network.hex(), "name": status.name, "version": __version__}
        page.add("info", "The network and this node's version.", [(labels, 1)])
        page.add("height", "Newest block whose effects are durable.", [({}, status.height)])
        page.add("block_time_seconds", "Time of that block, since the Unix epoch.", [({}, status.time_ns / _SECOND)])
        page.add("validators", "Validators in the law.", [({}, len(self._people.law().validators))])

    def _load(self, page: _Page) -> None:
        try:
            load = self._engine.load()
        except KeepholdError:
            page.add("engine_up", "Whether the engine answers.", [({}, 0)])
            return
        page.add("engine_up", "Whether the engine answers.", [({}, 1)])
        page.add("mempool_transactions", "Transactions that wait for a block.", [({}, load.waiting)])
        page.add("peers", "Other nodes that this one talks to.", [({}, load.peers)])

    def _contracts(self, page: _Page) -> None:
        records = self._people.contracts(limit=MOST_CONTRACTS)
        phases = Counter(record.phase for _, record in records)
        page.add(
            "contracts",
            f"Contracts by phase, of the newest {MOST_CONTRACTS}.",
            [({"phase": phase}, count) for phase, count in sorted(phases.items())],
        )
        page.add(
            "inbox_lag",
            "Calls that were ordered and not executed yet, of each such contract.",
            [
                ({"contract": contract_text(contract)}, record.inbox_count - record.done)
                for contract, record in records
                if record.inbox_count > record.done
            ],
        )

    def _enclaves(self, page: _Page) -> None:
        roles = {role: self._people.workers(role) for role in ("worker", "gatekeeper")}
        page.add(
            "enclaves", "Registered with a live lease.", [({"role": role}, len(live)) for role, live in roles.items()]
        )
        law, now_ns = self._people.law(), self._people.status().time_ns
        soon_ns = now_ns + law.timing.lease_ns // 4
        page.add(
            "enclaves_lapsing",
            "Of those, how many leases end within a quarter of their length: who should have renewed and did not.",
            [({"role": role}, _ending(live, soon_ns)) for role, live in roles.items()],
        )

    def _committee(self, page: _Page) -> None:
        record = self._people.committee()
        keys = record.keys[0] if record.keys else None
        page.add(
            "committee_phase",
            "1 for the phase that the gatekeepers' committee is in.",
            [({"phase": phase}, int(phase == record.phase)) for phase in _PHASES],
        )
        page.add("committee_round", "Key ceremony under way, or last ended.", [({}, record.round)])
        page.add("gatekeepers_seated", "Gatekeepers in office.", [({}, len(keys.seats) if keys else 0)])
        page.add("gatekeepers_threshold", "How many of them release a key.", [({}, keys.threshold if keys else 0)])
        page.add("sharing_epoch", "Of the shares in use.", [({}, keys.sharing_epoch if keys else 0)])


def _ending(live: Iterable[Worker], before_ns: int) -> int:
    return sum(worker.registration.lease_ns <= before_ns for worker in live)


@final
class _Page:
    """Lines of the text format; every metric here is a gauge."""

    def __init__(self) -> None:
        self._lines: Final[list[str]] = []

    def add(self, name: str, doc: str, samples: Iterable[tuple[Labels, float]]) -> None:
        self._lines.extend([f"# HELP keephold_{name} {doc}", f"# TYPE keephold_{name} gauge"])
        for labels, value in samples:
            told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            self._lines.append(f"keephold_{name}{f'{{{told}}}' if told else ''} {value!r}")

    def encoded(self) -> bytes:
        return ("\n".join(self._lines) + "\n").encode()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
