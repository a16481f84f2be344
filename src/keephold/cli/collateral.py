"""`keephold collateral`: what evidence is judged by expires, and somebody has to bring it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import DeadlineExceeded, InputError, UnavailableError
from keephold.base.limits import MAX_TRANSACTION
from keephold.cli.output import emit
from keephold.cli.place import AS_ACCOUNT, ON_NETWORK, SHARED, AsAccount, OnNetwork, Shared
from keephold.client import collateral as work
from keephold.client.account import Account
from keephold.client.keystore import replace_file
from keephold.client.law_words import moment
from keephold.client.network import Network
from keephold.protocol.evidence import Collateral, CollateralSubject, PckAuthority, Tee

Vendor = Annotated[str, Parameter(help="The law's name of the vendor.")]


def show(
    files: Annotated[list[Path] | None, Parameter(help="Files about further kinds of platform.")] = None,
    *,
    vendor: Vendor = "intel",
    check: Annotated[
        bool, Parameter(negative="", help="Fail (10) if one is missing, expired or about to: for a timer.")
    ] = False,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Show the collateral of every kind of platform that live enclaves are, and when it expires; proven."""
    more = [_read(path, vendor) for path in files or []]
    pinned = options.pinned()
    with Network.connect(pinned.urls, pinned.genesis) as network:
        found = network.run(lambda n: work.survey(n.connection, more))
    facts = {"collateral": [{**_facts(item.subject), **_state(item)} for item in found]}
    lines = [f"{_name(item.subject)}: {_words(item)}" for item in found]
    emit(facts, "\n".join(lines) or "no enclave is live; name files to ask about their platforms", as_json=options.json)
    bad = [item for item in found if item.verified is None or _is_soon(item)]
    if check and bad:
        raise UnavailableError(f"{len(bad)} of {len(found)} sets of collateral have to be brought anew")


def submit(
    files: Annotated[list[Path], Parameter(help="Files with collateral.")],
    *,
    vendor: Vendor = "intel",
    options: AsAccount = AS_ACCOUNT,
) -> None:
    """Bring collateral to the ledger; any account may. What is no newer than the ledger's is left alone."""
    bundles = [_read(path, vendor) for path in files]
    pinned = options.pinned()
    account, seconds = options.account(pinned), options.seconds()
    done: list[dict[str, object]] = []
    with Network.connect(pinned.urls, pinned.genesis) as network:
        for path, bundle in zip(files, bundles, strict=True):
            done.append({"file": str(path), "brought": _bring(network, account, bundle, seconds)})
    text = "\n".join(f"{item['file']}: {'brought' if item['brought'] else 'no newer: left alone'}" for item in done)
    emit({"files": done}, text, as_json=options.json)


def fetch(
    url: Annotated[str, Parameter(help="Address of a PCCS, as https://pccs.example:8081.")],
    *,
    fmspc: Annotated[str, Parameter(help="Which processors: 12 hexadecimal digits.")],
    out: Annotated[Path, Parameter(help="File to write; one that is there is replaced.")],
    tee: Annotated[Tee, Parameter(help="What makes the quotes.")] = "tdx",
    ca: Annotated[PckAuthority, Parameter(help="Which authority certified the platforms.")] = "platform",
    vendor: Vendor = "intel",
    shared: Shared = SHARED,
) -> None:
    """Fetch collateral from a caching service into a file; nothing of it is believed before `submit`."""
    from keephold.client.pccs import fetch as fetch_from

    try:
        kind = bytes.fromhex(fmspc)
    except ValueError:
        kind = b""
    if len(kind) != 6:
        raise InputError(f"--fmspc {fmspc!r}: 12 hexadecimal digits")
    replace_file(out, work.bundle_of(fetch_from(url, vendor=vendor, tee=tee, authority=ca, fmspc=kind)))
    emit({"file": str(out)}, f"{out}: {tee}, {ca}, FMSPC {kind.hex()}", as_json=shared.json)


def _bring(network: Network, account: Account, bundle: Collateral, seconds: float) -> bool:
    try:
        return network.run(lambda n: work.bring(n.connection, account, bundle, seconds))
    except TimeoutError:
        raise DeadlineExceeded(f"not on the ledger within {seconds:g} s; it may still be") from None


def _read(path: Path, vendor: str) -> Collateral:
    try:
        with path.open("rb") as file:
            return work.parse_bundle(file.read(MAX_TRANSACTION), vendor)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def _is_soon(item: work.OnLedger) -> bool:
    return item.verified is not None and item.verified.until_ns - item.time_ns < work.SOON_NS


def _name(subject: CollateralSubject) -> str:
    return f"{subject.vendor} {subject.tee} {subject.authority} {subject.fmspc.hex()}"


def _facts(subject: CollateralSubject) -> dict[str, object]:
    return {"vendor": subject.vendor, "tee": subject.tee, "ca": subject.authority, "fmspc": subject.fmspc}


def _state(item: work.OnLedger) -> dict[str, object]:
    until = None if item.verified is None else moment(item.verified.until_ns)
    return {"expires": until, "soon": _is_soon(item), "reason": item.reason}


def _words(item: work.OnLedger) -> str:
    if item.verified is None:
        return f"NONE that holds: {item.reason}; enclaves of this kind are not admitted"
    return f"holds until {moment(item.verified.until_ns)}" + ("; WARNING: bring a newer one" if _is_soon(item) else "")
