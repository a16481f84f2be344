"""The proxy passes on, records, and misbehaves exactly as told."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.testing.proxy import Corrupting, Cutting, Faithful, Proxy, Slow, Unplugged


class Echo:
    """Says back what it hears, until the other half closes."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._speak, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _speak(self, connection: socket.socket) -> None:
        with connection:
            try:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)
            except OSError:
                return

    def stop(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    echo = Echo()
    with Proxy(echo.port, tmp_path / "captured") as running:
        yield running
    echo.stop()


def dialled(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=120)


def said_back(connection: socket.socket, words: bytes) -> bytes:
    """Send everything, close our half, and return all that comes back."""
    connection.sendall(words)
    connection.shutdown(socket.SHUT_WR)
    heard = b""
    try:
        while piece := connection.recv(1 << 16):
            heard += piece
    except ConnectionError:
        pass
    return heard


def test_both_directions_pass_and_are_recorded(proxy: Proxy) -> None:
    words = os.urandom(1 << 16)
    for _ in range(2):
        with dialled(proxy) as connection:
            assert said_back(connection, words) == words
    assert proxy.connections == 2
    proxy.stop()
    recordings = sorted(path.name for path in proxy.captured.iterdir())
    assert recordings == ["000000.down", "000000.up", "000001.down", "000001.up"]
    assert all(path.read_bytes() == words for path in proxy.captured.iterdir())


def test_what_is_recorded_is_on_disk_while_the_connection_lasts(proxy: Proxy) -> None:
    with dialled(proxy) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        assert (proxy.captured / "000000.up").read_bytes() == b"hello"


def test_corruption_keeps_the_length_and_one_direction(proxy: Proxy) -> None:
    proxy.behave(Corrupting(every=10))
    words = bytes(100)
    with dialled(proxy) as connection:
        assert said_back(connection, words) == (b"\x01" + bytes(9)) * 10
    proxy.stop()
    assert (proxy.captured / "000000.up").read_bytes() == words
    assert (proxy.captured / "000000.down").read_bytes() == words, "the recording is what the node said"


def test_cutting_ends_a_connection_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.behave(Cutting(after=7))
    with dialled(proxy) as connection:
        assert said_back(connection, b"a longer sentence") == b"a longe"


def test_cut_ends_what_is_connected_and_takes_new_ones(proxy: Proxy) -> None:
    with dialled(proxy) as connection:
        connection.sendall(b"hello")
        assert connection.recv(5) == b"hello"
        proxy.cut()
        assert said_back_nothing(connection)
    with dialled(proxy) as connection:
        assert said_back(connection, b"again") == b"again"


def test_unplugged_takes_nothing_until_told_otherwise(proxy: Proxy) -> None:
    with dialled(proxy) as standing:
        proxy.behave(Unplugged())
        assert said_back_nothing(standing)
        with dialled(proxy) as connection:
            assert said_back_nothing(connection)
    proxy.behave(Faithful())
    with dialled(proxy) as connection:
        assert said_back(connection, b"again") == b"again"


def test_slow_holds_back_and_loses_nothing(proxy: Proxy) -> None:
    proxy.behave(Slow(0.01))
    with dialled(proxy) as connection:
        assert said_back(connection, b"patience") == b"patience"


def test_a_target_that_does_not_listen_is_a_closed_connection(tmp_path: Path) -> None:
    with socket.socket() as held:  # bound, so that nobody else comes to listen there, and not listening
        held.bind(("127.0.0.1", 0))
        with Proxy(held.getsockname()[1], tmp_path) as lonely, dialled(lonely) as connection:
            assert said_back_nothing(connection)


def test_a_taken_port_is_an_error(proxy: Proxy, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"):
        Proxy(1, tmp_path, port=proxy.port)


def test_stop_may_be_called_twice(proxy: Proxy) -> None:
    proxy.stop()
    proxy.stop()


def said_back_nothing(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
