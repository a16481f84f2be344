"""A network of independent operators: each draws his own keys, and nobody sees another's.

1. **Each** draws the keys of his node (`make_key`) and hands on its `member.toml`, in which nothing is secret.
2. **Anybody** puts law, members and time together (`assemble`). Genesis is a function of the three: whoever has them
   can do the same and compares the network id. So it matters to nobody who did it first.
3. **Each** takes genesis and members into his directory (`accept`), which refuses a network that does not have his own
   key and address as he gave them.

What a member file says is not signed: it is what an operator hands on, over a channel by which the others know him. A
wrong address makes a node that nobody reaches; a wrong key is caught by its owner in step 3, and by nobody else.

An operator whose key is not in genesis accepts it too: his node follows, until governance makes it a validator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec

from keephold.base.errors import ConfigurationError
from keephold.client.pinned import PinnedNetwork
from keephold.programs.cometbft import CometConfig
from keephold.programs.config import load
from keephold.programs.founding import HEARTBEAT, MAX_VALIDATORS, genesis_of, is_host
from keephold.programs.law_tables import Law
from keephold.programs.members import Address, Node, configure, draw
from keephold.protocol.genesis import Genesis, network_id

MEMBER: Final = "member.toml"
"""What an operator hands on, in his node's directory."""

MEMBERS: Final = "members.toml"
"""All of them, beside the pinned genesis."""

_Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class MemberFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One node of a network, as its operator describes it. Nothing in it is secret."""

    public_key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    """Of the validator, Ed25519."""
    node_id: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{40}$")]
    """By which peers know the node."""
    host: str
    """Where peers and clients reach it: an IPv4 address or a name."""
    port: _Port
    """Of the API."""
    p2p_port: _Port

    def node(self, rpc_port: int = 0) -> Node:
        """Return the node."""
        return Node(self.node_id, Address(self.port, self.p2p_port, self.host, rpc_port))


class MembersFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`members.toml`."""

    members: tuple[MemberFile, ...]


@dataclass(frozen=True, slots=True)
class Assembled:
    """A network on paper, of which nobody holds more than his own key."""

    genesis: Genesis
    directory: Path
    """For members and clients: the pinned genesis, and `members.toml`."""


def make_key(home: Path, host: str, port: int, p2p_port: int) -> MemberFile:
    """Draw a node's keys in its directory, and write what its operator hands on.

    Raises:
        ConfigurationError: keys are there already, or host or ports are none.
    """
    _check_place(host, port, p2p_port)
    if home.exists() and any(home.iterdir()):
        raise ConfigurationError(f"--home {home} is not empty: keys are drawn once")
    try:
        drawn = draw(home)
        member = MemberFile(
            public_key=drawn.public_key.hex(), node_id=drawn.node_id, host=host, port=port, p2p_port=p2p_port
        )
        (home / MEMBER).write_text(_toml(member), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--home {home}: {error.strerror}") from error
    return member


def read_member(path: Path) -> MemberFile:
    """Return what an operator handed on.

    Raises:
        ConfigurationError: see `load`, or host or ports are none.
    """
    member = load(path, MemberFile)
    _check_place(member.host, member.port, member.p2p_port)
    return member


def assemble(directory: Path, law: Law, members: Sequence[MemberFile], now_ns: int) -> Assembled:
    """Write the genesis of a law, these validators and a time, and the list of members, into a new directory.

    The same law, members (in any order) and time give the same network.

    Raises:
        ConfigurationError: law or members cannot be, or the directory has something in it.
    """
    ordered = tuple(sorted(members, key=lambda member: member.public_key))
    _check_distinct(ordered)
    genesis = genesis_of(law, [bytes.fromhex(member.public_key) for member in ordered], now_ns)
    network_id(genesis)
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigurationError(f"--out {directory} is not empty")
        directory.mkdir(parents=True, exist_ok=True)
        first, *others = (f"http://{member.host}:{member.port}" for member in ordered)
        PinnedNetwork(directory, first, genesis, tuple(others)).write()
        listed = "\n".join(f"[[members]]\n{_toml(member)}" for member in ordered)
        (directory / MEMBERS).write_text(listed, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--out {directory}: {error.strerror}") from error
    return Assembled(genesis, directory)


def accept(home: Path, network: Path, *, rpc_port: int = 26757, binary: str = "cometbft") -> bool:
    """Take a network into the directory of a node whose keys were drawn; say whether it is a validator.

    Args:
        home: Of the node, from `make_key`.
        network: From `assemble`.
        rpc_port: For CometBFT's own RPC on loopback; 0: closed.
        binary: CometBFT.

    Raises:
        ConfigurationError: no keys or no network there, or the network describes this node in another way.
    """
    own = read_member(home / MEMBER)
    drawn = draw(home)
    if (drawn.public_key.hex(), drawn.node_id) != (own.public_key, own.node_id):
        raise ConfigurationError(f"{home / MEMBER} is not of the keys beside it")
    genesis = PinnedNetwork.read(network).genesis
    network_id(genesis)
    members = load(network / MEMBERS, MembersFile).members
    _check_distinct(members)
    validators = {entry.public_key for entry in genesis.law.validators}
    if validators != {bytes.fromhex(member.public_key) for member in members}:
        raise ConfigurationError(f"{network}: genesis and {MEMBERS} are of two networks")
    described = [said for said in members if said.public_key == own.public_key or said.node_id == own.node_id]
    if described not in ([], [own]):
        raise ConfigurationError(f"{network / MEMBERS} describes this node otherwise than {home / MEMBER}")
    nodes = [member.node() for member in members]
    configure(drawn, own.node(rpc_port).at, nodes, genesis, CometConfig(binary=binary), HEARTBEAT)
    return drawn.public_key in validators


def _check_place(host: str, port: int, p2p_port: int) -> None:
    if not is_host(host):
        raise ConfigurationError(f"--host {host!r} is neither an IPv4 address nor a name")
    if not all(1 <= number <= 65_535 for number in (port, p2p_port)) or port == p2p_port:
        raise ConfigurationError(f"ports {port} and {p2p_port}: two of 1..65535")


def _check_distinct(members: Sequence[MemberFile]) -> None:
    if not 1 <= len(members) <= MAX_VALIDATORS:
        raise ConfigurationError(f"{len(members)} members are not in 1..{MAX_VALIDATORS}")
    places = [(member.host, port) for member in members for port in (member.port, member.p2p_port)]
    for what, values in (
        ("key", [member.public_key for member in members]),
        ("node id", [member.node_id for member in members]),
        ("host and port", places),
    ):
        if len({*values}) != len(values):
            raise ConfigurationError(f"two members have one {what}")


def _toml(member: MemberFile) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in msgspec.structs.asdict(member).items())
