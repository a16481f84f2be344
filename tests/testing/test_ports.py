"""Ports that stay ours while nobody listens on them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from keephold.base.errors import PortTaken
from keephold.testing import ports
from keephold.testing.ports import LOOPBACK, RANGE, free_port, free_ports, free_row

PROGRAM = "import sys; from keephold.testing.ports import free_row; print(free_row(1), flush=True); sys.stdin.read()"


def stretch(port: int) -> int:
    return (port - RANGE[0]) // 64


def test_no_port_is_chosen_twice_and_none_is_one_that_the_kernel_gives_to_others():
    chosen = [*free_ports(*[0] * 100), *(free_port(0) for _ in range(100))]
    assert len(set(chosen)) == 200
    assert set(chosen) <= set(RANGE)
    lowest, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    if int(lowest) >= 32768:  # as the kernel comes
        assert max(chosen) < int(lowest)


def test_ports_in_a_row_are_free_and_left_out_where_one_is_not():
    first = free_row(12)
    with socket.create_server((LOOPBACK, first + 12 + 5 if stretch(first) == stretch(first + 24) else 0)):
        following = free_row(12)
    for at in range(following, following + 12):
        with socket.create_server((LOOPBACK, at)):
            pass
    assert not set(range(first, first + 12)) & set(range(following, following + 12))


def test_what_another_process_may_choose_from_is_not_chosen_here():
    """Three others, and their stretches are not ours even though nobody listens."""
    others = [
        subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    try:
        theirs = [stretch(int(other.stdout.readline())) for other in others]
        assert len(set(theirs)) == 3
        ours = {stretch(ports._hold()[0]) for _ in range(3)}
        assert len(ours) == 3
        assert not ours & set(theirs)
    finally:
        for other in others:
            other.communicate()


def test_a_stretch_is_held_until_its_process_has_ended(monkeypatch):
    alone = range(first := (1 << 30) + 64 * os.getpid(), first + 64)  # names that nobody else thinks of
    monkeypatch.setattr(ports, "RANGE", alone)
    program = f"import sys; from keephold.testing import ports; ports.RANGE = {alone}; print(ports._hold(), flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{program}; sys.stdin.read()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline().decode().strip() == str(alone)
        with pytest.raises(PortTaken, match="held by other processes"):
            ports._hold()
        other.communicate()
    assert ports._hold() == alone
