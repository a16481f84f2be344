"""What a process has open and what it left behind, as the kernel tells it under `/proc`.

Worker and gatekeeper never listen (G3). To show that, "listening" is read as widely as possible: a socket, of any
family, to which somebody else can send first.

1. Stream sockets (TCP, UNIX, either packet kind) listen when the kernel says so in its tables.
2. Datagram sockets (UDP, UDP-Lite, UNIX) have no such state: one that has a local name but no peer hears everybody.
3. Raw, packet and multicast netlink sockets hear everybody by nature.
4. The kernel has families without a table here (VSOCK, the one an enclave's host would use, among them). A socket that
   no table lists and whose protocol is not one of the above counts as listening: what cannot be judged is not waved
   through.

A process of another network namespace is judged by the tables of its own: they are read through its `/proc/PID/net`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_LISTEN: Final = "0A"
_UNCONNECTED: Final = "07"
_ACCEPTS: Final = 0x10000
_UNIX_DATAGRAM: Final = "0002"
_INTERNET: Final = ("tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6")
_TABLED: Final = frozenset(
    {"TCP", "TCPv6", "UDP", "UDPv6", "UDP-Lite", "UDPLITE", "UDPLITEv6", "RAW", "RAWv6", "PING", "PINGv6", "PACKET",
     "UNIX", "UNIX-STREAM", "UNIX-DGRAM", "UNIX-SEQPACKET", "NETLINK"}
)  # fmt: skip
"""Protocol names, as the kernel spells them, of sockets that the tables list as soon as they have a name or a peer."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket to which somebody else can send first."""

    family: str
    """Table that lists it (`tcp`, `udp6`, `unix`, …), else the kernel's name of its protocol."""
    address: str
    """`127.0.0.1:7707`, a UNIX socket's path (`@` in front: abstract), or empty."""
    inode: int


def listeners(pid: int) -> list[Listener]:
    """Return what a process listens on, by inode; nothing for one that has ended.

    Raises:
        PermissionError: another user's process.
    """
    sockets = dict(_sockets(pid))
    if not sockets:
        return []
    listed: dict[int, Listener | None] = {}
    for table in _INTERNET:
        listed.update(_internet(pid, table))
    listed.update(_unix(pid))
    listed.update(_netlink(pid))
    listed.update(_packet(pid))
    found = []
    for inode, protocol in sockets.items():
        if inode in listed:
            if (listener := listed[inode]) is not None:
                found.append(listener)
        elif protocol not in _TABLED:
            found.append(Listener(protocol, "", inode))
    return sorted(found, key=lambda listener: listener.inode)


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants that live, parents first; nothing when it has ended."""
    children: dict[int, list[int]] = {}
    for process, stat in _stats():
        children.setdefault(int(stat[1]), []).append(process)
    found = [pid] if is_alive(pid) else []
    for process in found:
        found.extend(sorted(children.get(process, ())))
    return found


def of_session(session: int) -> list[int]:
    """Return the living processes of a session (see `setsid`)."""
    return [process for process, stat in _stats() if int(stat[3]) == session]


def of_environment(entry: str) -> list[int]:
    """Return the living processes started with `NAME=VALUE` in their environment: it survives a lost parent."""
    wanted = entry.encode()
    found = []
    for process, _ in _stats():
        with suppress(OSError):
            if wanted in (_PROC / str(process) / "environ").read_bytes().split(b"\0"):
                found.append(process)
    return found


def is_alive(pid: int) -> bool:
    """Say whether a process exists and is more than an entry that its parent has yet to read."""
    return any(process == pid for process, _ in _stats(str(pid)))


def command(pid: int) -> tuple[str, ...]:
    """Return a process's command line; empty when it has ended."""
    try:
        raw = (_PROC / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return ()
    return tuple(part.decode(errors="replace") for part in raw.split(b"\0")[:-1])


def _stats(pattern: str = "[0-9]*") -> Iterator[tuple[int, list[str]]]:
    """Yield process ids with state, parent, group, session, … (fields 3 and on of `/proc/PID/stat`)."""
    for path in _PROC.glob(f"{pattern}/stat"):
        try:
            stat = path.read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = stat.rpartition(")")[2].split()  # the name before may hold spaces and parentheses
        if fields[0] not in {"Z", "X"}:
            yield int(path.parent.name), fields


def _sockets(pid: int) -> Iterator[tuple[int, str]]:
    """Yield inode and protocol of each open socket."""
    descriptors = _PROC / str(pid) / "fd"
    try:
        paths = list(descriptors.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return
    for path in paths:
        with suppress(FileNotFoundError, ProcessLookupError):  # closed meanwhile
            link = str(path.readlink())
            if link.startswith("socket:["):
                protocol = os.getxattr(path, "system.sockprotoname").rstrip(b"\0").decode()
                yield int(link[len("socket:[") : -1]), protocol


def _rows(pid: int, table: str) -> Iterator[list[str]]:
    try:
        lines = (_PROC / str(pid) / "net" / table).read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # a family this kernel lacks, or the process ended
        return
    yield from (line.split() for line in lines[1:])


def _internet(pid: int, table: str) -> Mapping[int, Listener | None]:
    found: dict[int, Listener | None] = {}
    for row in _rows(pid, table):
        local, state, inode = row[1], row[3], int(row[9])
        if table.startswith("tcp"):
            hears = state == _LISTEN
        elif table.startswith("udp"):
            hears = state == _UNCONNECTED
        else:
            hears = True
        found[inode] = Listener(table, _address(local), inode) if hears else None
    return found


def _unix(pid: int) -> Mapping[int, Listener | None]:
    found: dict[int, Listener | None] = {}
    for row in _rows(pid, "unix"):
        flags, kind, inode, path = int(row[3], 16), row[4], int(row[6]), " ".join(row[7:])
        hears = bool(flags & _ACCEPTS) or (kind == _UNIX_DATAGRAM and bool(path))
        found[inode] = Listener("unix", path, inode) if hears else None
    return found


def _netlink(pid: int) -> Mapping[int, Listener | None]:
    return {
        int(row[9]): Listener("netlink", f"groups {row[3]}", int(row[9])) if int(row[3], 16) else None
        for row in _rows(pid, "netlink")
    }


def _packet(pid: int) -> Mapping[int, Listener | None]:
    return {int(row[8]): Listener("packet", "", int(row[8])) for row in _rows(pid, "packet")}


def _address(text: str) -> str:
    """Return `127.0.0.1:7707` for the kernel's `0100007F:1E1B`: words of the host's byte order."""
    host, _, port = text.rpartition(":")
    raw = b"".join(bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
    if len(raw) == 4:
        return f"{'.'.join(map(str, raw))}:{int(port, 16)}"
    groups = ":".join(raw[at : at + 2].hex() for at in range(0, 16, 2))
    return f"[{groups}]:{int(port, 16)}"
