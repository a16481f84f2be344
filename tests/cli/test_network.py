"""`keephold network`, `keephold node` and what the page about networks says of them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from keephold.cli import doctor
from keephold.cli import node as node_command
from keephold.cli.main import run
from keephold.cli.place import read_password
from keephold.client.keystore import Keystore
from keephold.client.pinned import PinnedNetwork
from keephold.programs.node import read_config

PAGE = (Path(__file__).parents[2] / "docs" / "operate" / "network.md").read_text(encoding="utf-8")
LAW, CONFIG = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A working directory with the page's law."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "law.toml").write_text(LAW, encoding="utf-8")
    return tmp_path


@pytest.fixture
def comet(tmp_path, monkeypatch) -> Callable[[str], Path]:
    """Put a program on PATH that says it is CometBFT of a version."""

    def put(version: str) -> Path:
        path = tmp_path / "bin" / "cometbft"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\necho {version}\n")
        path.chmod(0o700)
        monkeypatch.setenv("PATH", str(path.parent))
        return path

    return put


def test_the_commands_of_the_page_found_networks_of_one_operator(place, capsys):
    four, local = (shlex.split(command) for command in COMMANDS[:2])
    for words in (four, local):
        assert words[:3] == ["keephold", "network", "init"]
        assert run(words[1:]) == 0
    assert "4 validators" in capsys.readouterr().out
    assert [read_config(place / "net" / f"v{n}" / "node.toml").host for n in range(4)] == [
        f"10.0.0.{n}" for n in (1, 2, 3, 4)
    ]
    assert (place / "local" / "v0" / "node.toml").exists()


def test_without_a_law_one_account_governs_and_nothing_is_admitted(place, capsys):
    command = shlex.split(COMMANDS[2])
    assert command == ["keephold", "network", "init", "--validators", "4", "--out", "try"]
    assert run(command[1:]) == 0
    assert "it admits no enclave until that account admits its build" in capsys.readouterr().out
    law = PinnedNetwork.read(place / "try" / "network").genesis.law
    assert law.attestation.measurements == ()
    directory = place / "try" / "governor"
    assert {path.stat().st_mode & 0o077 for path in (directory, *directory.iterdir())} == {0}
    store = Keystore.unlock(directory / "keystore.json", read_password(directory / "password"))
    assert law.governance.keys == (store.key("governor").public,)


def test_the_command_of_the_page_joins_by_a_snapshot(place, capsys):
    local, joining = shlex.split(COMMANDS[1]), next(shlex.split(line) for line in COMMANDS if " network join " in line)
    assert run(local[1:]) == 0
    shutil.copytree("local/network", "net")
    assert run(joining[1:]) == 0
    assert "validator key" in capsys.readouterr().out
    config = read_config(place / "joined" / "node.toml")
    assert config.cometbft.join == ("http://10.0.0.1:7707", "http://10.0.0.2:7707")
    assert Path(config.genesis).read_bytes() == (place / "net" / "genesis.cbor").read_bytes()


@pytest.mark.usefixtures("place")
def test_joining_needs_a_peer_and_an_empty_place(capsys):
    assert run(["network", "init", "--law", "law.toml", "--out", "n", "--validators", "1"]) == 0
    words = ["network", "join", "--network", "n/network", "--out"]
    peer = ["--peer", f"{'0' * 40}@127.0.0.1:26656"]
    assert run([*words, "j", *peer, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert read_config(Path("j/node.toml")).cometbft.join == ("http://127.0.0.1:7707",), "the pinned node"
    assert len(facts["public_key"]) == 64
    assert run([*words, "j", *peer]) == 2
    assert "not empty" in capsys.readouterr().err
    assert run([*words, "k"]) == 2


def test_the_configuration_of_the_page_is_what_init_writes(place):
    assert run(shlex.split(COMMANDS[0])[1:]) == 0
    shown, written = tomllib.loads(CONFIG), tomllib.loads((place / "net" / "v0" / "node.toml").read_text())
    for table in (shown, written):
        table["cometbft"]["peers"] = table["cometbft"]["peers"][0].partition("@")[2]
    comet = written.pop("cometbft")
    assert shown.pop("cometbft").items() <= comet.items()
    assert shown == written


def test_init_as_json(place, capsys):
    assert (
        run(["network", "init", "--law", "law.toml", "--out", "n", "--host", "h", "--validators", "2", "--json"]) == 0
    )
    facts = json.loads(capsys.readouterr().out)
    assert [item["url"] for item in facts["validators"]] == ["http://h:7707", "http://h:7708"]
    assert len(facts["network"]) == 64
    assert facts["pinned"] == str(Path("n") / "network")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], "input"),
        (["--validators", "3", "--host", "a", "--host", "b"], "input"),
        (["--validators", "0"], "configuration"),
        (["--validators", "1", "--law", "nowhere.toml"], "law_invalid"),
    ],
)
@pytest.mark.usefixtures("place")
def test_init_refuses(words, code, capsys):
    law = [] if "--law" in words else ["--law", "law.toml"]
    assert run(["network", "init", *law, "--out", "n", *words, "--json"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == code
    assert not Path("n").exists()


def test_the_law_that_is_printed_parses(capsys):
    assert run(["network", "law"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["governance"]["threshold"] == 2


@pytest.mark.usefixtures("place")
def test_a_node_says_what_is_missing(comet, capsys):
    assert run(["node", "--home", "."]) == 2
    assert "no node.toml" in capsys.readouterr().err
    assert run(["network", "init", "--law", "law.toml", "--out", "n", "--validators", "1"]) == 0
    assert "fewer than four" in capsys.readouterr().out
    comet("1.0.1")
    assert run(["node", "--home", "n/v0"]) == 2
    assert "is v1.0.1; v0.38 and v0.39 are supported: `go install" in capsys.readouterr().err
    comet("0.38.25").unlink()
    assert run(["node", "--home", "n/v0"]) == 2
    assert "there is no program 'cometbft': `go install" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_a_node_is_supervised(comet, monkeypatch):
    comet("0.38.25")
    supervised: list[list[str]] = []
    monkeypatch.setattr(node_command, "supervise", lambda command, _: supervised.append(command(7, 8)))
    assert run(["network", "init", "--law", "law.toml", "--out", "n", "--validators", "1"]) == 0
    assert run(["node", "--home", "n/v0"]) == 0
    module, *options = supervised[0][2:]
    assert (module, options) == (
        "keephold.programs.node", ["--config", "n/v0/node.toml", "--parent", "7", "--report", "8"],
    )  # fmt: skip


@pytest.mark.parametrize(("version", "said"), [("0.39.4", ", supported"), ("1.0.0", "not supported: `go install")])
def test_doctor_names_comet(comet, version, said):
    path = comet(version)
    assert doctor._comet().startswith(f"v{version} ({path}), ")
    assert said in doctor._comet()
    path.unlink()
    assert "no program 'cometbft'" in doctor._comet()
