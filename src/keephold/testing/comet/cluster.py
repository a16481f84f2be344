"""Several nodes with real CometBFT on this machine: separate processes under one supervisor.

with Cluster.start(directory, genesis, validators=4) as cluster:
    …HttpRemote(cluster.url(0))…
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self, final

import msgspec
from msgspec.structs import replace

from keephold.programs.cometbft import CometConfig
from keephold.programs.history import HistoryConfig
from keephold.programs.members import HISTORY, Address, Member, draw, found, join
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import ValidatorEntry
from keephold.testing import inside
from keephold.testing.comet import rogue
from keephold.testing.comet.binary import comet_binary
from keephold.testing.comet.frail import COMET_FAILS, DEATHS, FILE, Death, Moment, Victim
from keephold.testing.ports import free_ports
from keephold.testing.supervisor import Program, Supervisor
from keephold.testing.switch import Switch

_POWER: Final = 10
_API: Final = 7707
_P2P: Final = 26656
_FRAIL: Final = "keephold.testing.comet.frail"


@dataclass(frozen=True, slots=True)
class _Habits:
    """What all nodes of a cluster have in common."""

    options: CometConfig
    heartbeat: float
    history: HistoryConfig


@final
class Cluster:
    """Nodes `n0`, `n1`, …; each dies and is started again with its CometBFT."""

    def __init__(
        self,
        members: list[Member],
        addresses: list[Address],
        genesis: Genesis,
        supervisor: Supervisor,
        habits: _Habits,
    ) -> None:
        """For `start`."""
        self.genesis: Final = genesis
        self._members: Final = members
        self._addresses: Final = addresses
        self._supervisor: Final = supervisor
        self._habits: Final = habits

    @classmethod
    def start(
        cls,
        directory: Path,
        genesis: Callable[[tuple[ValidatorEntry, ...]], Genesis],
        *,
        binary: Path | None = None,
        validators: int = 4,
        followers: int = 0,
        commit: float = 0.1,
        heartbeat: float = 2.0,
        history: HistoryConfig = HISTORY,
        switch: Switch | None = None,
        log: str = "error",
    ) -> Self:
        """Found a network in an empty directory and start its nodes; they need some seconds to find each other.

        Args:
            directory: Its path must be short: sockets lie in it.
            genesis: Makes the genesis of a network with these validators.
            binary: CometBFT; by default the version that is shipped against.
            validators: How many, the first ones.
            followers: How many nodes more, which order nothing.
            commit: Seconds to wait for late votes.
            heartbeat: Seconds between blocks without transactions.
            history: What each node keeps, and how often it takes snapshots.
            switch: Gives each node a machine of its own, the first ones; by default all share this one's loopback.
            log: CometBFT's log level.

        Raises:
            ConfigurationError: there is no CometBFT, or the directory is too deep.
        """
        options = CometConfig(binary=str(binary or comet_binary()), commit=commit, log=log)
        members = [draw(directory / f"n{number}") for number in range(validators + followers)]
        made = genesis(tuple(ValidatorEntry(member.public_key, _POWER) for member in members[:validators]))
        if switch is None:
            ports = free_ports(*[0] * (2 * len(members)))
            addresses = [Address(api, p2p) for api, p2p in zip(ports[::2], ports[1::2], strict=True)]
        else:
            addresses = [Address(_API, _P2P, machine.address) for machine in switch.machines[: len(members)]]
        configurations = found(members, addresses, made, options, heartbeat, history)
        logs = directory / "logs"
        logs.mkdir()
        with contextlib.ExitStack() as undo:
            supervisor = Supervisor(logs)
            undo.callback(supervisor.stop)
            for number, path in enumerate(configurations):
                program = Program(f"n{number}", _FRAIL, ("--config", str(path)))
                supervisor.start(program if switch is None else inside.program(switch.machines[number], program))
            undo.pop_all()
        return cls(members, addresses, made, supervisor, _Habits(options, heartbeat, history))

    def join(self, directory: Path, by: Sequence[int]) -> int:
        """Start one node more, which restores a snapshot, on this machine's loopback; return its number.

        Args:
            directory: Its path must be short.
            by: Numbers of the nodes whose API it asks; all nodes are its peers.
        """
        number, habits = len(self), self._habits
        member, ports = draw(directory), free_ports(0, 0)
        peers = [
            f"{other.node_id}@{at.host}:{at.p2p_port}" for other, at in zip(self._members, self._addresses, strict=True)
        ]
        options = replace(habits.options, peers=tuple(peers), join=tuple(map(self.url, by)))
        self._members.append(member)
        self._addresses.append(Address(ports[0], ports[1]))
        path = join(member, self._addresses[-1], self.genesis, options, habits.heartbeat, habits.history)
        self._supervisor.start(Program(f"n{number}", _FRAIL, ("--config", str(path))))
        return number

    def __len__(self) -> int:
        return len(self._members)

    def url(self, number: int) -> str:
        """Return a node's base URL."""
        at = self._addresses[number]
        return f"http://{at.host}:{at.api_port}"

    def validator(self, number: int) -> bytes:
        """Return the public key of a node's validator."""
        return self._members[number].public_key

    def home(self, number: int) -> Path:
        """Return the directory of a node's ledger."""
        return self._members[number].directory / "home"

    def log(self, number: int) -> Path:
        """Return the file with the output of a node and its CometBFT."""
        return self._supervisor.log(f"n{number}")

    def pid(self, number: int) -> int | None:
        """Return the process id of a node, if it runs."""
        return self._supervisor.pids.get(f"n{number}")

    def kill(self, number: int, *, hold: bool = False) -> None:
        """`kill -9` a node; its CometBFT dies with it, and both come back unless held."""
        self._supervisor.kill(f"n{number}", hold=hold)

    def resume(self, number: int) -> None:
        """Start a held node again."""
        self._supervisor.resume(f"n{number}")

    def die_at(self, number: int, moment: Moment, victim: Victim = "application") -> None:
        """Let a node's application, its CometBFT or both be killed when it comes to a moment of a block, once."""
        _place(self.home(number) / FILE, f"{moment} {victim}")

    def has_died(self, number: int) -> bool:
        """Whether the moment of `die_at` has come."""
        return not (self.home(number) / FILE).exists()

    def deaths(self, number: int) -> list[Death]:
        """Return what a node saw each time before it was killed by `die_at`."""
        path = self.home(number) / DEATHS
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=Death) for line in lines]

    def comet_fails(self, number: int, point: int) -> None:
        """Let a node's next CometBFT exit at the `point`th moment that its authors foresaw for that; see `frail`."""
        _place(self.home(number) / COMET_FAILS, str(point))

    def propose(self, number: int, mischief: rogue.Mischief | None) -> None:
        """Let a node propose what it should not, from now on; None: let it be honest again."""
        if mischief is None:
            (self.home(number) / rogue.FILE).unlink(missing_ok=True)
        else:
            _place(self.home(number) / rogue.FILE, mischief)

    def proposed(self, number: int) -> list[int]:
        """Return, for each mischief of a node so far, how many transactions it should have proposed."""
        return _numbers(self.home(number) / rogue.PROPOSED)

    def refused(self, number: int) -> list[int]:
        """Return the numbers of transactions of the proposals that a node's application refused so far."""
        return _numbers(self.home(number) / rogue.REFUSED)

    def stop(self) -> None:
        """End all nodes."""
        self._supervisor.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _place(path: Path, text: str) -> None:
    """Write an order so that nobody reads half of it."""
    draft = path.with_name(f".{path.name}")
    draft.write_text(text)
    draft.replace(path)


def _numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []
