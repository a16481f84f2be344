"""`keephold govern allow`, `delist`, …: one command for each thing that the law lets change, into a file to sign."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.attestation import roots
from keephold.base.errors import CryptoError, InputError
from keephold.cli.governing import print_reading, write_draft
from keephold.cli.place import ON_NETWORK, OnNetwork
from keephold.client import amending, governing
from keephold.client.connection import Connection
from keephold.client.governing import Reading
from keephold.client.network import Network
from keephold.contract.address import Address
from keephold.crypto.signing import check_public
from keephold.protocol.evidence import Role
from keephold.protocol.governance import Action, Constitution, RevokeIdentity

_POWER: Final = 10
"""Of a validator where none is named: what `network init` and `assemble` give each."""

_MANUFACTURERS: Final = {"intel": roots.intel}
"""Whose roots are pinned in keephold: no command puts another one, or a development vendor, into the law."""

OutFile = Annotated[Path, Parameter(help="New file for the proposal.")]
Measured = Annotated[str, Parameter(help="What the build measures, 64 hexadecimal digits.")]
AsRole = Annotated[Role, Parameter(help="What it may be.")]


def allow(
    measurement: Measured,
    *,
    role: AsRole,
    out: OutFile,
    from_: Annotated[
        str | None, Parameter(name="--from", help="Not before this time, as 2026-01-31T12:00:00Z (at once).")
    ] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to admit a build: enclaves that measure so may register in this role, and get its keys."""
    build, since = _bytes32(measurement, "measurement"), 0 if from_ is None else _time(from_, "--from")
    _propose(out, options, lambda law: amending.allow(law, build, role, from_ns=since))


