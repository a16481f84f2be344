"""Messages between contracts on a network of separate programs: the example's own tests, over the client library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ESCROW = Path(__file__).parents[2] / "examples" / "escrow"


def test_the_escrow_and_its_coin_on_a_devnet() -> None:
    command = [
        sys.executable,
        "-m",
        "keephold",
        "test",
        str(ESCROW),
        "--net",
        "devnet",
        "--",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, cwd=ESCROW)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]
    assert "7 passed" in ran.stdout
