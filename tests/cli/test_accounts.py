"""`keephold account`, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keephold.cli.main import run
from keephold.crypto import password as stretching


@pytest.fixture(autouse=True)
def password(tmp_path: Path, monkeypatch) -> list[str]:
    monkeypatch.setattr(stretching, "MEMORY_KIB", 64)
    monkeypatch.setattr(stretching, "ITERATIONS", 1)
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path / "home"))
    file = tmp_path / "password"
    file.write_text("secret\nnot the password\n")
    return ["--password-file", str(file)]


def test_new_list_show(password, capsys) -> None:
    assert run(["account", "new", "alice", *password]) == 0
    assert run(["account", "new", "bob", *password, "--json"]) == 0
    capsys.readouterr()
    assert run(["account", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["default"], list(listed["accounts"])) == ("alice", ["alice", "bob"])
    assert run(["account", "show"]) == 0
    assert listed["accounts"]["alice"] in capsys.readouterr().out
    assert run(["account", "show", "carol"]) == 3


def test_a_seed_comes_out_by_an_unsafe_flag_only_and_goes_in_again(password, tmp_path, capsys) -> None:
    run(["account", "new", "alice", *password])
    capsys.readouterr()
    assert run(["account", "export", "alice", *password]) == 2
    assert run(["account", "export", "alice", "--unsafe-print-seed", *password]) == 0
    seed = capsys.readouterr().out.strip()
    assert len(seed) == 64
    file = tmp_path / "seed"
    file.write_text(seed)
    assert run(["account", "import", "copy", "--unsafe-seed-file", str(file), *password]) == 0
    capsys.readouterr()
    run(["account", "list", "--json"])
    accounts = json.loads(capsys.readouterr().out)["accounts"]
    assert accounts["copy"] == accounts["alice"]
    file.write_text("nonsense")
    assert run(["account", "import", "other", "--unsafe-seed-file", str(file), *password]) == 2


def test_keystore_errors_have_status_3(password, tmp_path, capsys, monkeypatch) -> None:
    assert run(["account", "list"]) == 3
    run(["account", "new", "alice", *password])
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    assert run(["account", "new", "bob", "--password-file", str(wrong)]) == 3
    assert run(["account", "new", "bob", "--password-file", str(tmp_path / "absent")]) == 3
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert run(["account", "new", "bob"]) == 3
    assert "--password-file" in capsys.readouterr().err


def test_without_a_network_commands_say_what_to_do(capsys) -> None:
    for command in (["show"], ["verify", "Token"], ["view", "Token", "balance"], ["call", "Token", "x", "--yes"]):
        assert run(command) == 2
        assert "keephold devnet" in capsys.readouterr().err


def test_source_that_makes_no_contract_has_status_9(tmp_path, capsys) -> None:
    file = tmp_path / "wrong.py"
    file.write_text("import os\n")
    assert run(["deploy", str(file)]) == 9
    assert "line 1, column 8: os is not available" in capsys.readouterr().err
    assert run(["deploy", str(tmp_path / "absent.py")]) == 2
