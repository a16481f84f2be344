"""G12. What was acknowledged is on the disk: not in a buffer, not under half a name, not in a journal."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_desk import Desk, key

from keephold.base.errors import ProofInvalid, SealBroken
from keephold.client import keystore
from keephold.crypto.secret import SecretBytes
from keephold.ledger.application import LedgerApplication
from keephold.ledger.sqlite import connect
from keephold.sealing.disk import SealedDisk


def crashing(place: Path) -> Callable[[Path, Path], Path]:
    """Return a `Path.replace` that crashes in this place; a network of other tests may live in this process."""
    replace = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if self.is_relative_to(place):
            raise KeyboardInterrupt
        return replace(self, target)

    return crash


def test_a_sealed_file_reaches_the_disk_before_its_name_does_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace, here = os.fsync, Path.replace, threading.get_ident()

    def step(name: str) -> None:
        if threading.get_ident() == here:  # a network of other tests may live in this process
            steps.append(name)

    def noted(descriptor: int) -> None:
        step("sync directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        step("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", renamed)
    SealedDisk(SecretBytes(bytes(32)), tmp_path).write("share", SecretBytes(b"s" * 32))
    assert steps == ["sync file", "rename", "sync directory"]


def test_a_crash_between_writing_and_naming_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SealedDisk(SecretBytes(bytes(32)), tmp_path)
    disk.write("share", SecretBytes(b"old"))

    crash = crashing(tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            disk.write("share", SecretBytes(b"new"))
    assert SealedDisk(SecretBytes(bytes(32)), tmp_path).read("share").reveal() == b"old"


def test_a_file_cut_short_is_broken_and_never_half_a_secret(tmp_path: Path) -> None:
    disk = SealedDisk(SecretBytes(bytes(32)), tmp_path)
    disk.write("share", SecretBytes(b"s" * 32))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for size in (0, 1, 15, 16, 17, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(SealBroken):
            disk.read("share")


def test_the_ledgers_file_waits_for_the_disk_at_every_commit(tmp_path: Path) -> None:
    connection = connect(tmp_path / "ledger.db")
    assert connection.pragma("synchronous") == 2  # FULL
    assert connection.pragma("journal_mode") == "wal"
    connection.close()


def test_a_ledger_whose_file_was_edited_does_not_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.enrol("worker")
    desk.deploy(key("alice"))
    desk.application.close()
    connection = connect(tmp_path / "ledger.db")
    connection.execute("UPDATE leaf SET value = zeroblob(8) WHERE path = (SELECT path FROM leaf LIMIT 1)")
    connection.close()
    with pytest.raises(ProofInvalid):
        LedgerApplication(desk.genesis, tmp_path)


def test_a_keystore_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "accounts.json"
    keystore.replace_file(target, b"old")

    crash = crashing(tmp_path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            keystore.replace_file(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
