"""Ports of this machine for servers that start later, in another process, and again after they were killed.

From the choice until the server listens, and whenever it is down, nothing in the kernel holds its port. So that nobody
else gets it then:

1. The kernel gives connections, and servers that do not care, ports of its own range, which begins at 32768 unless the
   operator changed that. Ours lie below, and below those by which CometBFT is known.
2. A process takes its ports from stretches that are its own until it ends: a stretch is held by a UNIX socket with a
   name of the abstract namespace, which the kernel frees with the process, and which is as wide as ports are: one for
   each network namespace.
3. A process chooses no port twice.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from typing import Final, final

from keephold.base.errors import PortTaken

LOOPBACK: Final = "127.0.0.1"
RANGE: Final = range(10_000, 26_000)
_STRETCH: Final = 64


def free_port(asked: int) -> int:
    """Return the port asked for, or for 0 a free one.

    Raises:
        PortTaken: another program listens there, or may not be listened on.
    """
    return free_ports(asked)[0]


def free_ports(*asked: int) -> tuple[int, ...]:
    """Return the ports asked for, for each 0 a free one; no port twice.

    Raises:
        PortTaken: another program listens there, or may not be listened on.
    """
    found_ports = []
    with contextlib.ExitStack() as held:
        for port in asked:
            found_ports.append(port or free_row(1))
            held.enter_context(_listening(found_ports[-1]))
    return tuple(found_ports)


def free_row(length: int) -> int:
    """Return the first of so many free ports in a row, at most 64.

    Raises:
        PortTaken: other processes hold all that there are.
    """
    return _OURS.row(length)


@final
class _Stretches:
    """What this process may choose from. Any thread may ask."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._left = range(0)

    def row(self, length: int) -> int:
        with self._lock:
            while True:
                if len(self._left) < length:
                    self._left = _hold()
                row, self._left = self._left[:length], self._left[length:]
                with contextlib.suppress(PortTaken), contextlib.ExitStack() as held:
                    for port in row:
                        held.enter_context(_listening(port))
                    return row[0]


_OURS: Final = _Stretches()


def _hold() -> range:
    """Take a stretch that no process holds, from a place on that differs between processes."""
    stretches = [RANGE[at : at + _STRETCH] for at in range(0, len(RANGE), _STRETCH)]
    begin = os.getpid() % len(stretches)
    for stretch in stretches[begin:] + stretches[:begin]:
        with socket.socket(socket.AF_UNIX) as name, contextlib.suppress(OSError):
            name.bind(f"\0keephold-ports-{stretch[0]}")
            name.detach()  # it is never closed: the process holds the stretch as long as it lives
            return stretch
    raise PortTaken(f"{LOOPBACK}: all ports from {RANGE[0]} to {RANGE[-1]} are held by other processes")


def _listening(port: int) -> socket.socket:
    """Return a socket that listens there. Raises PortTaken."""
    probe = socket.socket()
    try:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((LOOPBACK, port))
        probe.listen(1)
    except (OSError, OverflowError) as error:
        probe.close()
        why = error.strerror if isinstance(error, OSError) else error
        raise PortTaken(f"{LOOPBACK}:{port}: {why}; give another port, or 0 for any") from error
    return probe
