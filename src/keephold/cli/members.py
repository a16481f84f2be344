"""`keephold network key`, `assemble`, `accept`: a network of independent operators; nobody sees another's keys."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import InputError
from keephold.chain.chain_id import chain_id
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared
from keephold.programs import membership
from keephold.programs.law import read_law
from keephold.protocol.genesis import network_id

_SECOND: Final = 10**9


def key(
    *,
    home: Annotated[Path, Parameter(help="New directory of the node.")],
    host: Annotated[str, Parameter(help="Where peers and clients reach the machine: an IPv4 address or a name.")],
    port: Annotated[int, Parameter(help="API port.")] = 7707,
    p2p_port: Annotated[int, Parameter(help="Port between nodes.")] = 26656,
    shared: Shared = SHARED,
) -> None:
    """Draw the keys of a node where it will run, and write what to hand on to the other operators."""
    member = membership.make_key(home, host, port, p2p_port)
    path = home / membership.MEMBER
    facts = {"member": str(path), "public_key": member.public_key, "node_id": member.node_id}
    text = f"validator {member.public_key}\nhand on {path}: nothing in it is secret; everything else here stays here"
    emit(facts, text, as_json=shared.json)


def assemble(
    *,
    law: Annotated[Path, Parameter(help="The law of the network.")],
    member: Annotated[list[Path], Parameter(negative="", help="A member's file, once for each.")],
    out: Annotated[Path, Parameter(help="New directory for genesis and members.")],
    at: Annotated[
        str | None, Parameter(name="--time", help="Of genesis, as 2026-01-31T12:00:00Z, in whole seconds (now).")
    ] = None,
    shared: Shared = SHARED,
) -> None:
    """Put law, members and time together. The same three give the same network: each may do it, and compare its id."""
    members = [membership.read_member(path) for path in member]
    seconds = int(time.time()) if at is None else _seconds(at)
    made = membership.assemble(out, read_law(law), members, seconds * _SECOND)
    network = network_id(made.genesis)
    when = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    facts = {
        "network": network,
        "chain_id": chain_id(network),
        "time": when,
        "validators": len(members),
        "directory": str(out),
    }
    lines = [
        f"{made.genesis.name}: network {network.hex()}, {len(members)} validators, chain {chain_id(network)}",
        f"anybody gets the same with --time {when}, this law and these members: compare the network id",
        f"give {out} to every member and client; each member:  keephold network accept --home DIR --network {out}",
    ]
    emit(facts, "\n".join(lines), as_json=shared.json)


def accept(
    *,
    home: Annotated[Path, Parameter(help="Directory of your node, from `keephold network key`.")],
    network: Annotated[Path, Parameter(help="Directory from `keephold network assemble`.")],
    rpc_port: Annotated[int, Parameter(help="Port of CometBFT's own RPC, on loopback; 0: closed.")] = 26757,
    comet: Annotated[str, Parameter(help="Name or path of CometBFT.")] = "cometbft",
    shared: Shared = SHARED,
) -> None:
    """Check that a network has your node as you described it, and write the node's configuration."""
    is_validator = membership.accept(home, network, rpc_port=rpc_port, binary=comet)
    role = "a validator" if is_validator else "a node that follows"
    emit(
        {"home": str(home), "validator": is_validator},
        f"{home} is {role}; start it:  keephold node --home {home}",
        as_json=shared.json,
    )


def _seconds(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--time {text!r}: {error}") from error
    if moment.tzinfo is None or moment.microsecond:
        raise InputError(f"--time {text!r}: whole seconds, with a zone, as 2026-01-31T12:00:00Z")
    return int(moment.timestamp())
