"""The pages about networks and nodes: each command runs, in their order, for four operators on loopback.

Where the pages say an address, a port or a key, the test says its own: everything else is as printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from keephold.api.metrics import Metrics
from keephold.base.errors import ConfigurationError
from keephold.programs.halts import HALTS
from keephold.testing.comet.binary import comet_binary
from keephold.testing.ports import LOOPBACK, free_ports
from keephold.testing.processes import of_environment

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "systemd" / "keephold-node.service"
OPERATORS = ("alice", "bob", "carol", "dave")
MARK = "KEEPHOLD_TEST_OPERATE"
PATIENCE = 300.0
PASSWORD = "correct horse"


class Desk:
    """Where the operators sit: a directory each, one clock, no shared secrets but the keystore of this test."""

    def __init__(self, place: Path, binary: Path) -> None:
        self.place = place
        (place / "bin").mkdir()
        shutil.copy(binary, place / "bin" / "cometbft")
        self.environment = {
            **os.environ,
            "PATH": f"{place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "KEEPHOLD_HOME": str(place / "home"),
            MARK: str(place),
        }
        (place / "password").write_text(PASSWORD)
        ports = free_ports(*[0] * 18)
        self.ports = dict(zip((*OPERATORS, "late", "joined"), zip(*[iter(ports)] * 3, strict=True), strict=True))
        """API, P2P and RPC of each."""
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, command: str, who: str = "") -> str:
        """Run a command of a page in an operator's directory; it must succeed."""
        where = self.place / who
        where.mkdir(exist_ok=True)
        ended = subprocess.run(
            ["bash", "-c", command], cwd=where, env=self.environment, capture_output=True, text=True, timeout=PATIENCE,
            check=False,
        )  # fmt: skip
        assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}\n{self.logs()}"
        return ended.stdout

    def start(self, command: str, who: str, name: str = "") -> None:
        with (self.place / f"{name or who}.log").open("wb") as log:
            self.nodes[name or who] = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.place / who, env=self.environment, stdout=log, stderr=log
            )

    def end(self, name: str) -> None:
        node = self.nodes.pop(name)
        node.send_signal(signal.SIGTERM)
        assert node.wait(PATIENCE) == 0, (self.place / f"{name}.log").read_text()[-2000:]

    def status(self, who: str) -> dict[str, Any]:
        return self.get(f"http://{LOOPBACK}:{self.ports[who][0]}/v1/status")

    def height(self, who: str) -> int:
        return int(self.status(who).get("height", -1))

    @staticmethod
    def get(url: str) -> dict[str, Any]:
        with httpx2.Client(trust_env=False) as http, suppress(httpx2.HTTPError, ValueError):
            return http.get(url, timeout=60).json()
        return {}

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.1)

    def logs(self) -> str:
        """Return the end of each log."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.place.glob("*.log")))


@pytest.fixture
def desk() -> Iterator[Desk]:
    try:
        binary = comet_binary()
    except ConfigurationError as error:
        pytest.fail(f"no CometBFT: {error}")
    with tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory:  # sockets want short paths
        made = Desk(Path(directory), binary)
        try:
            yield made
        finally:
            for node in made.nodes.values():
                node.kill()
                node.wait()
            made.until(lambda: of_environment(f"{MARK}={directory}") == [])


def only(commands: list[str], start: str) -> str:
    (found,) = [command for command in commands if command.startswith(start)]
    return found


@pytest.mark.comet
@pytest.mark.slow
def test_four_operators_found_run_watch_change_save_and_restore_a_network(desk, page):
    founding, running = page("operate/network.md").commands(), page("operate/nodes.md").commands()
    left = {*founding, *running}

    def take(commands: list[str], start: str) -> str:
        command = only(commands, start)
        left.discard(command)
        return command

    # (1) The law: its governors are accounts of a keystore.
    secret = "--password-file password"
    governors = [
        json.loads(desk.run(f"keephold account new governor{n} {secret} --json"))["address"] for n in (1, 2, 3)
    ]
    law, _ = re.findall(r"```toml\n(.*?)```", page("operate/network.md").path.read_text(), re.DOTALL)
    law = re.sub(r"keys = \[.*?\]", f"keys = {json.dumps(governors)}", law, flags=re.DOTALL)
    (desk.place / "law.toml").write_text(law.replace("delay_seconds = 604800", "delay_seconds = 0"))
    for command in founding:
        if command.startswith("keephold network init"):
            left.discard(command)  # `tests/cli/test_network.py` and `tests/faults/test_comet_operation.py` run these

    # (2) Each draws keys where his node will run, and hands on one file.
    key = take(founding, "keephold network key --home node")
    for who in OPERATORS:
        api, p2p, _ = desk.ports[who]
        desk.run(f"{key.replace('10.0.0.1', LOOPBACK)} --port {api} --p2p-port {p2p}", who)
        shutil.copy(desk.place / who / "node" / "member.toml", desk.place / f"{who}.toml")

    # (3) Anybody assembles; whoever does so again gets the same.
    assemble = take(founding, "keephold network assemble")
    assemble = re.sub(r"--time \S+", f"--time {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}", assemble)
    first = json.loads(desk.run(f"{assemble} --json"))
    again = json.loads(desk.run(f"{assemble.replace('--out net', '--out again')} --json"))
    assert first["network"] == again["network"]

    # (4) Each accepts it and starts.
    accept = take(founding, "keephold network accept --home node")
    start = take(running, "keephold node --home node")
    for who in OPERATORS:
        shutil.copytree(desk.place / "net", desk.place / who / "net")
        desk.run(f"{accept} --rpc-port {desk.ports[who][2]}", who)
        toml = desk.place / who / "node" / "node.toml"
        quick = {"heartbeat = 30.0": "heartbeat = 1.0", "snapshot_interval = 1000": "snapshot_interval = 5"}
        text = toml.read_text()
        for usual, quicker in quick.items():
            assert usual in text
            text = text.replace(usual, quicker)
        toml.write_text(text)
        desk.start(start, who)
    desk.until(lambda: all(desk.height(who) > 2 for who in OPERATORS))
    desk.until(lambda: {desk.status(who).get("network") for who in OPERATORS} == {first["network"]})

    # (5) Watching.
    api, _, rpc = desk.ports["alice"]
    here = {"7707": str(api), "26757": str(rpc), "26758": str(desk.ports["bob"][2])}
    for command in [line for line in running if line.startswith("curl")]:
        left.discard(command)
        told = desk.run(re.sub(r"7707|26757", lambda found: here[found.group()], command))
        assert first["network"] in told or '"result"' in told
    follow_with_cometbft(desk, take(running, "cometbft light"), here, first["chain_id"])

    # (6) A latecomer follows, and governance makes it a validator.
    api, p2p, rpc = desk.ports["late"]
    late = take(founding, "keephold network key --home late").replace("10.0.0.9", LOOPBACK)
    desk.run(f"{late} --port {api} --p2p-port {p2p}")
    desk.run(f"{take(founding, 'keephold network accept --home late')} --rpc-port {rpc}")
    desk.start("keephold node --home late", "", "late")
    desk.until(lambda: desk.height("late") > 2)
    public = re.search(r'public_key = "(\w+)"', (desk.place / "late" / "member.toml").read_text())
    assert public is not None
    for command in [line for line in running if line.startswith("keephold govern")]:
        left.discard(command)
        as_somebody = f" {secret}" if "--as" in command else ""
        desk.run(command.replace("KEY", public[1]) + as_somebody)
    desk.until(lambda: desk.get(f"http://{LOOPBACK}:{here['26757']}/validators").get("result", {}).get("total") == "5")

    # (7) Another one joins by a snapshot.
    join_by_snapshot(desk, take(founding, "keephold network join"), take(founding, "keephold node --home joined"))

    # (8) Backup and restore: the others went on meanwhile, so the copy votes at new heights only.
    desk.end("alice")
    desk.run(take(running, "tar -C node"), "alice")
    stopped = desk.height("bob")
    desk.until(lambda: desk.height("bob") > stopped + 2)
    desk.run(take(running, "mkdir restored"), "alice")
    desk.run(take(running, "tar -C restored"), "alice")
    desk.start(take(running, "keephold node --home restored"), "alice")
    desk.until(lambda: desk.height("alice") > stopped + 2)

    # (9) Comparing.
    desk.end("alice")
    desk.run("cp -r restored other", "alice")
    compare = take(running, "keephold debug diff-state node other").replace("node other", "restored other")
    assert "the same state at height" in desk.run(compare, "alice")
    url = take(running, "keephold debug diff-state node http").replace("7708", str(desk.ports["bob"][0]))
    desk.until(lambda: desk.height("bob") > desk_height(desk) + 1)
    assert "the same state at height" in desk.run(url.replace("node http", "restored http"), "alice")

    assert left == set(), "every command of the pages ran"


def join_by_snapshot(desk: Desk, join: str, start: str) -> None:
    """Run the page's commands for a node that does not replay the chain."""
    nodes = {f"10.0.0.{n}:7707": f"{LOOPBACK}:{desk.ports[who][0]}" for n, who in ((1, "alice"), (2, "bob"))}
    for place, real in nodes.items():
        join = join.replace(place, real)
    bob = re.search(r'node_id = "(\w+)"', (desk.place / "bob.toml").read_text())
    assert bob is not None
    join = re.sub(r"\w{40}@10.0.0.2:26656", f"{bob[1]}@{LOOPBACK}:{desk.ports['bob'][1]}", join)
    api, p2p, rpc = desk.ports["joined"]
    desk.run(f"{join} --port {api} --p2p-port {p2p} --rpc-port {rpc}")
    desk.until(lambda: desk.height("bob") > 12)
    desk.start(start, "", "joined")
    desk.until(lambda: desk.height("joined") > 12)
    desk.end("joined")


