from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError
from keephold.crypto.hashing import sha256
from keephold.programs import worker
from keephold.programs.config import load
from keephold.runtime.artefact import GuestArtefact

LINES = """
nodes = ["http://127.0.0.1:1"]
genesis = "genesis"
home = "home"
operator_seed = "seed"
cache = "cache"
"""


def test_gateways_are_the_nodes_unless_named(tmp_path):
    path = tmp_path / "worker.toml"
    path.write_text(LINES)
    assert load(path, worker.WorkerConfig).gateways == []
    path.write_text(LINES + 'gateways = ["http://127.0.0.1:2"]\n')
    assert load(path, worker.WorkerConfig).gateways == ["http://127.0.0.1:2"]


@pytest.mark.parametrize("line", ["listen = 1", 'platform = { kind = "simulated", vendor = "v" }'])
def test_a_worker_cannot_be_configured_into_simulation_or_anything_unknown(tmp_path, line):
    path = tmp_path / "worker.toml"
    path.write_text(LINES + line)
    with pytest.raises(ConfigurationError):
        load(path, worker.WorkerFile)


def test_the_guest_is_the_one_that_genesis_names_or_none(tmp_path, monkeypatch):
    here, older = tmp_path / "guest-1.wasm", tmp_path / "guest-0.wasm"
    here.write_bytes(b"here")
    older.write_bytes(b"older")
    monkeypatch.setattr(worker, "guest_artefact", lambda _: GuestArtefact(here, sha256(b"here")))
    monkeypatch.setattr(worker, "cache_directory", lambda: Path(tmp_path))
    assert worker.find_guest(sha256(b"here")).path == here
    assert worker.find_guest(sha256(b"older")).path == older
    with pytest.raises(ConfigurationError, match="the network's is"):
        worker.find_guest(sha256(b"another"))


def test_a_worker_loads_no_ledger_no_server_and_no_simulation():
    code = "import sys, keephold.programs.worker; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert "keephold.worker.service" in loaded
    for forbidden in (
        "uvicorn",
        "starlette",
        "apsw",
        "keephold.ledger",
        "keephold.testing",
        "multiprocessing.forkserver",
    ):
        assert forbidden not in loaded
    assert "keephold.attestation.platforms.simulated" not in loaded