def delist(
    measurement: Measured,
    *,
    role: AsRole,
    out: OutFile,
    until: Annotated[
        str | None,
        Parameter(help="End of the handover, as 2026-01-31T12:00:00Z; without it: as soon as the proposal holds."),
    ] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to end a build in a role: from then on it gets no key, and contracts that it held change theirs."""
    build, end = _bytes32(measurement, "measurement"), None if until is None else _time(until, "--until")
    _propose(out, options, lambda law: amending.delist(law, build, role, until_ns=end))


def attestation(
    *,
    out: OutFile,
    accept: Annotated[
        list[str] | None, Parameter(negative="", help="Advisory that our software answers; once for each.")
    ] = None,
    reject: Annotated[list[str] | None, Parameter(negative="", help="Advisory to accept no more.")] = None,
    believe: Annotated[list[str] | None, Parameter(negative="", help="Manufacturer to believe: intel.")] = None,
    disbelieve: Annotated[list[str] | None, Parameter(negative="", help="Vendor to believe no more.")] = None,
    gatekeeper_level: Annotated[
        int | None, Parameter(help="Worst confidence level of a gatekeeper, 1 (best) to 5.")
    ] = None,
    quote_window: Annotated[int | None, Parameter(help="Seconds for which a quote is accepted.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose whom to believe and what to forgive: vendors, advisories, levels, age of a quote."""
    unknown = set(believe or []) - set(_MANUFACTURERS)
    if unknown:
        raise InputError(f"no root of {min(unknown)!r} is pinned in keephold (there: {', '.join(_MANUFACTURERS)})")
    vendors = [_MANUFACTURERS[name]() for name in believe or []]
    _propose(
        out,
        options,
        lambda law: amending.attestation(
            law,
            accept=accept or (),
            reject=reject or (),
            believe=vendors,
            disbelieve=disbelieve or (),
            gatekeeper_max_level=gatekeeper_level,
            quote_window_s=quote_window,
        ),
    )


def committee(
    *,
    out: OutFile,
    seats: Annotated[int | None, Parameter(help="How many gatekeepers.")] = None,
    threshold: Annotated[int | None, Parameter(help="How many of them make a contract's key.")] = None,
    phase: Annotated[int | None, Parameter(help="Seconds until the silent are dropped from a ceremony.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose another size or threshold of the gatekeepers' committee; the next handover acts on it."""
    _propose(out, options, lambda law: amending.committee(law, seats=seats, threshold=threshold, phase_s=phase))


def keys(
    *,
    out: OutFile,
    add: Annotated[list[str] | None, Parameter(negative="", help="Account that shall amend the law.")] = None,
    remove: Annotated[list[str] | None, Parameter(negative="", help="Account that shall no more.")] = None,
    threshold: Annotated[int | None, Parameter(help="How many of them it takes.")] = None,
    delay: Annotated[int | None, Parameter(help="Seconds between an amendment's block and its effect.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose who amends the law, how many it takes, and how long everyone sees an amendment before it holds."""
    new, old = [_account(text) for text in add or []], [_account(text) for text in remove or []]
    _propose(
        out,
        options,
        lambda law: amending.governance(law, add=new, remove=old, threshold=threshold, delay_s=delay),
    )


def validators(
    *,
    out: OutFile,
    set_: Annotated[
        list[str] | None,
        Parameter(name="--set", negative="", help="Validator's public key, or KEY=POWER (10); once for each."),
    ] = None,
    remove: Annotated[list[str] | None, Parameter(negative="", help="Public key of one to take off.")] = None,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to give some validators a power, or take some off; the others stay as they are."""
    powers = dict(_entry(text) for text in set_ or []) | {_bytes32(text, "public key"): 0 for text in remove or []}
    if not powers:
        raise InputError("give --set or --remove")
    _propose(out, options, lambda law: amending.validators(law, powers))


def revoke(
    identity: Annotated[str, Parameter(help="Address of a worker or gatekeeper.")],
    *,
    out: OutFile,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to end a worker or gatekeeper: it gets no key any more, and contracts it held change their keys."""
    ended = _account(identity)
    _propose(out, options, lambda _: RevokeIdentity(ended))


def cancel(
    number: Annotated[int, Parameter(help="Of the proposal, as `show` lists it.")],
    *,
    out: OutFile,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Propose to take back, at once, an amendment that waits for its delay, and those ordered behind it that wait."""
    _draft(out, options, lambda connection: governing.propose_cancellation(connection, number))


def _propose(out: Path, options: OnNetwork, amend: Callable[[Constitution], Action]) -> None:
    _draft(out, options, lambda connection: governing.propose(connection, amend))


def _draft(out: Path, options: OnNetwork, draft: Callable[[Connection], Coroutine[None, None, Reading]]) -> None:
    if out.exists():
        raise InputError(f"--out {out} exists")
    pinned = options.pinned()
    with Network.connect(pinned.urls, pinned.genesis) as network:
        reading = network.run(lambda n: draft(n.connection))
    write_draft(out, reading)
    print_reading(reading, as_json=options.json)


def _entry(text: str) -> tuple[bytes, int]:
    key, _, power = text.partition("=")
    if power and not (power.isascii() and power.isdigit() and int(power[:18]) > 0 and len(power) <= 18):
        raise InputError(f"--set {text}: a power is a number from 1 on")
    return _bytes32(key, "public key"), int(power or _POWER)


def _bytes32(text: str, what: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise InputError(f"{text!r} is no {what}: 64 hexadecimal digits")
    return value


def _account(text: str) -> bytes:
    try:
        address = Address.parse(text)
        if address.kind == "account":
            return check_public(address.value)
    except (ValueError, CryptoError) as error:
        raise InputError(f"{text!r} is no address of an account: {error}") from error
    raise InputError(f"{text} is a contract, not an account")


def _time(text: str, option: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{option} {text!r}: {error}") from error
    if moment.tzinfo is None or moment.microsecond or moment.timestamp() < 0:
        raise InputError(f"{option} {text!r}: whole seconds since 1970, with a zone, as 2026-01-31T12:00:00Z")
    return int(moment.timestamp()) * amending.SECOND
