"""Directories of dead owners go; those of living owners stay."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError
from keephold.crypto.secret import SecretBytes
from keephold.testing.ceremony import Shape, found
from keephold.testing.directory import PREFIX, OwnedDirectory, sweep
from keephold.testing.vendor import DevelopmentVendor


def test_an_ephemeral_directory_goes_with_its_owner(tmp_path: Path) -> None:
    owned = OwnedDirectory.ephemeral(tmp_path)
    assert owned.path.stat().st_mode & 0o777 == 0o700
    assert sweep(tmp_path) == []
    owned.release()
    owned.release()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_owners_directory_is_swept(tmp_path: Path) -> None:
    script = (
        "import os\nfrom pathlib import Path\nfrom keephold.testing.directory import OwnedDirectory\n"
        f"print(OwnedDirectory.ephemeral(Path({str(tmp_path)!r})).path, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=240, check=False)
    left = Path(done.stdout.strip())
    assert done.returncode == -9
    assert left.is_dir()
    assert left.name.startswith(PREFIX)
    OwnedDirectory.ephemeral(tmp_path).release()
    assert not left.exists()


def test_a_lasting_directory_has_one_owner_and_stays(tmp_path: Path) -> None:
    owned = OwnedDirectory.lasting(tmp_path / "state")
    with pytest.raises(ConfigurationError, match="another devnet runs"):
        OwnedDirectory.lasting(tmp_path / "state")
    owned.release()
    OwnedDirectory.lasting(tmp_path / "state").release()
    assert (tmp_path / "state").is_dir()


def test_a_file_in_the_way_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigurationError, match="--state"):
        OwnedDirectory.lasting(tmp_path / "state")


def test_a_state_whose_genesis_is_no_genesis_of_this_version_is_named(tmp_path: Path) -> None:
    (tmp_path / "genesis.cbor").write_bytes(b"of another version")
    vendor = DevelopmentVendor(SecretBytes(b"v" * 32))
    with pytest.raises(ConfigurationError, match=f"{tmp_path}/genesis.cbor: not a genesis"):
        found(tmp_path, "http://127.0.0.1:1", vendor, bytes(32), Shape(), 1)
