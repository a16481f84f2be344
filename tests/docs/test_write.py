"""The guide for contract authors: every command runs, every contract loads, every test in it passes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.contract.check import check_source
from keephold.runtime.artefact import cache_directory

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "write"
PAGES = sorted(GUIDE.glob("*.md"))


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (GUIDE / page).read_text(), re.DOTALL)


def commands(page: str) -> list[str]:
    lines = [line.split("  #")[0].strip() for block in blocks(page, "console") for line in block.splitlines()]
    return [line for line in lines if line]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "KEEPHOLD_HOME": str(home)}


def run(command: str, where: Path, home: Path) -> str:
    ended = subprocess.run(
        ["bash", "-c", command],
        cwd=where,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Fresh, but for the simulated machines, whose seal the compiled guest carries."""
    made = tmp_path_factory.mktemp("home")
    shared = cache_directory() / "test-home"
    shared.mkdir(parents=True, exist_ok=True)
    (made / "development").symlink_to(shared / "development", target_is_directory=True)
    (shared / "development").mkdir(exist_ok=True)
    return made


@pytest.fixture(scope="module")
def devnet(home, tmp_path_factory) -> Iterator[None]:
    log = tmp_path_factory.mktemp("devnet") / "log"
    command = ["bash", "-c", "exec keephold devnet --port 0"]
    with log.open("w") as out, subprocess.Popen(command, env=environment(home), stdout=out, stderr=out) as net:
        try:
            deadline = time.monotonic() + 90
            while "API" not in log.read_text():
                assert net.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield
        finally:
            net.send_signal(signal.SIGTERM)
            net.wait(30)


@pytest.mark.slow
def test_the_first_five_minutes(tmp_path, home, devnet):
    steps = commands("start.md")
    assert steps[:4] == ["keephold new gold", "cd gold", "keephold test", "keephold devnet"]
    run(steps[0], tmp_path, home)
    outputs = {step: run(step, tmp_path / "gold", home) for step in steps[2:] if step != "keephold devnet"}
    assert outputs["keephold view Gold balance --as bob"].strip() == "5"
    assert "amount=5" in outputs["keephold events Gold --as bob"]
    assert "pinned genesis" in outputs["keephold verify Gold"]


@pytest.mark.slow
def test_the_page_on_testing(tmp_path, home):
    run("keephold new gold", tmp_path, home)
    (test,) = blocks("testing.md", "python")
    (tmp_path / "gold" / "tests" / "test_gold.py").write_text(test)
    for step in commands("testing.md"):
        assert "4 passed" in run(step, tmp_path / "gold", home)


@pytest.mark.parametrize("page", [page.name for page in PAGES])
def test_whole_contracts_load(page):
    for block in blocks(page, "python"):
        if "(Contract" in block:
            assert check_source(block).abi["methods"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", page.read_text()):
        found = (page.parent / target) if target else page
        assert found.exists(), target
        headings = [line.lstrip("# ") for line in found.read_text().splitlines() if line.startswith("#")]
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, f"{target}#{anchor}"


def test_only_pages_whose_commands_run_here_have_commands():
    assert {page.name for page in PAGES if commands(page.name)} == {"start.md", "testing.md"}
