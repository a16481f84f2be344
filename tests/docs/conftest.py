"""What the tests of pages share: a home of its own, a devnet as the pages start it, and the commands of a page."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from keephold.runtime.artefact import cache_directory

DOCS = Path(__file__).parents[2] / "docs"
PATIENCE = 240.0
"""Seconds: it ends a test that hangs, never one on a busy machine."""


class Place(NamedTuple):
    """Where a page's commands run."""

    home: Path
    """$KEEPHOLD_HOME."""
    directory: Path
    """In which they are given."""

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "KEEPHOLD_HOME": str(self.home)}

    def run(self, command: str, where: Path | None = None) -> str:
        """Run one command line to its end; it must succeed."""
        ended = subprocess.run(
            ["bash", "-c", command],
            cwd=where or self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
        return ended.stdout


class Page(NamedTuple):
    """One page of docs/."""

    path: Path

    def blocks(self, language: str) -> list[str]:
        return re.findall(rf"```{language}\n(.*?)```", self.path.read_text(), re.DOTALL)

    def commands(self) -> list[str]:
        lines = [line.split("  #")[0].strip() for block in self.blocks("console") for line in block.splitlines()]
        return [line for line in lines if line]


@pytest.fixture(scope="session")
def page():
    """Return the page of a name."""
    return lambda name: Page(DOCS / name)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    """Fresh, but for the simulated machines, whose seal the compiled guest carries."""
    home = tmp_path_factory.mktemp("home")
    shared = cache_directory() / "test-home"
    shared.mkdir(parents=True, exist_ok=True)
    (home / "development").symlink_to(shared / "development", target_is_directory=True)
    (shared / "development").mkdir(exist_ok=True)
    return Place(home, tmp_path_factory.mktemp("here"))


@pytest.fixture(scope="module")
def devnet(place) -> Iterator[str]:
    """Run `keephold devnet --state net` beside the page's commands; yield its URL."""
    log = place.directory / "devnet.log"
    command = ["bash", "-c", "exec keephold devnet --state net --port 0"]
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=place.directory, env=place.environment, stdout=out, stderr=out) as net,
    ):
        try:
            deadline = time.monotonic() + PATIENCE
            while not (found := re.search(r"^API +(\S+)/v1", log.read_text(), re.MULTILINE)):
                assert net.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield found[1]
        finally:
            net.send_signal(signal.SIGTERM)
            net.wait(PATIENCE)
