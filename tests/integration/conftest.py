"""Whole networks of separate programs. Each module starts its own; caches are shared, and apart from the user's own."""

from __future__ import annotations

import os
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from keephold.base.errors import DeadlineExceeded, KeepholdError
from keephold.client.network import Network
from keephold.client.source import code_from_file
from keephold.protocol.contracts import Code
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.testing import programs
from keephold.testing.devnet import Devnet
from keephold.testing.proxy import Proxy
from keephold.testing.supervisor import Program

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session", autouse=True)
def own_place() -> Iterator[Path]:
    """Let every program of these tests keep its files apart from the user's; what takes seconds to make is kept."""
    guest = guest_artefact().path
    place = cache_directory() / "integration"
    home, cache = place / "home", place / "cache"
    for directory in (home, cache):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if guest.parent == cache_directory() and not (cache / guest.name).exists():
        os.link(guest, cache / guest.name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEEPHOLD_HOME", str(home))
        patch.setenv("KEEPHOLD_CACHE", str(cache))
        yield place


@pytest.fixture(scope="module")
def network(net: Devnet) -> Iterator[Network]:
    """A client of the module's own devnet, its fixture `net`."""
    with Network.connect(net.url, net.genesis) as connected:
        yield connected


@pytest.fixture(scope="session")
def behind_a_proxy() -> Callable[[Path], AbstractContextManager[list[Proxy]]]:
    """Let the enclaves of the next devnet reach its node through a proxy, which is in the list once that started."""

    @contextmanager
    def behind(captured: Path) -> Iterator[list[Proxy]]:
        made: list[Proxy] = []
        original = programs.of_devnet

        def of_devnet(directory: Path, *rest: object) -> Iterator[Program]:
            for program in original(directory, *rest):
                if program.name == "node":
                    made.append(Proxy(tomllib.loads((directory / "node.toml").read_text())["port"], captured))
                else:
                    config = directory / f"{program.name}.toml"
                    written = tomllib.loads(config.read_text())
                    (node,) = written["nodes"]
                    config.write_text(config.read_text().replace(node, made[0].url))
                yield program

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(programs, "of_devnet", of_devnet)
            try:
                yield made
            finally:
                for proxy in made:
                    proxy.stop()

    return behind


@pytest.fixture(scope="session")
def token() -> Code:
    return code_from_file(str(ROOT / "examples" / "token" / "token.py"))


@pytest.fixture(scope="session")
def eventually() -> Callable[..., None]:
    def wait(condition: Callable[[], object], what: str, seconds: float = 240.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"not within {seconds:g} s: {what}")
            time.sleep(0.05)

    return wait


@pytest.fixture(scope="session")
def told() -> Callable[..., None]:
    """Ask with a deadline that a busy machine may reach before anything is known, and then with longer ones."""

    def tell(ask: Callable[[float], object], expected: type[KeepholdError], match: str = "") -> None:
        """`ask` takes the deadline, and has to raise what is expected: about what happened, not that time passed."""
        said = []
        for seconds in (2.0, 8.0, 32.0, 128.0):
            with pytest.raises(KeepholdError) as caught:
                ask(seconds)
            if isinstance(caught.value, expected) and match in str(caught.value):
                return
            said.append(f"{type(caught.value).__name__}: {caught.value}")
            if not isinstance(caught.value, DeadlineExceeded):
                break
        pytest.fail(f"expected {expected.__name__} {match}: {said}")

    return tell
