"""The keystore: a file, a password, and the accounts that they open to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from keephold.client.keystore import Keystore, Stretching
from keephold.crypto.password import stretch
from keephold.crypto.secret import SecretBytes
from vectors.base import Family, Given, Maker, fixed

PASSWORD: Final = "correct horse"  # noqa: S105 - of a vector
_METHOD: Final = Stretching("argon2id", fixed("salt", 16).hex(), 64, 1, 1)
"""Weak, so that the vectors are quick; a new keystore asks for much more."""


def _unlock(given: Given) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "keystore.json"
        path.write_text(json.dumps(given["file"]))
        store = Keystore.unlock(path, SecretBytes(given["password"].encode()))
    seeds = {name: store.unsafe_export(name).reveal().hex() for name in store.addresses}
    addresses = {name: address.text for name, address in store.addresses.items()}
    return {"seeds": seeds, "addresses": addresses, "default": store.default}


def _written() -> Given:
    key = stretch(
        SecretBytes(PASSWORD.encode()),
        bytes.fromhex(_METHOD.salt),
        memory_kib=_METHOD.memory_kib,
        iterations=_METHOD.iterations,
        lanes=_METHOD.lanes,
    )
    with tempfile.TemporaryDirectory() as directory:
        store = Keystore(Path(directory) / "keystore.json", key, _METHOD)
        for name in ("alice", "bob"):
            store.insert(name, SecretBytes(fixed(name)))
        store.save()
        return {"password": PASSWORD, "file": json.loads(store.path.read_text())}


def _make(maker: Maker) -> None:
    good = maker.kept("a keystore", "file", "unlock", _written)
    maker.add("a keystore", "unlock", good)
    refused = "keystore"
    maker.add("a wrong password", "unlock", {**good, "password": "incorrect horse"}, refused)
    directory = good["file"]["directory"]
    swapped = dict(zip(directory["accounts"], reversed(directory["accounts"].values()), strict=True))
    for name, change in (
        ("another default", {"default": "bob"}),
        ("two addresses swapped", {"accounts": swapped}),
        ("another revision", {"revision": "00" * 16}),
        ("a password that is stretched less", {"stretching": {**directory["stretching"], "memory_kib": 32}}),
        ("100 GiB asked for", {"stretching": {**directory["stretching"], "memory_kib": 100 << 20}}),
        ("another version", {"version": 2}),
        ("an unknown field", {"hint": "a horse"}),
    ):
        altered = {**good["file"], "directory": {**directory, **change}}
        maker.add(name, "unlock", {**good, "file": altered}, refused)


KEYSTORE: Final = Family(
    "keystore",
    "Keystore files, as JSON values: their whitespace and the order of their names mean nothing.",
    {"unlock": _unlock},
    _make,
)
