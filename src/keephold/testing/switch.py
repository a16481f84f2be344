"""Machines for tests: network namespaces of this host, joined by a switch that loses and delays what it is told to.

Each machine is a namespace with one interface, a TAP device whose other end is a file of this process. Whatever one
machine says to another passes through `Switch`, frame by frame, and a `Link` in each direction decides what becomes of
it: so a partition may be lopsided, and a line slow or lossy, on any kernel that has TAP devices. Nothing of it is
visible outside, and nothing is left behind: namespaces and devices end with the last process that holds them.

Needs root, for the namespaces.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random  # noqa: TID251 - which frame a lossy line loses is drawn again from a seed
import select
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self, final

from keephold.base.errors import ConfigurationError

_CLONE_NEWNET: Final = 0x40000000
_TUNSETIFF: Final = 0x400454CA
_IFF_TAP_NO_PI: Final = 0x1002
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP: Final = 1
_NAME: Final = b"wire"
_LARGEST_FRAME: Final = 2048
_RETRY_MS: Final = 2000
"""Longest pause of TCP's retransmissions inside: a healed line is tried soon, as by an application that reconnects."""

_libc: Final = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Link:
    """What becomes of frames in one direction between two machines."""

    loss: float = 0.0
    """Fraction that is lost; 1: nothing passes."""
    delay: float = 0.0
    """Seconds that the rest takes."""


CUT: Final = Link(loss=1.0)


@final
@dataclass(frozen=True, slots=True)
class Machine:
    """One namespace."""

    address: str
    namespace: int
    """File descriptor that keeps the namespace."""
    tap: int
    """File descriptor of the other end of its interface."""

    @property
    def path(self) -> str:
        """A path by which other processes of this user find the namespace."""
        return f"/proc/{os.getpid()}/fd/{self.namespace}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let this thread, and those it starts, open their sockets in there."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(self.namespace)
            yield
        finally:
            enter(outside)
            os.close(outside)


@dataclass(order=True, slots=True)
class _Delayed:
    due: float
    order: int
    target: int = field(compare=False)
    frame: bytes = field(compare=False)


@final
class Switch:
    """Machines and the lines between them; end it with `stop`, or use it as a context."""

    def __init__(self, machines: int, *, seed: int = 0) -> None:
        """Make machines 0, 1, … with the addresses `10.77.0.1`, `10.77.0.2`, …, all joined.

        Args:
            machines: how many.
            seed: of the losses.

        Raises:
            ConfigurationError: this user or kernel makes no namespaces.
        """
        self._links: Final[dict[tuple[int, int], Link]] = {}
        self._draw: Final = random.Random(seed)  # noqa: S311 - as above
        self._delayed: Final[list[_Delayed]] = []
        self._places: Final[dict[bytes, int]] = {}
        self._order = 0
        self.lost: Final[Counter[tuple[int, int]]] = Counter()
        """Frames that did not arrive, by the numbers of the machines that sent them and that they were for."""
        self.machines: Final = [_machine(f"10.77.0.{number + 1}") for number in range(machines)]
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread: Final = threading.Thread(target=self._run, name="switch", daemon=True)
        self._thread.start()

    def set(self, source: int, target: int, link: Link) -> None:
        """Change one direction of one line; delayed frames still arrive."""
        self._links[source, target] = link

    def set_all(self, link: Link, machines: Collection[int]) -> None:
        """Make all lines among these machines alike, in both directions."""
        for source in machines:
            for target in machines:
                self.set(source, target, link)

    def part(self, *groups: Collection[int]) -> None:
        """Cut all lines between machines of different groups, in both directions."""
        where = {number: at for at, group in enumerate(groups) for number in group}
        for source, here in where.items():
            for target, there in where.items():
                if here != there:
                    self.set(source, target, CUT)

    def heal(self) -> None:
        """Make all lines good again."""
        self._links.clear()

    def stop(self) -> None:
        """End the switch and let go of the machines."""
        if not self._thread.is_alive():
            return
        os.write(self._wake_write, b"!")
        self._thread.join()
        for machine in self.machines:
            os.close(machine.tap)
            os.close(machine.namespace)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # --- below: on the switch's thread only ---

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        numbers = {machine.tap: number for number, machine in enumerate(self.machines)}
        for tap in numbers:
            poll.register(tap, select.POLLIN)
        while True:
            pause = max(0.0, self._delayed[0].due - time.monotonic()) * 1000 + 1 if self._delayed else None
            for descriptor, _ in poll.poll(pause):
                if descriptor == self._wake_read:
                    return
                with suppress(BlockingIOError):
                    while True:
                        self._take(numbers[descriptor], os.read(descriptor, _LARGEST_FRAME))
            while self._delayed and self._delayed[0].due <= time.monotonic():
                late = heapq.heappop(self._delayed)
                self._put(late.target, late.frame)

    def _take(self, source: int, frame: bytes) -> None:
        self._places[frame[6:12]] = source
        known = self._places.get(frame[:6])
        everyone = range(len(self.machines)) if known is None else (known,)
        for target in everyone:
            if target == source:
                continue
            link = self._links.get((source, target))
            if link is None:
                self._put(target, frame)
            elif link.loss and self._draw.random() < link.loss:
                self.lost[source, target] += 1
            else:
                self._order += 1
                heapq.heappush(self._delayed, _Delayed(time.monotonic() + link.delay, self._order, target, frame))

    def _put(self, target: int, frame: bytes) -> None:
        with suppress(BlockingIOError):  # a full queue loses frames, as anywhere
            os.write(self.machines[target].tap, frame)


def enter(namespace: int) -> None:
    """Move this thread into a network namespace.

    Raises:
        OSError
    """
    if _libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _machine(address: str) -> Machine:
    """Make a namespace with its interface, in a thread of its own, which ends in there."""
    made: list[Machine] = []
    failed: list[OSError] = []

    def make() -> None:
        try:
            if _libc.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            made.append(_furnished(address))
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if failed:
        raise ConfigurationError(f"no network namespaces here: {failed[0].strerror or failed[0]}") from failed[0]
    return made[0]


def _furnished(address: str) -> Machine:
    """Give this thread's namespace a loopback and an interface with an address in 10.77.0.0/24."""
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH22x", _NAME, _IFF_TAP_NO_PI))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.0")):
            told = struct.pack("16sH2x4s8x", _NAME, socket.AF_INET, socket.inet_aton(value))
            fcntl.ioctl(handle, request, told)
        for name in (b"lo", _NAME):
            fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH", name, _IFF_UP))
    with suppress(OSError):  # since Linux 6.15
        Path("/proc/sys/net/ipv4/tcp_rto_max_ms").write_text(str(_RETRY_MS))
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    return Machine(address, namespace, tap)
