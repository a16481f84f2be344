"""`keephold devnet --workers N` means N workers that live and are admitted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

from keephold.cli.main import run

PATIENCE = 240.0


@pytest.mark.slow
@pytest.mark.usefixtures("lasting_home")
def test_three_workers_are_three_live_enclaves(capsys):
    command = [sys.executable, "-m", "keephold", "devnet", "--port", "0", "--workers", "3", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            facts = json.loads(process.stdout.readline())
            assert facts["workers"] == 3
            deadline = time.monotonic() + PATIENCE
            while True:
                assert run(["show", "--network", facts["directory"], "--json"]) == 0
                seen = json.loads(capsys.readouterr().out)
                live = [item for item in seen["enclaves"] if (item["role"], item["status"]) == ("worker", "live")]
                if len(live) == 3:
                    break
                assert time.monotonic() < deadline, seen["enclaves"]
                time.sleep(0.2)
            assert len({item["identity"] for item in live}) == 3
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(240)
