"""`--engine cometbft`: the same commands on real CometBFT, and what is said when it cannot be built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError
from keephold.cli.main import run
from keephold.testing.comet import binary
from keephold.testing.comet.binary import comet_binary

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("engine", ["embedded", "cometbft"])
def test_make_passes_the_engine_on(engine):
    ended = subprocess.run(
        ["make", "-n", "demo", f"ENGINE={engine}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert f"keephold demo --engine {engine}" in ended.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["devnet", "--validators", "0"], "--validators 0 is not in 1..16"),
        (["devnet", "--validators", "2", "--engine", "embedded"], "--engine embedded is one validator"),
        (["demo", "--engine", "raft"], "raft"),
    ],
)
def test_shapes_that_cannot_run_are_refused(words, said, capsys):
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_without_go_it_is_said_loudly_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("KEEPHOLD_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    said: list[str] = []
    with pytest.raises(ConfigurationError, match=rf"Go, which is not installed.*@{binary.VERSION}"):
        comet_binary(progress=said.append)
    assert said == []
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["lock"]


def test_a_build_that_fails_says_what_go_said(tmp_path, monkeypatch):
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no such module >&2\nexit 1\n")
    go.chmod(0o700)
    monkeypatch.setenv("KEEPHOLD_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    said: list[str] = []
    with pytest.raises(ConfigurationError, match="no such module"):
        comet_binary(progress=said.append)
    assert [line.split(" with ")[0] for line in said] == [f"building CometBFT {binary.VERSION}"]
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["lock"]


@pytest.mark.comet
@pytest.mark.slow
@pytest.mark.usefixtures("lasting_home")
def test_the_demo_on_comet():
    comet_binary()
    command = [sys.executable, "-m", "keephold", "demo", "--engine", "cometbft", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    shown = json.loads(ended.stdout)
    assert shown["balances"] == {"alice": 999_750, "bob": 210, "carol": 40}
    assert shown["engine"] == "cometbft"
