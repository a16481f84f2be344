"""Ports of this machine that nobody listens on now; somebody may the next moment."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from keephold.base.errors import PortTaken

LOOPBACK: Final = "127.0.0.1"


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
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
                probe.listen(1)
            except (OSError, OverflowError) as error:
                why = error.strerror if isinstance(error, OSError) else error
                raise PortTaken(f"{LOOPBACK}:{port}: {why}; give another port, or 0 for any") from error
            found_ports.append(int(probe.getsockname()[1]))
    return tuple(found_ports)
