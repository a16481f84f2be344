"""Machines that are namespaces, and lines that lose and delay what they are told to."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from keephold.base.errors import ConfigurationError
from keephold.testing import inside
from keephold.testing.supervisor import Program
from keephold.testing.switch import CUT, Link, Switch

PORT = 7
PATIENCE = 120


@pytest.fixture
def switch() -> Iterator[Switch]:
    try:
        made = Switch(3)
    except ConfigurationError as error:
        pytest.skip(str(error))
    with made:
        yield made


@pytest.fixture
def echo(switch) -> Iterator[Switch]:
    """A switch with somebody on machine 0 who answers."""
    with switch.machines[0].entered():
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((switch.machines[0].address, PORT))

    def serve() -> None:
        while (received := bound.recvfrom(100))[0] != b"end":
            bound.sendto(*received)

    thread = threading.Thread(target=serve)
    thread.start()
    yield switch
    switch.heal()
    with switch.machines[0].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
        last.sendto(b"end", (switch.machines[0].address, PORT))
    thread.join()
    bound.close()


def answers(switch: Switch, number: int, count: int = 1, lossy: tuple[int, int] | None = None, least: int = 0) -> int:
    """Return how many of so many datagrams from a machine are answered: all of them.

    Where a line is lossy: those that are until the line has lost something, at least so many came, and no more do.
    """
    ends, before = time.monotonic() + PATIENCE, switch.lost[lossy or (0, 0)]
    heard = 0
    with switch.machines[number].entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        for at in range(count):
            asking.sendto(b"%d" % at, (switch.machines[0].address, PORT))
        while heard < count:
            assert time.monotonic() < ends, f"{count} asked, {heard} answered, lost: {switch.lost}"
            try:
                asking.recv(100)
            except TimeoutError:
                if lossy is not None and switch.lost[lossy] > before and heard >= least:
                    break
            else:
                heard += 1
    return heard


def test_machines_reach_each_other_and_this_one_does_not_see_them(echo) -> None:
    assert answers(echo, 1) == 1
    assert answers(echo, 2) == 1
    assert "wire" not in [name for _, name in socket.if_nameindex()]


@pytest.mark.parametrize("cut", [(0, 1), (1, 0)], ids=["answers", "questions"])
def test_a_line_is_cut_in_one_direction_and_healed(echo, cut) -> None:
    assert answers(echo, 1) == 1
    echo.set(*cut, CUT)
    assert answers(echo, 1, lossy=cut) == 0
    assert list(echo.lost) == [cut]
    assert answers(echo, 2) == 1, "the others"
    echo.heal()
    assert answers(echo, 1) == 1


def test_groups_are_parted(echo) -> None:
    echo.part({0, 1}, {2})
    assert (answers(echo, 1), answers(echo, 2, lossy=(2, 0))) == (1, 0)


def test_some_of_what_is_said_on_a_lossy_line_is_lost(echo) -> None:
    assert answers(echo, 1) == 1
    echo.set(1, 0, Link(loss=0.5))
    assert 0 < answers(echo, 1, count=64, lossy=(1, 0), least=1) < 64


def test_what_is_delayed_arrives_late(echo) -> None:
    assert answers(echo, 1) == 1
    echo.set(1, 0, Link(delay=0.3))
    began = time.monotonic()
    assert answers(echo, 1) == 1
    assert time.monotonic() - began >= 0.3


def test_a_program_runs_on_a_machine(switch) -> None:
    program = inside.program(switch.machines[1], Program("shown", "http.server", ("--help",)))
    assert program.arguments[1:] == ("http.server", "--help")
    command = [sys.executable, "-m", program.module, program.arguments[0], "timeit", "-n1", "-r1", "-s", SEEN, "pass"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[0] == "lo wire"


SEEN = "import socket; print(*[name for _, name in socket.if_nameindex()])"
