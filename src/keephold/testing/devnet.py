"""A devnet: nodes, gatekeepers and workers as separate programs on this machine, under one supervisor.

    with Devnet.start() as net:
        with Network.connect(net.url, net.genesis) as network:
            …

Everything is the production code but the hardware: enclaves attest with quotes of a development vendor. Nothing on a
devnet is confidential from the owner of the machine.

It leaves nothing behind: children die with the supervisor however it ends (`tether`), an ephemeral directory that a
killed supervisor left is swept at the next start (`directory`).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self, final

from keephold.client.account import Account
from keephold.client.pinned import PinnedNetwork, devnet_link, home
from keephold.programs.members import check_depth
from keephold.protocol.genesis import Genesis
from keephold.runtime.artefact import guest_artefact
from keephold.testing import programs
from keephold.testing.caretaker import Caretaker
from keephold.testing.ceremony import Shape, found
from keephold.testing.comet.binary import comet_binary
from keephold.testing.directory import OwnedDirectory
from keephold.testing.ports import LOOPBACK, free_ports
from keephold.testing.supervisor import Event, Supervisor
from keephold.testing.vendor import DevelopmentVendor

START_SECONDS: Final = 180.0
"""How long a node may take to answer; a laptop takes one second, a machine that starts many devnets at once longer."""

PEER_SECONDS: Final = 10.0
"""More for each further node: all start at once, and share the machine's cores."""

_VENDOR: Final = "development"


@final
class Devnet:
    """A running devnet; end it with `stop`, or use it as a context."""

    def __init__(
        self,
        directory: OwnedDirectory,
        pinned: PinnedNetwork,
        supervisor: Supervisor,
        caretaker: Caretaker,
        urls: tuple[str, ...],
        rpcs: tuple[str, ...],
    ) -> None:
        """For `start`."""
        self._directory: Final = directory
        self._supervisor: Final = supervisor
        self._caretaker: Final = caretaker
        self._is_linked = False
        self.pinned: Final = pinned
        self.urls: Final = urls
        """The base URL of each node."""
        self.rpcs: Final = rpcs
        """The base URL of each CometBFT's own RPC; empty on the embedded engine."""
        self.accounts: Final[Mapping[str, Account]] = {
            name: Account(key, name) for name, key in pinned.devnet_keys().items()
        }
        """alice to judy."""

    @classmethod
    def start(
        cls,
        *,
        state: Path | None = None,
        port: int = 0,
        shape: Shape | None = None,
        comet: Path | None = None,
        report: Callable[[Event], None] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Start a devnet and return once its node answers and admits enclaves; those come up meanwhile.

        Args:
            state: directory that is kept; an ephemeral one by default.
            port: of the first node; 0 for any free one. Other nodes take any.
            shape: how many validators, gatekeepers and workers, and the engine.
            comet: CometBFT to run where the shape asks for it; by default the pinned version, built at first.
            report: called for each program that starts or dies, on another thread.
            progress: called with a line for what takes seconds: the very first start builds the guest, and CometBFT.

        Raises:
            PortTaken: another program listens there.
            ConfigurationError: the shape cannot run, the state is another build's or in use, or there is no CometBFT.
            DeadlineExceeded: the node does not come up.
        """
        shape = shape or Shape()
        shape.check()
        tell = progress or (lambda _: None)
        # Nodes listen for clients; on CometBFT for each other too, and CometBFT's own RPC.
        count = shape.validators
        chosen = free_ports(port, *[0] * ((3 if shape.is_on_comet else 1) * count - 1))
        ports, p2p, rpc = chosen[:count], chosen[count : 2 * count], chosen[2 * count :]
        consensus = programs.Consensus(comet or comet_binary(progress=tell), p2p, rpc) if shape.is_on_comet else None
        guest = guest_artefact(tell)
        machines = home() / _VENDOR
        vendor = DevelopmentVendor.create_or_load(machines)
        with contextlib.ExitStack() as undo:
            directory = OwnedDirectory.lasting(state.absolute()) if state else OwnedDirectory.ephemeral()
            undo.callback(directory.release)
            if consensus is not None:
                check_depth(directory.path / shape.nodes[-1])
            pinned = found(directory.path, _urls(ports), vendor, guest.sha256, shape, time.time_ns())
            programs.prepare_caches(vendor, guest, shape, tell)
            logs = directory.path / "logs"
            logs.mkdir(exist_ok=True)
            supervisor = Supervisor(logs, report, programs.environment())
            undo.callback(supervisor.stop)
            for program in programs.of_devnet(
                directory.path, vendor, machines, LOOPBACK, ports, shape, guest.sha256, consensus
            ):
                supervisor.start(program)
            caretaker = Caretaker(pinned, vendor)
            undo.callback(caretaker.stop)
            if consensus is not None:
                tell(f"starting {count} nodes, each with a CometBFT" if count > 1 else "starting a node with CometBFT")
            caretaker.wait_node(START_SECONDS + PEER_SECONDS * (count - 1), tell)
            undo.pop_all()
        return cls(directory, pinned, supervisor, caretaker, _urls(ports), _urls(rpc))

    @property
    def url(self) -> str:
        """The first node's base URL."""
        return self.pinned.url

    @property
    def genesis(self) -> Genesis:
        """What clients pin."""
        return self.pinned.genesis

    @property
    def home(self) -> Path:
        """The directory with everything: genesis, keys, logs, the programs' own homes."""
        return self.pinned.directory

    @property
    def is_ephemeral(self) -> bool:
        """Whether the directory goes with the devnet."""
        return self._directory.is_ephemeral

    @property
    def pids(self) -> Mapping[str, int]:
        """Name to process id of the programs that run now: `node` or `n0`…, `g0`…, `w0`…."""
        return self._supervisor.pids

    def log(self, name: str) -> Path:
        """Return the file with a program's output."""
        return self._supervisor.log(name)

    def kill(self, name: str, *, hold: bool = False) -> None:
        """`kill -9` a program; it is started again unless held.

        Raises:
            KeyError: no program of that name.
        """
        self._supervisor.kill(name, hold=hold)

    def resume(self, name: str) -> None:
        """Start a held program again.

        Raises:
            KeyError: no program of that name.
        """
        self._supervisor.resume(name)

    def add_gatekeeper(self, name: str) -> None:
        """Start one more gatekeeper under a free name: a candidate for the next seat, until the devnet ends.

        Raises:
            ValueError: the name is taken.
        """
        self._supervisor.start(
            programs.gatekeeper(self.home, home() / _VENDOR, name, list(self.urls), self.genesis.guest)
        )

    def link(self) -> None:
        """Make this devnet the network that commands of this user mean when they name none."""
        link = devnet_link()
        link.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = link.with_name(f".devnet-{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
        draft.symlink_to(self.home.resolve())
        draft.replace(link)
        self._is_linked = True

    def stop(self) -> None:
        """End every program; an ephemeral directory is removed. May be called twice."""
        self._caretaker.stop()
        self._supervisor.stop()
        if self._is_linked:
            link = devnet_link()
            with contextlib.suppress(OSError):
                if link.readlink() == self.home.resolve():
                    link.unlink()
            self._is_linked = False
        self._directory.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _urls(ports: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"http://{LOOPBACK}:{port}" for port in ports)
