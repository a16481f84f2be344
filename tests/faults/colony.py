"""Four nodes and their enclaves on machines of their own: the programs of a devnet, placed where a test wants them."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from keephold.base.errors import NodeUnreachable
from keephold.client.account import Account
from keephold.client.network import Network
from keephold.client.pinned import home
from keephold.programs.cometbft import CometConfig
from keephold.programs.members import Address
from keephold.programs.members import found as write_nodes
from keephold.protocol.genesis import Genesis
from keephold.runtime.artefact import guest_artefact
from keephold.testing import inside, programs
from keephold.testing.caretaker import Caretaker
from keephold.testing.ceremony import Shape, found, members
from keephold.testing.comet.liar import FILE as LIE
from keephold.testing.comet.liar import LIES, Lie
from keephold.testing.comet.watched import Release, refusals, releases
from keephold.testing.devnet import START_SECONDS
from keephold.testing.supervisor import Supervisor
from keephold.testing.switch import Switch
from keephold.testing.vendor import DevelopmentVendor

API, P2P, RPC = 7707, 26656, 26756
SHAPE = Shape(gatekeepers=3, threshold=2, workers=2, validators=4)
HEARTBEAT = 2.0
FRAIL = "keephold.testing.comet.frail"
WATCHED = "keephold.testing.comet.watched"


def connected(urls: str | Sequence[str], genesis: Genesis) -> Network:
    """Connect a client; it asks once, and is asked to again where a node does not answer in time."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return Network.connect(urls, genesis)
        except NodeUnreachable:
            if time.monotonic() > deadline:
                raise


class Colony:
    """Nodes `n0` to `n3` on the machines 0 to 3; gatekeepers `g0` to `g2` and workers `w0`, `w1` where told."""

    def __init__(self, directory: Path, binary: Path, switch: Switch, places: Mapping[str, int]) -> None:
        """Start everything.

        Args:
            directory: empty, with a short path.
            binary: CometBFT.
            switch: the caller is on one of its machines, from which it reaches all.
            places: the machine of each enclave; it dials the node there first, if there is one, then the others.
        """
        guest, machines = guest_artefact(), home() / "development"
        vendor = DevelopmentVendor.create_or_load(machines)
        self.addresses = [Address(API, P2P, machine.address) for machine in switch.machines[: SHAPE.validators]]
        self.directory = directory
        self.switch = switch
        self._undo = contextlib.ExitStack()
        urls = [self.url(number) for number in range(SHAPE.validators)]
        pinned = found(directory, urls, vendor, guest.sha256, SHAPE, time.time_ns())
        self.genesis = pinned.genesis
        self.accounts = {name: Account(key, name) for name, key in pinned.devnet_keys().items()}
        programs.prepare_caches(vendor, guest, SHAPE, lambda _: None)
        rows = [tuple(range(first, first + SHAPE.validators)) for first in (P2P, RPC)]
        consensus = programs.Consensus(binary, *rows)
        ports = range(API, API + SHAPE.validators)
        made = list(programs.of_devnet(directory, vendor, machines, "127.0.0.1", ports, SHAPE, guest.sha256, consensus))
        # Written for one host; here each node has its own, and each enclave its own order of dialling.
        options = CometConfig(binary=str(binary), commit=0.1)
        write_nodes(members(directory, SHAPE), self.addresses, self.genesis, options, HEARTBEAT)
        (directory / "logs").mkdir()
        with contextlib.ExitStack() as undo:
            self.supervisor = Supervisor(directory / "logs", None, programs.environment())
            undo.callback(self.supervisor.stop)
            for program in made:
                at = places.get(program.name)
                if at is None:
                    node = switch.machines[SHAPE.nodes.index(program.name)]
                    self.supervisor.start(inside.program(node, replace(program, module=FRAIL)))
                else:
                    self._dial(program.name, sorted(range(SHAPE.validators), key=lambda number, at=at: number != at))
                    enclave = replace(program, module=WATCHED)
                    self.supervisor.start(inside.program(switch.machines[at], enclave))
            caretaker = Caretaker(pinned, vendor)
            undo.callback(caretaker.stop)
            caretaker.wait_node(START_SECONDS)
            self._undo = undo.pop_all()

    def url(self, number: int) -> str:
        at = self.addresses[number]
        return f"http://{at.host}:{at.api_port}"

    def connect(self, number: int) -> Network:
        """Connect a client to a node."""
        return connected(self.url(number), self.genesis)

    def log(self, name: str | int) -> Path:
        return self.supervisor.log(name if isinstance(name, str) else f"n{name}")

    def __len__(self) -> int:
        return SHAPE.validators

    def releases(self, name: str) -> list[Release]:
        """Return the diary of a gatekeeper."""
        return releases(self.directory / name)

    def refusals(self, name: str) -> list[str]:
        """Return the diary of what an enclave was told and refused."""
        return refusals(self.directory / name)

    def lie(self, number: int, lie: Lie | None) -> None:
        """Let a node lie from now on; None: let it be honest again."""
        file = self.directory / f"n{number}" / "home" / LIE
        if lie is None:
            file.unlink(missing_ok=True)
        else:
            draft = file.with_name(".lie")
            draft.write_text(lie)
            draft.replace(file)

    def lies(self, number: int) -> list[str]:
        """Return what a node lied about so far, and in answer to what."""
        path = self.directory / f"n{number}" / "home" / LIES
        return path.read_text().splitlines() if path.exists() else []

    @property
    def all_releases(self) -> list[Release]:
        return [release for name in ("g0", "g1", "g2") for release in self.releases(name)]

    def stop(self) -> None:
        self._undo.close()

    def _dial(self, name: str, order: list[int]) -> None:
        path = self.directory / f"{name}.toml"
        nodes = ", ".join(f'"{self.url(number)}"' for number in order)
        path.write_text(re.sub(r"(?m)^nodes = .*$", f"nodes = [{nodes}]", path.read_text()))
