"""`keephold network`: found a network of several validators for production. Simulated ones are the devnet's."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.chain.chain_id import chain_id
from keephold.cli.output import emit, tell
from keephold.cli.place import ON_NETWORK, SHARED, OnNetwork, Shared, read_password
from keephold.client.keystore import Keystore
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SEED_SIZE, SigningKey
from keephold.programs.cometbft import CometConfig
from keephold.programs.founding import Founded, Plan, found
from keephold.programs.founding import join as join_network
from keephold.programs.law import TEMPLATE, read_law, trial_law
from keephold.programs.members import Address as MemberAddress
from keephold.protocol.genesis import network_id
from keephold.runtime.artefact import guest_artefact

_LOOPBACK: Final = "127.0.0.1"
_GOVERNOR: Final = "governor"
_MAX_NAME: Final = 64

_TRIAL: Final = """
no --law: a network to try nodes on. One account governs it, whose keystore and password are in {}
it admits no enclave until that account admits its build: `keephold govern allow`"""


def law(*, shared: Shared = SHARED) -> None:
    """Print a law file to fill in."""
    emit({"law": TEMPLATE}, TEMPLATE.rstrip(), as_json=shared.json)


def init(
    *,
    out: Annotated[Path, Parameter(help="New directory for all that is written.")],
    law: Annotated[
        Path | None,
        Parameter(
            help="The law of the network; `keephold network law` prints one to fill in (default: one to try nodes "
            "under, which admits no enclave)."
        ),
    ] = None,
    validators: Annotated[int | None, Parameter(help="How many validators (default: one for each --host).")] = None,
    host: Annotated[
        list[str] | None,
        Parameter(
            negative="", help="Address of a validator's machine, once for each; one alone is for all (127.0.0.1)."
        ),
    ] = None,
    port: Annotated[int, Parameter(help="API port of the first validator on a host; others there count up.")] = 7707,
    p2p_port: Annotated[int, Parameter(help="Port between nodes of the first on a host; likewise.")] = 26656,
    rpc_port: Annotated[
        int, Parameter(help="Port of CometBFT's own RPC, on loopback, of the first on a host; likewise; 0: closed.")
    ] = 26757,
    comet: Annotated[str, Parameter(help="Name or path of CometBFT where the nodes run.")] = "cometbft",
    shared: Shared = SHARED,
) -> None:
    """Draw the keys of validators, and write the genesis, each one's directory, and the pin for clients."""
    plan = Plan(_hosts(validators, host or []), port, p2p_port, rpc_port, comet)
    if law is not None:
        founded = found(out, read_law(law), plan)
        emit(_facts(founded), _text(founded, out), as_json=shared.json)
        return
    seed = SecretBytes.random(SEED_SIZE)
    governor = Address.account(SigningKey(seed).public)
    name = out.absolute().name[:_MAX_NAME]
    founded = found(out, trial_law(name, guest_artefact(tell).sha256, governor), plan)
    where = _keep_governor(out / _GOVERNOR, seed)
    emit({**_facts(founded), "governor": str(where)}, _text(founded, out) + _TRIAL.format(where), as_json=shared.json)


def join(
    *,
    out: Annotated[Path, Parameter(help="New directory of the node.")],
    peer: Annotated[list[str], Parameter(negative="", help="ID@HOST:PORT of another node's CometBFT; more than once.")],
    node: Annotated[
        list[str] | None,
        Parameter(negative="", help="URL of a node to join by (default: the pinned one's); two notice a lie of one."),
    ] = None,
    host: Annotated[str, Parameter(help="Address of this machine, for its API and for other nodes.")] = _LOOPBACK,
    port: Annotated[int, Parameter(help="API port.")] = 7707,
    p2p_port: Annotated[int, Parameter(help="Port between nodes.")] = 26656,
    rpc_port: Annotated[int, Parameter(help="Port of CometBFT's own RPC, on loopback; 0: closed.")] = 26757,
    comet: Annotated[str, Parameter(help="Name or path of CometBFT where the node runs.")] = "cometbft",
    on: Annotated[OnNetwork, Parameter(name="*")] = ON_NETWORK,
) -> None:
    """Write the directory of a node that joins a running network by a snapshot, without replaying its history.

    It follows, until governance makes its key a validator's.
    """
    at = MemberAddress(port, p2p_port, host, rpc_port)
    member = join_network(out, on.pinned(), node or [], at, CometConfig(binary=comet, peers=tuple(peer)))
    facts = {"directory": str(out), "public_key": member.public_key, "node_id": member.node_id}
    text = f"{out}: validator key {member.public_key.hex()}, node id {member.node_id}"
    emit(facts, f"{text}\nstart it:  keephold node --home {out}", as_json=on.json)


def _keep_governor(directory: Path, seed: SecretBytes) -> Path:
    """Write a keystore of the one governor, and its password beside it, for this user alone."""
    directory.mkdir(mode=0o700)
    password = directory / "password"
    password.touch(mode=0o600)
    password.write_text(f"{secrets.token_hex(16)}\n")
    store = Keystore.create(directory / "keystore.json", read_password(password))
    store.insert(_GOVERNOR, seed)
    store.save()
    return directory


def _hosts(validators: int | None, hosts: list[str]) -> tuple[str, ...]:
    """Return the host of each validator.

    Raises:
        InputError: neither is given, or they disagree.
    """
    if validators is None and not hosts:
        raise InputError("give --validators, or a --host for each")
    if validators is None or validators == len(hosts):
        return tuple(hosts)
    if len(hosts) > 1:
        raise InputError(f"--validators {validators}, but {len(hosts)} times --host: one for each, or one for all")
    return tuple(hosts or [_LOOPBACK]) * validators


def _facts(founded: Founded) -> dict[str, object]:
    return {
        "network": network_id(founded.genesis),
        "chain_id": chain_id(network_id(founded.genesis)),
        "validators": [
            {"directory": str(member), "url": url, "rpc": rpc, "public_key": entry.public_key}
            for member, url, rpc, entry in zip(
                founded.members, founded.urls, founded.rpcs, founded.genesis.law.validators, strict=True
            )
        ],
        "pinned": str(founded.pinned),
    }


def _text(founded: Founded, out: Path) -> str:
    genesis = founded.genesis
    network = network_id(genesis)
    lines = [
        f"{genesis.name}: network {network.hex()}, {len(founded.members)} validators, chain {chain_id(network)}",
        *(
            f"  {member}  {url}" + (f"  CometBFT's RPC, on that machine: {rpc}" if rpc else "")
            for member, url, rpc in zip(founded.members, founded.urls, founded.rpcs, strict=True)
        ),
        "start each on its machine:  keephold node --home DIR",
        f"clients:  --network {founded.pinned}",
        f"{out} holds every validator's key: take each directory to its machine, and leave none here",
    ]
    if len(founded.members) < 4:
        lines.append("fewer than four validators: the network stops when one does")
    return "\n".join(lines)
