"""A keystore opens with its password, unaltered, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from keephold.base.errors import KeystoreError
from keephold.client.keystore import MAX_FILE, Keystore, check_name, read_directory
from keephold.crypto import password as stretching
from keephold.crypto.secret import SecretBytes

PASSWORD = SecretBytes(b"correct horse")


@pytest.fixture(autouse=True)
def _cheap(monkeypatch) -> None:
    monkeypatch.setattr(stretching, "MEMORY_KIB", 64)
    monkeypatch.setattr(stretching, "ITERATIONS", 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store = Keystore.create(tmp_path / "k" / "keystore.json", PASSWORD)
    store.new("alice")
    store.new("bob")
    store.save()
    return store.path


def alter(path: Path, change) -> None:
    file = json.loads(path.read_text())
    change(file)
    path.write_text(json.dumps(file))


def test_accounts_survive(path: Path) -> None:
    store = Keystore.unlock(path, PASSWORD)
    assert store.default == "alice"
    assert {n: a.text for n, a in store.addresses.items()} == read_directory(path).accounts
    assert store.key().public == store.addresses["alice"].value
    assert store.key("bob").public == store.addresses["bob"].value


def test_only_its_owner_reads_the_file_and_no_seed_is_in_it(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    seed = Keystore.unlock(path, PASSWORD).unsafe_export("alice").reveal()
    assert seed.hex() not in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["keystore.json"]


def test_import_of_an_export_is_the_same_account(path: Path, tmp_path: Path) -> None:
    seed = Keystore.unlock(path, PASSWORD).unsafe_export("alice")
    other = Keystore.create(tmp_path / "other.json", PASSWORD)
    assert other.insert("alicia", seed) == Keystore.unlock(path, PASSWORD).addresses["alice"]


def test_wrong_password(path: Path) -> None:
    with pytest.raises(KeystoreError, match="wrong password"):
        Keystore.unlock(path, SecretBytes(b"wrong"))


def test_the_same_seeds_are_sealed_differently_each_time(path: Path) -> None:
    before = json.loads(path.read_text())
    Keystore.unlock(path, PASSWORD).save()
    after = json.loads(path.read_text())
    assert before["seeds"] != after["seeds"]
    assert before["directory"]["revision"] != after["directory"]["revision"]


def swap(file) -> None:
    accounts = file["directory"]["accounts"]
    accounts["alice"], accounts["bob"] = accounts["bob"], accounts["alice"]


@pytest.mark.parametrize(
    "change",
    [
        swap,
        lambda file: file["directory"].update(default="bob"),
        lambda file: file["directory"].update(revision="00" * 16),
        lambda file: file["directory"]["accounts"].pop("bob"),
        lambda file: file["directory"]["stretching"].update(iterations=2),
        lambda file: file.update(seeds="00" + file["seeds"][2:]),
        lambda file: file.update(seeds=""),
    ],
)
def test_an_altered_file_does_not_open(path: Path, change) -> None:
    alter(path, change)
    with pytest.raises(KeystoreError, match="does not open"):
        Keystore.unlock(path, PASSWORD)


@pytest.mark.parametrize(
    "bomb",
    [
        {"memory_kib": 1 << 30},
        {"iterations": 1 << 30},
        {"lanes": 1 << 20},
        {"salt": "00"},
    ],
)
def test_stretching_parameters_are_bounded(path: Path, bomb) -> None:
    alter(path, lambda file: file["directory"]["stretching"].update(bomb))
    with pytest.raises(KeystoreError, match="argon2id"):
        Keystore.unlock(path, PASSWORD)


@pytest.mark.parametrize(
    "raw",
    [b"", b"{}", b"[" * 100_000, b"\xff", b"null", b"x" * (MAX_FILE + 1)],
)
def test_what_is_no_keystore_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "keystore.json"
    path.write_bytes(raw)
    with pytest.raises(KeystoreError):
        read_directory(path)


def test_unknown_fields_versions_and_functions_are_refused(path: Path) -> None:
    text = path.read_text()
    for change in (
        lambda file: file.update(extra=1),
        lambda file: file["directory"].update(version=2),
        lambda file: file["directory"]["stretching"].update(function="md5"),
    ):
        path.write_text(text)
        alter(path, change)
        with pytest.raises(KeystoreError, match="is not a keystore"):
            Keystore.unlock(path, PASSWORD)


def test_nothing_is_overwritten(path: Path) -> None:
    with pytest.raises(KeystoreError, match="exists already"):
        Keystore.create(path, PASSWORD)
    with pytest.raises(KeystoreError, match="already"):
        Keystore.unlock(path, PASSWORD).new("alice")


def test_missing_things_say_what_to_do(path: Path, tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="account new"):
        Keystore.unlock(tmp_path / "nothing", PASSWORD)
    with pytest.raises(KeystoreError, match="alice, bob"):
        Keystore.unlock(path, PASSWORD).key("carol")
    with pytest.raises(KeystoreError, match="empty password"):
        Keystore.create(tmp_path / "nothing", SecretBytes(b""))


@pytest.mark.parametrize("name", ["", "A", "../x", "-x", "a" * 33, "a b"])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(KeystoreError):
        check_name(name)
