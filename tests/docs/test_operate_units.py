"""The systemd units: systemd takes them, the pages show them, and they name commands that exist."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGED = Path(__file__).parents[2] / "packaging" / "systemd"
PAGES = {"worker.service": "worker", "gatekeeper.service": "gatekeeper", "collateral.timer": "collateral"}


@pytest.mark.parametrize("name", ["worker.service", "gatekeeper.service", "collateral.timer", "collateral.service"])
def test_each_unit_is_one_that_systemd_takes(tmp_path, name):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    for packaged in PACKAGED.glob("keephold-*"):
        text = packaged.read_text().replace("/opt/keephold/bin", str(Path(sys.executable).parent))
        (tmp_path / packaged.name).write_text(text)
    unit = tmp_path / f"keephold-{name}"
    ended = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert unit.name not in ended.stderr


@pytest.mark.parametrize(("name", "where"), PAGES.items())
def test_the_page_shows_the_file(page, name, where):
    (shown,) = page(f"operate/{where}.md").blocks("ini")
    assert set(shown.splitlines()) <= set((PACKAGED / f"keephold-{name}").read_text().splitlines())
    assert f"keephold-{name}" in (text := page(f"operate/{where}.md").path.read_text()) or "`.timer`" in text
