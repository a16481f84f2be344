"""`keephold permit`: let somebody else ask in an account's name, see what a permit allows, and take it back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, SHARED, AsAccount, Shared, contract_address
from keephold.client.keystore import replace_file
from keephold.client.network import Network
from keephold.client.permits import Contracts, Session, parse_permit, permit_text
from keephold.contract.address import Address
from keephold.protocol.permits import EVERYWHERE, Permit, SignedPermit, permit_hash

_LIFE: Final = re.compile(r"([1-9]\d{0,6})([mhd])")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_HASH: Final = 64


def new(
    *,
    contract: Annotated[
        list[str], Parameter(negative="", help="Name or address of a contract, once for each; `*` for all.")
    ],
    scope: Annotated[list[str], Parameter(negative="", help="Scope of views, once for each; `$events` for events.")],
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="File to write, mode 0600.")],
    expires: Annotated[str, Parameter(help="How long it holds: 30m, 12h, 7d; at most 30d.")] = "1d",
    bearer: Annotated[
        str, Parameter(help="Public key (Ed25519, 64 hexadecimal digits) of whoever asks (default: a new key).")
    ] = "",
    origin: Annotated[str, Parameter(help="What it is for, as its owner will read it later.")] = "",
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Let whoever holds a key ask contracts in the account's name.

    Without --bearer the file holds the key as well: whoever reads the file can ask what the permit allows.
    """
    life = _life(expires)
    pinned = options.pinned()
    account = options.account(pinned)
    contracts: Contracts = EVERYWHERE
    if contract != [EVERYWHERE]:
        contracts = [contract_address(pinned, item) for item in contract]
    with Network.connect(pinned.urls, pinned.genesis) as network:
        if bearer:
            signed = network.permit_for(
                _hex(bearer, "--bearer"),
                account=account, contracts=contracts, scopes=scope, expires=life, origin=origin,
            )  # fmt: skip
            text = permit_text(signed)
        else:
            session = network.permit(account=account, contracts=contracts, scopes=scope, expires=life, origin=origin)
            signed, text = session.permit, session.reveal()
    replace_file(out, f"{text}\n".encode())
    emit({"file": out, **_facts(signed.permit)}, f"{_text(signed.permit)}\nwritten to {out}", as_json=options.json)


def show(
    file: Annotated[Path, Parameter(help="File with a permit.")],
    *,
    shared: Shared = SHARED,
) -> None:
    """Show what a permit allows, and to whom. Whether it was revoked only the ledger knows."""
    permit = read_permit(file).permit
    emit(_facts(permit), _text(permit), as_json=shared.json)


def revoke(
    permit: Annotated[str, Parameter(help="File with a permit, or its hash.")], *, options: AsAccount = AS_ACCOUNT
) -> None:
    """Void one permit of the account's, for ever."""
    pinned = options.pinned()
    account = options.account(pinned)
    named: SignedPermit | bytes
    named = (
        _hex(permit, "the hash") if len(permit) == _HASH and not Path(permit).exists() else read_permit(Path(permit))
    )
    with Network.connect(pinned.urls, pinned.genesis) as network:
        network.revoke(named, account=account)
    shown = named.hex() if isinstance(named, bytes) else permit_hash(named.permit).hex()
    emit({"revoked": shown}, f"revoked {shown}", as_json=options.json)


def revoke_all(*, options: AsAccount = AS_ACCOUNT) -> None:
    """Void every permit that the account signed so far."""
    pinned = options.pinned()
    account = options.account(pinned)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        generation = network.revoke_all(account=account)
    emit({"generation": generation}, f"all permits of {account.name} are void", as_json=options.json)


def read_permit(file: Path) -> SignedPermit:
    """Return the permit in a file, with or without its bearer's key.

    Raises:
        InputError: there is none.
        BadKey, BadSignature: altered.
    """
    return parse_permit(_read(file))


def read_session(file: Path) -> Session:
    """Return the permit and key in a file.

    Raises:
        InputError: there is none, or no key with it.
        BadKey, BadSignature: altered.
    """
    return Session.parse(_read(file))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: {getattr(error, 'strerror', None) or 'not a text'}") from error


def _life(text: str) -> timedelta:
    match = _LIFE.fullmatch(text)
    if match is None:
        raise InputError("--expires is a number of minutes, hours or days: 30m, 12h, 7d")
    return int(match[1]) * _UNITS[match[2]]


def _hex(text: str, what: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(text) != _HASH or not raw:
        raise InputError(f"{what} is {_HASH} hexadecimal digits")
    return raw


def _contracts(permit: Permit) -> list[str]:
    if isinstance(permit.contracts, str):
        return [permit.contracts]
    return [Address.contract(contract).text for contract in permit.contracts]


def _facts(permit: Permit) -> dict[str, object]:
    return {
        "permit": permit_hash(permit),
        "issuer": Address.account(permit.issuer),
        "contracts": _contracts(permit),
        "scopes": list(permit.scopes),
        "bearer": permit.bearer,
        "origin": permit.origin,
        "not_before": _time(permit.not_before_ns),
        "expires": _time(permit.expires_ns),
        "generation": permit.generation,
        "network": permit.network,
    }


def _time(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat(timespec="seconds")


def _text(permit: Permit) -> str:
    lines = [
        f"permit {permit_hash(permit).hex()}",
        f"  reads as   {Address.account(permit.issuer).text}",
        f"  contracts  {', '.join(_contracts(permit))}",
        f"  scopes     {', '.join(permit.scopes)}",
        f"  bearer     {permit.bearer.hex()}",
        f"  until      {_time(permit.expires_ns)} (the ledger's time)",
    ]
    return "\n".join([*lines, f"  for        {permit.origin}"] if permit.origin else lines)
