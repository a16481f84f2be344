"""What every benchmark measures with, and the record that each returns."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Target:
    """A figure that was promised."""

    bound: float
    direction: Literal["at least", "at most"]

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.direction == "at least" else value <= self.bound


@dataclass(frozen=True)
class Figure:
    """One number, in its unit."""

    name: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""


@dataclass(frozen=True)
class Share:
    """A part of where the time goes."""

    what: str
    value: float
    unit: str


@dataclass(frozen=True)
class Result:
    """What one benchmark found."""

    name: str
    sentence: str
    """What was measured, and how."""
    figures: tuple[Figure, ...]
    shares: tuple[Share, ...] = ()
    """Where the time goes."""
    notes: tuple[str, ...] = ()


def at_least(bound: float) -> Target:
    return Target(bound, "at least")


def at_most(bound: float) -> Target:
    return Target(bound, "at most")


def tell(line: str) -> None:
    """Show progress, apart from what is measured."""
    print(f"  {line}", file=sys.stderr, flush=True)


def quantile(values: Sequence[float], part: float) -> float:
    """Return the nearest-rank quantile."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(part * len(ranked)) - 1)]


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def timings(name: str, seconds: Sequence[float], target: Target | None = None, note: str = "") -> tuple[Figure, ...]:
    """Return p50 and p95 in milliseconds; the target is of p50."""
    return (
        Figure(f"{name}, p50", median(seconds) * 1e3, "ms", target, note or f"{len(seconds)} samples"),
        Figure(f"{name}, p95", quantile(seconds, 0.95) * 1e3, "ms"),
    )


def interleaved(subjects: Mapping[str, Callable[[], object]], seconds: float, batch: int = 1) -> dict[str, list[float]]:
    """Run subjects in turn for `seconds` together; return seconds a run of each.

    In turn, so that whatever else the machine does meanwhile weighs on all of them alike. `batch`: how many runs of a
    subject are timed together, for those too short for the clock.
    """
    spent: dict[str, list[float]] = {name: [] for name in subjects}
    for subject in subjects.values():
        subject()
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        for name, subject in subjects.items():
            began = time.perf_counter()
            for _ in range(batch):
                subject()
            spent[name].append((time.perf_counter() - began) / batch)
    return spent


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used, all its threads."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += map(int, task.read_text().split())
    return found


def pss_kib(pid: int) -> int:
    """Return a process's proportional set size: shared pages count by the share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


class CpuMeter:
    """Processor time of named processes between two readings."""

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)
        self._before = {name: cpu_seconds(pid) for name, pid in self._processes.items()}
        self._machine = machine_seconds()
        self._began = time.monotonic()

    def read(self) -> tuple[dict[str, float], float, float]:
        """Return seconds by process, seconds that the whole machine worked, and seconds that went by."""
        used = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._processes.items()}
        return used, machine_seconds() - self._machine, time.monotonic() - self._began


def machine_seconds() -> float:
    """Return the processor time that the whole machine has used: whatever else ran during a benchmark shows in it."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _wait, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS


def cpu_shares(used: Mapping[str, float], machine: float, wall: float, count: int) -> tuple[Share, ...]:
    """Return processor time for each of `count` calls, by process, and what else the machine did."""
    shares = [Share(name, spent / count * 1e3, "ms CPU/call") for name, spent in used.items()]
    shares.append(Share("all of these", sum(used.values()) / count * 1e3, "ms CPU/call"))
    shares.append(Share("all of these", sum(used.values()) / wall, "cores"))
    shares.append(Share("other programs on the machine", max(0.0, machine - sum(used.values())) / wall, "cores"))
    return tuple(shares)
