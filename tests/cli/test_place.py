"""What the common options mean, and how they are refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from keephold.base.errors import InputError, KeystoreError, PortTaken
from keephold.cli.devnet.command import DEFAULT_PORT
from keephold.cli.main import run
from keephold.cli.place import AsAccount
from keephold.crypto.signing import SigningKey
from keephold.programs.founding import MAX_VALIDATORS, Plan


class Devnet:
    """A pinned network, as far as accounts go."""

    def __init__(self, *names: str) -> None:
        self.keys = {name: SigningKey.generate() for name in names}

    def devnet_keys(self) -> dict[str, SigningKey]:
        return self.keys


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("KEEPHOLD_HOME", str(tmp_path))


def test_a_devnets_own_accounts_need_no_keystore() -> None:
    assert AsAccount().account(Devnet("alice", "bob")).name == "alice"
    assert AsAccount(as_="bob").account(Devnet("alice", "bob")).name == "bob"


def test_an_unknown_account_is_told_apart_from_a_missing_password() -> None:
    with pytest.raises(KeystoreError, match=r"no account 'mallory' \(there: alice, bob\)"):
        AsAccount(as_="mallory").account(Devnet("alice", "bob"))


def test_without_any_account_the_keystore_is_what_is_missing() -> None:
    with pytest.raises(KeystoreError, match="no keystore"):
        AsAccount().account(Devnet())


@pytest.mark.parametrize("given", [0.0, -1.0, float("inf"), float("nan")])
def test_a_deadline_gives_time(given: float) -> None:
    with pytest.raises(InputError):
        AsAccount(deadline=given).seconds()


def test_a_deadline_given_is_kept_to() -> None:
    assert AsAccount(deadline=3.0).seconds(60.0) == 3.0
    assert AsAccount().seconds(60.0) == 60.0
    assert AsAccount().seconds() == 30.0


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_exist_is_an_input_error(port: str, capsys) -> None:
    assert run(["devnet", f"--port={port}"]) == 2
    assert "--port" in capsys.readouterr().err


def test_a_devnet_wants_no_port_of_a_network_that_is_founded_on_the_same_machine() -> None:
    founded = Plan(("127.0.0.1",) * MAX_VALIDATORS).addresses()
    assert DEFAULT_PORT not in {port for at in founded for port in at.ports}


def test_a_port_that_is_taken_is_said_to_be_so(capsys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run(["devnet", f"--port={port}"]) == PortTaken.exit_status
    assert f"127.0.0.1:{port}: Address already in use; give another port, or 0 for any" in capsys.readouterr().err
