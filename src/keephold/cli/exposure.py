"""`keephold exposure`: which key epochs a worker may hold, or who may hold those of a contract; ended ones included."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.base.ids import ContractId, PublicKey
from keephold.cli.output import emit
from keephold.cli.place import ON_NETWORK, OnNetwork
from keephold.client.exposure import epochs_of, exposure_of
from keephold.client.network import Network
from keephold.client.pinned import PinnedNetwork
from keephold.client.trust_facts import ContractEpochs, Exposure, KeyEpoch
from keephold.contract.address import Address


def exposure(
    thing: Annotated[str, Parameter(help="A contract by name or address, or a worker by address or identity (hex).")],
    *,
    options: OnNetwork = ON_NETWORK,
) -> None:
    """Say which key epochs a broken worker exposes, or who may hold each epoch of a contract, ended ones too."""
    pinned = options.pinned()
    address = _address(pinned, thing)
    with Network.connect(pinned.urls, pinned.genesis) as network:
        if address.kind == "contract":
            of = network.run(lambda n: epochs_of(n.connection.follower, ContractId(address.value)))
            lines = [f"contract {address} (header {of.height}):", *epoch_lines(of.epochs, of.owned)]
            emit({"contract": address, **epochs_body(of)}, "\n".join(lines), as_json=options.json)
        else:
            found = network.run(lambda n: exposure_of(n.connection.follower, PublicKey(address.value)))
            lines = [*exposure_lines(found), "", "Not proven:", *(f"  {sentence}" for sentence in found.not_proven)]
            emit(exposure_body(found), "\n".join(lines), as_json=options.json)


def exposure_lines(exposure: Exposure) -> list[str]:
    """Return what a worker may hold, for people."""
    lines = [f"  worker {exposure.worker.hex()[:16]} (header {exposure.height}):"]
    for held in exposure.held:
        had = "had it: it published the public keys" if held.is_published else "may ask for it"
        what = f"{held.why}; {had}"
        if held.ended:
            what = f"{_ended(held.ended)}; assigned in it from height {held.since} on"
        lines.append(f"    {Address.contract(held.contract)} epoch {held.epoch}, {what}")
    for signing in exposure.signing:
        why = "of an ended epoch" if signing.why == "ended" else signing.why
        lines.append(
            f"    {Address.contract(signing.contract)} signing keys, {why}, for ever: {', '.join(signing.keys)}"
        )
    return lines if exposure.held else [*lines, "    nothing"]


def exposure_body(exposure: Exposure) -> dict[str, object]:
    """Return what a worker may hold, for programs."""
    return {
        "worker": exposure.worker,
        "height": exposure.height,
        "held": [
            {
                "contract": Address.contract(held.contract),
                "epoch": held.epoch,
                "why": held.why,
                "published": held.is_published,
                "since": held.since,
                "ended": held.ended,
            }
            for held in exposure.held
        ],
        "signing": [
            {"contract": Address.contract(signing.contract), "keys": list(signing.keys), "why": signing.why}
            for signing in exposure.signing
        ],
        "not_proven": list(exposure.not_proven),
    }


def epoch_lines(epochs: tuple[KeyEpoch, ...], owned: tuple[str, ...]) -> list[str]:
    """Return who may hold each of these epochs of a contract, for people."""
    lines = []
    for epoch in epochs:
        lines.append(f"  epoch {epoch.number}, {_ended(epoch.ended) if epoch.ended else 'open'}")
        lines += [f"    worker {item.worker.hex()[:16]}, from height {item.since} on" for item in epoch.holders]
        if not epoch.holders:
            lines.append("    nobody")
    if owned:
        lines.append(f"  signing keys, for ever: each worker above may have {', '.join(owned)}")
    return lines


def epochs_body(of: ContractEpochs) -> dict[str, object]:
    """Return who may hold each epoch of a contract, for programs."""
    return {
        "height": of.height,
        "epochs": [
            {
                "epoch": epoch.number,
                "ended": epoch.ended,
                "holders": [{"worker": item.worker, "since": item.since} for item in epoch.holders],
            }
            for epoch in of.epochs
        ],
        "signing": list(of.owned),
    }


def _ended(height: int) -> str:
    return f"ended epoch: what was sealed under it before height {height}"


def _address(pinned: PinnedNetwork, given: str) -> Address:
    """Return what is meant. Raises InputError: no name, address or identity."""
    known = pinned.contracts()
    if given in known:
        return known[given]
    try:
        return Address.account(bytes.fromhex(given))
    except ValueError:
        pass
    try:
        return Address.parse(given)
    except ValueError as error:
        there = ", ".join(known) or "none yet"
        raise InputError(f"no contract {given!r} (named here: {there}), no identity; as an address: {error}") from None
