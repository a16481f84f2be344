"""The sealed disk: atomic, durable, and mute to everybody else."""

from __future__ import annotations

import pytest

from keephold.base.errors import SealBroken
from keephold.crypto.secret import SecretBytes
from keephold.sealing.disk import SealedDisk

SECRET = SecretBytes(b"the share itself")


def test_what_was_written_is_read_back_after_a_restart(tmp_path):
    SealedDisk(SecretBytes(b"k" * 32), tmp_path).write("share", SECRET)
    assert SealedDisk(SecretBytes(b"k" * 32), tmp_path).read("share") == SECRET


def test_the_plaintext_is_nowhere_on_the_disk(tmp_path):
    SealedDisk(SecretBytes(b"k" * 32), tmp_path).write("share", SECRET)
    files = list(tmp_path.iterdir())
    assert len(files) == 1
    assert SECRET.reveal() not in files[0].read_bytes()
    assert files[0].stat().st_mode & 0o077 == 0


def test_another_machine_another_name_or_a_flipped_byte_does_not_open(tmp_path):
    disk = SealedDisk(SecretBytes(b"k" * 32), tmp_path)
    disk.write("share", SECRET)
    with pytest.raises(SealBroken):
        SealedDisk(SecretBytes(b"l" * 32), tmp_path).read("share")
    original = (tmp_path / "share.sealed").read_bytes()
    (tmp_path / "head.sealed").write_bytes(original)
    with pytest.raises(SealBroken):
        disk.read("head")
    for position in range(len(original)):
        altered = bytearray(original)
        altered[position] ^= 1
        (tmp_path / "share.sealed").write_bytes(altered)
        with pytest.raises(SealBroken):
            disk.read("share")
    (tmp_path / "share.sealed").write_bytes(b"")
    with pytest.raises(SealBroken):
        disk.read("share")


def test_equal_plaintexts_do_not_show_as_equal_files(tmp_path):
    disk = SealedDisk(SecretBytes(b"k" * 32), tmp_path)
    disk.write("share", SECRET)
    first = (tmp_path / "share.sealed").read_bytes()
    disk.write("share", SECRET)
    assert (tmp_path / "share.sealed").read_bytes() != first


def test_absent_is_an_error_of_its_own(tmp_path):
    disk = SealedDisk(SecretBytes(b"k" * 32), tmp_path)
    assert not disk.holds("share")
    with pytest.raises(FileNotFoundError):
        disk.read("share")
    disk.remove("share")
