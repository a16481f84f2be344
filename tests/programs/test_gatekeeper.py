from __future__ import annotations

import json
import subprocess
import sys


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=240, check=False)


def test_a_gatekeeper_loads_no_runtime_no_server_and_no_simulation() -> None:
    code = "import sys, keephold.programs.gatekeeper; print(*sys.modules)"
    loaded = set(run("-c", code).stdout.split())
    assert "keephold.gatekeeper.service" in loaded
    for forbidden in ("wasmtime", "uvicorn", "starlette", "apsw", "keephold.ledger", "keephold.testing"):
        assert forbidden not in loaded
    assert not any(name.startswith("keephold.runtime") for name in loaded)
    assert "keephold.attestation.platforms.simulated" not in loaded


def test_it_ends_with_the_code_of_its_reason(tmp_path) -> None:
    done = run("-m", "keephold.programs.gatekeeper", "--config", str(tmp_path / "absent.toml"))
    line = json.loads(done.stderr.splitlines()[-1])
    assert (done.returncode, line["error"], line["event"]) == (2, "configuration", "stopped")


def test_it_ends_with_its_parent(tmp_path) -> None:
    done = run("-m", "keephold.programs.gatekeeper", "--die-with-parent", "--config", str(tmp_path / "absent.toml"))
    assert done.returncode == 2
