"""The commands as a person types them, against a devnet that was started as a person starts it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.cli.main import run
from keephold.contract.address import Address
from keephold.testing.ports import free_port

ROOT = Path(__file__).parents[2]
TOKEN = f"{ROOT / 'examples' / 'token' / 'token.py'}:Token"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("lasting_home")]


@pytest.fixture(scope="module")
def directory(lasting_home) -> Iterator[Path]:
    """A devnet's directory; at the end the devnet is told to end, and has to leave nothing."""
    command = [sys.executable, "-m", "keephold", "devnet", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        facts = json.loads(process.stdout.readline())
        assert facts["simulated"] is True
        yield Path(facts["directory"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(240) == 0
    assert not Path(facts["directory"]).exists()
    assert not any(Path(f"/proc/{pid}").exists() for pid in facts["pids"].values())


@pytest.fixture
def keephold(directory: Path, capsys):
    """Run a command with `--json`; return its exit status and what it printed."""

    def typed(*words: str) -> tuple[int, dict]:
        status = run([*words, "--network", str(directory), "--json"])
        captured = capsys.readouterr()
        return status, json.loads(captured.out or captured.err)

    return typed


@pytest.fixture
def token(keephold) -> str:
    status, deployed = keephold("deploy", TOKEN, "GLD", "1000", "--as", "alice")
    assert status == 0
    assert deployed["name"] == "Token"
    return deployed["address"]


def test_a_walk_through_the_commands(keephold, token: str) -> None:
    assert keephold("call", "Token", "transfer", "bob", "5", "--as", "alice", "--yes")[1]["value"] is None
    assert keephold("view", token, "balance", "--as", "bob") == (0, {"value": 5})
    assert keephold("view", token, "balance") == (0, {"value": 995})
    status, refused = keephold("call", token, "transfer", "alice", "6", "--as", "bob", "--yes")
    assert (status, refused["error"]["code"]) == (8, "rejected")


def test_mistakes_are_told_before_anything_is_sent(keephold, token: str) -> None:
    for words, code in (
        (("call", token, "transfer", "nobody", "5", "--yes"), "abi"),
        (("call", token, "transfer", "bob", "--yes"), "abi"),
        (("call", token, "nothing", "--yes"), "abi"),
        (("call", token, "transfer", "bob", "5"), "input"),
        (("view", "Nothing", "balance"), "input"),
        (("deploy", TOKEN, "GLD", "-1"), "abi"),
    ):
        status, answered = keephold(*words)
        assert (status, answered["error"]["code"]) == (2, code)
    assert keephold("call", token, "transfer", "bob", "5", "--yes", "--as", "mallory")[0] == 3


def test_an_outsider_sees_ciphertext(keephold, token: str) -> None:
    status, seen = keephold("show", token)
    assert status == 0
    assert (seen["class"], seen["calls"], seen["consumed"]) == ("Token", 1, 1)
    assert len({len(slot["sealed"]) for slot in seen["slots"]}) == 1
    assert "balances" not in json.dumps(seen)
    assert keephold("show", "alice")[1]["nonce"] > 0
    network = keephold("show")[1]
    assert network["simulated"] is True
    assert {item["role"] for item in network["enclaves"]} == {"worker", "gatekeeper"}
    worker = next(item for item in network["enclaves"] if item["role"] == "worker")
    assert worker["dissents"] == 0
    shown = keephold("show", Address.account(bytes.fromhex(worker["identity"])).text)[1]
    assert shown["enclave"]["role"] == "worker"
    assert token in shown["enclave"]["contracts"]
    assert "dissents" not in shown


def test_verify_argues_from_the_genesis_to_the_vendor(keephold, token: str) -> None:
    status, verified = keephold("verify", token)
    assert status == 0
    assert "genesis" in verified["argument"][0]
    assert "SIMULATES" in verified["argument"][-1]
    assert verified["simulated"] is True


def test_another_genesis_is_refused(directory: Path, tmp_path: Path, capsys) -> None:
    from keephold.client.pinned import PinnedNetwork

    pinned = PinnedNetwork.read(directory)
    from msgspec.structs import replace

    PinnedNetwork(tmp_path, pinned.url, replace(pinned.genesis, name="another")).write()
    assert run(["show", "--network", str(tmp_path)]) == 6
    assert "do not trust it" in capsys.readouterr().err


def test_a_node_that_is_away_is_passed_over(directory: Path, tmp_path: Path, capsys) -> None:
    from keephold.client.pinned import PinnedNetwork

    pinned = PinnedNetwork.read(directory)
    away = f"http://127.0.0.1:{free_port(0)}"
    PinnedNetwork(tmp_path, away, pinned.genesis, (away, pinned.url)).write()
    assert PinnedNetwork.read(tmp_path).urls == (away, away, pinned.url)
    assert run(["show", "--network", str(tmp_path), "--json"]) == 0
    capsys.readouterr()
    PinnedNetwork(tmp_path, away, pinned.genesis, (away,)).write()
    assert run(["show", "--network", str(tmp_path)]) != 0
    assert "node" in capsys.readouterr().err


def test_the_demo_ends_well_without_a_terminal() -> None:
    command = [sys.executable, "-m", "keephold", "demo", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["balances"] == {"alice": 999_750, "bob": 210, "carol": 40}
    assert [call["inside"]["outcome"] for call in told["calls"]] == ["done", "done", "rejected: insufficient_balance"]
    assert len({len(call["outside"]["receipt"]) for call in told["calls"]}) == 1


def test_doctor(capsys) -> None:
    assert run(["doctor", "--json"]) == 0
    assert "libsodium" in json.loads(capsys.readouterr().out)
