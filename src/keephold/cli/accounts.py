"""`keephold account`: the encrypted keystore."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import InputError, KeystoreError
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared, keystore_path, read_password
from keephold.client.keystore import Keystore, check_name, read_directory
from keephold.crypto.secret import SecretBytes

KeystoreOption = Annotated[Path | None, Parameter(help="Keystore file (default: keystore.json in $KEEPHOLD_HOME).")]
PasswordOption = Annotated[Path | None, Parameter(help="File whose first line is the keystore's password.")]


def new(
    name: str, *, keystore: KeystoreOption = None, password_file: PasswordOption = None, shared: Shared = SHARED
) -> None:
    """Make an account with a fresh key; the first one becomes the default, and makes the keystore."""
    check_name(name)
    store = _open_or_create(keystore_path(keystore), password_file)
    address = store.new(name)
    store.save()
    emit({"name": name, "address": address}, f"{name}  {address}", as_json=shared.json)


def list_(*, keystore: KeystoreOption = None, shared: Shared = SHARED) -> None:
    """List accounts; the password is not needed."""
    path = keystore_path(keystore)
    directory = read_directory(path)
    lines = [
        f"{name:<16} {address}{'  (default)' if name == directory.default else ''}"
        for name, address in directory.accounts.items()
    ]
    body = {"keystore": path, "default": directory.default, "accounts": directory.accounts}
    emit(body, "\n".join(lines), as_json=shared.json)


def show(name: str = "", *, keystore: KeystoreOption = None, shared: Shared = SHARED) -> None:
    """Show an account's address; the default account's when no name is given."""
    path = keystore_path(keystore)
    directory = read_directory(path)
    chosen = name or directory.default
    address = directory.accounts.get(chosen)
    if address is None:
        raise KeystoreError(f"no account {chosen!r} in {path}")
    emit({"name": chosen, "address": address}, f"{chosen}  {address}", as_json=shared.json)


def import_(
    name: str,
    *,
    unsafe_seed_file: Annotated[Path, Parameter(help="File holding the seed in the clear, 64 hexadecimal digits.")],
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    shared: Shared = SHARED,
) -> None:
    """Add an account from its seed. The file that held the seed is yours to destroy."""
    check_name(name)
    try:
        seed = SecretBytes(bytes.fromhex(unsafe_seed_file.read_text().strip()))
    except (OSError, ValueError):
        raise InputError(f"{unsafe_seed_file} does not hold 64 hexadecimal digits") from None
    store = _open_or_create(keystore_path(keystore), password_file)
    address = store.insert(name, seed)
    store.save()
    emit({"name": name, "address": address}, f"{name}  {address}", as_json=shared.json)


def export(
    name: str,
    *,
    unsafe_print_seed: Annotated[
        bool, Parameter(negative="", help="Yes, print it: whoever reads it is the account, for ever.")
    ] = False,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    shared: Shared = SHARED,
) -> None:
    """Print an account's seed."""
    if not unsafe_print_seed:
        raise InputError("whoever reads a seed is the account, for ever: to print it all the same, --unsafe-print-seed")
    store = Keystore.unlock(keystore_path(keystore), read_password(password_file))
    seed = store.unsafe_export(name).reveal().hex()
    emit({"name": name, "seed": seed}, seed, as_json=shared.json)


def _open_or_create(path: Path, password_file: Path | None) -> Keystore:
    if path.exists():
        return Keystore.unlock(path, read_password(password_file))
    return Keystore.create(path, read_password(password_file, twice=True))