def desk_height(desk: Desk) -> int:
    told = desk.run("keephold debug diff-state restored other --json", "alice")
    return int(json.loads(told)["height"])


def follow_with_cometbft(desk: Desk, command: str, here: dict[str, str], chain: str) -> None:
    """Run the page's light client until it serves a header that it verified."""
    asked = f"http://{LOOPBACK}:{here['26757']}/commit?height=1"
    desk.until(lambda: "result" in desk.get(asked))
    commit = desk.get(asked)["result"]["signed_header"]["commit"]
    (port,) = free_ports(0)
    words = {"CHAIN": chain, "HEIGHT": "1", "HASH": commit["block_id"]["hash"], "8888": str(port), **here}
    for word, value in words.items():
        command = re.sub(rf"\b{word}\b", value, command)
    desk.start(command, "", "light")
    desk.until(lambda: "result" in desk.get(f"http://{LOOPBACK}:{port}/commit?height=2"))
    light = desk.nodes.pop("light")
    light.terminate()
    light.wait(PATIENCE)


def test_the_unit_is_one_that_systemd_takes(tmp_path, page):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    unit = tmp_path / UNIT.name
    unit.write_text(
        UNIT.read_text().replace("/opt/keephold/bin/keephold", str(Path(sys.executable).parent / "keephold"))
    )
    ended = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert unit.name not in ended.stderr
    (shown,) = page("operate/nodes.md").blocks("ini")
    assert set(shown.splitlines()) <= set(UNIT.read_text().splitlines()), "the page shows the file"


def test_the_page_names_every_reason_and_every_metric(page):
    text = page("operate/nodes.md").path.read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    assert named >= {halt.reason for halt in HALTS} | {"crash_loop"}
    source = Path(sys.modules[Metrics.__module__].__file__ or "").read_text()
    metrics = {
        f"keephold_{name}"
        for name in re.findall(r'(?:page\.add\(|^            )\s*"([a-z_]+)"[,)]', source, re.MULTILINE)
    }
    assert "keephold_height" in metrics
    assert metrics <= set(re.findall(r"keephold_[a-z_]+", text))
