"""Every command of the README runs, and every function it names is there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.strip()]
SESSION = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "Network.connect" in block)
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**ENVIRONMENT, "KEEPHOLD_HOME": str(home)}
    return subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_the_readme_names_only_commands_that_this_file_runs():
    known = re.compile(r"^(make (demo|test)$|source |keephold (devnet|deploy|call|view|verify|trust) )")
    assert [command for command in COMMANDS if not known.match(command)] == []


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_two_commands_are_targets(target):
    assert f"make {target}" in COMMANDS
    assert subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_the_session_of_the_readme_runs(tmp_path):
    steps = [command for command in COMMANDS if command.startswith("keephold ")]
    devnet = next(step for step in steps if step.startswith("keephold devnet"))
    start = devnet.replace("/tmp/gold", str(tmp_path / "state")) + " --port 0"
    environment = {**ENVIRONMENT, "KEEPHOLD_HOME": str(tmp_path / "home")}
    log = (tmp_path / "devnet.log").open("w")
    with (
        log,
        subprocess.Popen(["bash", "-c", f"exec {start}"], cwd=ROOT, env=environment, stdout=log, stderr=log) as net,
    ):
        try:
            deadline = time.monotonic() + 240
            while "API" not in (tmp_path / "devnet.log").read_text():
                assert net.poll() is None, (tmp_path / "devnet.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "devnet.log").read_text()
                time.sleep(0.1)
            for step in steps[1:]:
                ended = run(step, tmp_path / "home")
                assert ended.returncode == 0, f"{step}: {ended.stdout}{ended.stderr}"
                if "view" in step:
                    assert ended.stdout.strip() == "5"
                if "verify" in step:
                    assert "pinned genesis" in ended.stdout
                    assert "SIMULATED" in ended.stdout
            (tmp_path / "session.py").write_text(SESSION.replace("/tmp/gold", str(tmp_path / "state")))
            ended = run(f"python {tmp_path / 'session.py'}", tmp_path / "home")
            assert (ended.stdout.strip(), ended.returncode) == ("5", 0), ended.stderr
        finally:
            net.send_signal(signal.SIGTERM)
            net.wait(240)


def test_every_function_of_the_walk_through_exists():
    for path, name in re.findall(r"`([a-z_]+/[a-z_/]+\.py): ([A-Za-z_.]+)`", README):
        source = (ROOT / "src" / "keephold" / path).read_text()
        assert re.search(rf"(def|class) {re.escape(name.split('.')[-1])}\b", source), f"{path}: {name}"
    for path in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", README):
        assert (ROOT / "src" / "keephold" / path).exists(), path


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
