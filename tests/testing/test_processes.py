"""Every way of listening is found, and nothing else is called one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from keephold.testing.processes import command, is_alive, listeners, of_environment, of_session, tree

ME = os.getpid()


@pytest.fixture
def before() -> set[int]:
    """Listeners that this process has anyway (the test runner's own)."""
    return {listener.inode for listener in listeners(ME)}


def new(before: set[int]) -> list[tuple[str, str]]:
    return [(found.family, found.address) for found in listeners(ME) if found.inode not in before]


def test_tcp(before: set[int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert new(before) == [("tcp", f"127.0.0.1:{port}")]


def test_tcp6(before: set[int]) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        assert new(before) == [("tcp6", f"[0000:0000:0000:0000:0000:0000:0000:0001]:{port}")]


@pytest.mark.parametrize(
    ("family", "host", "table"), [(socket.AF_INET, "127.0.0.1", "udp"), (socket.AF_INET6, "::1", "udp6")]
)
def test_udp_without_peer(before: set[int], family: int, host: str, table: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind((host, 0))
        assert [name for name, _ in new(before)] == [table]


def test_unix_stream(before: set[int], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "a socket"))
        server.listen()
        assert new(before) == [("unix", str(tmp_path / "a socket"))]


def test_unix_abstract_datagram(before: set[int]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0keephold-test-{ME}")
        assert new(before) == [("unix", f"@keephold-test-{ME}")]


def test_netlink_group(before: set[int]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as bound:
        bound.bind((0, 1))
        assert new(before) == [("netlink", "groups 00000001")]


@pytest.mark.parametrize("kind", ["raw", "packet"])
def test_raw_and_packet(before: set[int], kind: str) -> None:
    try:
        hearing = (
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            if kind == "raw"
            else socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)
        )
    except PermissionError:
        pytest.skip("needs CAP_NET_RAW")
    with hearing:
        assert [name for name, _ in new(before)] == [kind]


def test_a_family_without_a_table(before: set[int]) -> None:
    try:
        server = socket.socket(socket.AF_VSOCK)
    except OSError:
        pytest.skip("this kernel has no VSOCK")
    with server:
        assert [name for name, _ in new(before)] == ["AF_VSOCK"]


def test_what_dials_out_does_not_listen(before: set[int]) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stack.enter_context(socket.create_connection(server.getsockname()))
        datagram = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        datagram.connect(server.getsockname())
        for end in socket.socketpair():
            stack.enter_context(end)
        stack.enter_context(socket.socket())  # neither bound nor connected
        assert len(new(before)) == 1


def test_a_process_that_ended_listens_on_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert listeners(child.pid) == []
    assert tree(child.pid) == []
    assert command(child.pid) == ()


PARENT = "import subprocess, sys; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); c.wait()"


@pytest.fixture
def family() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process and its child, in a session of their own and with a mark in their environment."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "KEEPHOLD_TEST_MARK": str(ME)},
    )
    assert parent.stdout is not None
    with parent:
        yield parent, int(parent.stdout.readline())
        os.killpg(parent.pid, signal.SIGKILL)


def test_tree_session_and_environment(family: tuple[subprocess.Popen[str], int]) -> None:
    parent, child = family
    assert tree(parent.pid) == [parent.pid, child]
    assert sorted(of_session(parent.pid)) == sorted([parent.pid, child])
    assert sorted(of_environment(f"KEEPHOLD_TEST_MARK={ME}")) == sorted([parent.pid, child])
    assert command(child) == ("sleep", "60")


def test_an_orphan_is_still_found(family: tuple[subprocess.Popen[str], int]) -> None:
    parent, child = family
    parent.kill()
    parent.wait()
    assert not is_alive(parent.pid)
    assert is_alive(child)
    assert of_session(parent.pid) == [child]
    assert of_environment(f"KEEPHOLD_TEST_MARK={ME}") == [child]
