"""The pages for operators: every command runs, on loopback, with simulated enclaves; every file in them is a file."""

from __future__ import annotations

import configparser
import contextlib
import importlib.util
import json
import re
import signal
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from keephold.base.errors import ConfigurationError, EnclaveError
from keephold.programs.enclaves import PlatformConfig
from keephold.programs.gatekeeper import GatekeeperConfig
from keephold.programs.worker import WorkerConfig, WorkerFile

PATIENCE = 240.0
PORT = re.compile("http://127.0.0.1:77(?:00|07)")
"""That the pages name, of a devnet or of a node; the devnet of a test takes any free one."""


def start_of(commands: list[str], role: str) -> str:
    (found,) = [line for line in commands if line.startswith(f"python -m keephold.testing.enclave {role} ")]
    return found


@contextlib.contextmanager
def running(place, command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("wb") as out,
        subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=place.directory, env=place.environment, stderr=out
        ) as it,
    ):
        try:
            yield it
        finally:
            it.send_signal(signal.SIGTERM)
            it.wait(PATIENCE)


def wait_event(log: Path, name: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for line in log.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found: dict[str, Any] = json.loads(line)
                if found["event"] == name:
                    return found
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def prepare(place, page, name: str, url: str) -> tuple[list[str], str]:
    """Run the commands before the start, and write the configuration file; return all commands and the start."""
    commands = page(f"operate/{name}.md").commands()
    start = start_of(commands, name)
    for command in commands[: commands.index(start)]:
        if not command.startswith("keephold devnet"):
            place.run(command)
    file, config = next(
        found
        for found in re.findall(
            r"`(\w+/\w+\.toml)`:\n\n```toml\n(.*?)```", page(f"operate/{name}.md").path.read_text(), re.DOTALL
        )
    )
    (place.directory / file).write_text(PORT.sub(url, config))
    return commands, start


@pytest.mark.slow
def test_a_worker_started_by_hand_serves_and_a_second_start_ends_it(place, devnet, page, tmp_path):
    commands, start = prepare(place, page, "worker", devnet)
    with running(place, start, tmp_path / "first") as first:
        ready = wait_event(tmp_path / "first", "ready")
        for command in commands[commands.index(start) + 1 :]:
            said = place.run(PORT.sub(devnet, command))
            assert ready["identity"][:16] in said or ready["instance"] in said, command
        # Superseded: the page says what a second start of the same home does.
        with running(place, start, tmp_path / "second"):
            again = wait_event(tmp_path / "second", "ready")
            assert again["identity"] == ready["identity"]
            assert again["instance"] != ready["instance"]
            assert first.wait(PATIENCE) == 11
    assert wait_event(tmp_path / "first", "stopped")["error"] == "superseded"
    assert wait_event(tmp_path / "second", "stopped by signal")


@pytest.mark.slow
def test_a_gatekeeper_started_by_hand_is_a_candidate(place, devnet, page, tmp_path):
    commands, start = prepare(place, page, "gatekeeper", devnet)
    with running(place, start, tmp_path / "log"):
        ready = wait_event(tmp_path / "log", "ready")
        deadline = time.monotonic() + PATIENCE
        while "3 seated, ready" not in (shown := place.run("keephold show")):
            assert time.monotonic() < deadline, shown
        for command in commands[commands.index(start) + 1 :]:
            said = place.run(PORT.sub(devnet, command))
            assert "gatekeepers 3 seated, ready" in said or json.loads(said)["phase"] == "ready", command
        assert ready["identity"][:16] in place.run("keephold show")


@pytest.mark.parametrize(("name", "kind"), [("worker", WorkerConfig), ("gatekeeper", GatekeeperConfig)])
def test_configuration_files_on_the_pages_are_accepted(page, name, kind):
    for block in page(f"operate/{name}.md").blocks("toml"):
        given = tomllib.loads(block)
        assert msgspec.convert(given, WorkerFile if "platform" in given else kind)


def test_every_platform_has_its_row_and_none_claims_hardware(page):
    kinds = get_args(get_type_hints(PlatformConfig)["kind"])
    text = page("operate/worker.md").path.read_text()
    assert len(kinds) == 4
    for kind in kinds:
        assert re.search(rf"^\| `{kind}` \|.*\| no \|$", text, re.MULTILINE), kind


@pytest.mark.parametrize("name", ["worker", "gatekeeper"])
def test_events_on_the_pages_are_logged_by_the_code(page, name):
    sources = "".join(
        path.read_text()
        for package in ("worker", "gatekeeper", "programs", "enclave")
        for path in (Path(__file__).parents[2] / "src" / "keephold" / package).glob("*.py")
    )
    logged = re.sub(r"%[sd]", "…", sources).replace("…: …: …", "…: …")
    table = page(f"operate/{name}.md").path.read_text().partition("| event | means |")[2].partition("\n\n")[0]
    words = [word for row in table.splitlines()[2:] for word in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(words) > 6
    assert [word for word in words if word not in logged] == []


@pytest.mark.parametrize("name", ["worker", "gatekeeper"])
def test_units_start_the_program_and_not_again_what_must_not_go_on(page, name):
    (block,) = page(f"operate/{name}.md").blocks("ini")
    unit = configparser.ConfigParser()
    unit.read_string(block)
    service = unit["Service"]
    assert f" -m keephold.programs.{name} --config " in service["ExecStart"]
    assert importlib.util.find_spec(f"keephold.programs.{name}") is not None
    never = {ConfigurationError.exit_status, EnclaveError.exit_status}
    assert {int(status) for status in service["RestartPreventExitStatus"].split()} == never
