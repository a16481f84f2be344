"""A network in one process: a node, and enclaves that dial it, over the same bytes and processors as everywhere.

It replaces transport only. Node and enclaves share no memory but the bytes of requests and answers; the development
vendor's quotes go the production path. For tests: `run` what is under test, wait `until` something holds, `close`.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, final

from keephold.base.clock import Clock, SystemClock
from keephold.base.errors import DeadlineExceeded, KeepholdError, NodeUnreachable
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.enclave.session import Session
from keephold.enclave.vault import Vault, open_vault
from keephold.gatekeeper.service import Gatekeeper
from keephold.protocol.evidence import Role
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    Action,
    CommitteeRules,
    Constitution,
    GovernanceRecord,
    GovernanceRules,
    Proposal,
    SignedProposal,
    Timing,
    ValidatorEntry,
    sign_proposal,
)
from keephold.protocol.state import AccountRecord, account_path, governance_path
from keephold.protocol.transactions import Body, Govern, UpdateCollateral, sign
from keephold.protocol.wire import Verdict
from keephold.testing.remote import LocalNode, LocalRemote
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild

SECOND: Final = 10**9
WORKER: Final = SgxBuild.named("worker")
GATEKEEPER: Final = SgxBuild.named("gatekeeper")
_POLL_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 300.0
"""How long something may take that takes a second: it ends a test that hangs, and never one on a busy machine."""


def named_key(name: str) -> SigningKey:
    """Return the throw-away key of a name."""
    return SigningKey(_seed(name))


@final
class LocalNetwork:
    """One node, and enclaves by name."""

    def __init__(
        self,
        directory: Path,
        *,
        seats: int = 1,
        threshold: int = 1,
        freshness_s: int = 6,
        lease_s: int = 3600,
        phase_s: int = 30,
        trusting_s: int = 86_400,
        clock: Clock | None = None,
    ) -> None:
        """Lay down a genesis; `start` begins. Node and enclaves live by `clock`."""
        self.clock: Final = clock or SystemClock()
        self.directory: Final = directory
        self.vendor: Final = DevelopmentVendor(_seed("vendor"))
        self.validator: Final = ValidatorKey(_seed("validator"))
        self.governor: Final = named_key("governor")
        self.genesis: Final = Genesis(
            name="local",
            time_ns=self.clock.now_ns() - 5 * SECOND,
            guest=bytes(32),
            law=Constitution(
                governance=GovernanceRules((self.governor.public,), 1, 0),
                attestation=self.vendor.policy((WORKER, "worker"), (GATEKEEPER, "gatekeeper")),
                committee=CommitteeRules(seats, threshold, phase_s * SECOND),
                timing=Timing(lease_s * SECOND, freshness_s * SECOND, trusting_s * SECOND),
                validators=(ValidatorEntry(self.validator.public, 10),),
            ),
            simulated=True,
        )
        self.network: Final = network_id(self.genesis)
        self._node: LocalNode | None = None
        self._remotes: Final[list[LocalRemote]] = []
        self._tasks: Final[list[asyncio.Task[None]]] = []

    # --- the node ---

    @property
    def node(self) -> LocalNode:
        """The node that runs.

        Raises:
            NodeUnreachable: it is down, which whoever asks it at that moment outlives.
        """
        if self._node is None:
            raise NodeUnreachable("the node is down")
        return self._node

    def another_node(self, name: str) -> LocalNode:
        """Open a node whose ledger lies under `name`, which nobody is connected to yet."""
        return LocalNode(self.genesis, self.validator, self.directory / name, self.clock)

    def open_node(self, name: str = "node") -> LocalNode:
        """Open the node whose ledger lies under `name`, without making blocks."""
        self._node = self.another_node(name)
        for remote in self._remotes:
            remote.node = self._node
        return self._node

    def start(self, name: str = "node") -> LocalNode:
        """Start a node; all remotes find it."""
        self.open_node(name).start()
        return self.node

    def kill_node(self) -> None:
        """End the node, with everything in its mempool."""
        for remote in self._remotes:
            remote.node = None
        self.node.stop()
        self._node = None

    def remote(self) -> LocalRemote:
        """Return a new connection to the node."""
        self._remotes.append(LocalRemote(self._node))
        return self._remotes[-1]

    def send(self, sender: SigningKey, body: Body) -> bytes:
        """Submit a transaction under the sender's next nonce; return its bytes.

        Raises:
            RuntimeError: the node refuses it.
        """
        account = self.node.reader.record(account_path(sender.public), AccountRecord) or AccountRecord()
        raw = sign(self.network, sender, account.nonce, body)
        (verdict,) = self.node.reader.submit([raw])
        if verdict != Verdict():
            raise RuntimeError(f"refused: {verdict}")
        return raw

    def bring_collateral(self) -> None:
        """Put the vendor's collateral on the ledger: before it, nobody registers."""
        now_ns = self.node.application.map.newest.time_ns
        self.send(named_key("anyone"), UpdateCollateral(self.vendor.collateral(now_ns=now_ns - SECOND)))

    def govern(self, *actions: Action) -> None:
        """Have the governor sign actions and the ledger order them, one after the other."""
        for action in actions:
            record = self.node.reader.record(governance_path(), GovernanceRecord) or GovernanceRecord()
            proposal = Proposal(self.network, record.count + 1, action)
            signed = SignedProposal(proposal, (sign_proposal(proposal, self.governor),))
            self.send(named_key("anyone"), Govern(signed))

    # --- enclaves ---

    def session(
        self,
        name: str,
        role: Role,
        *,
        machine: str = "",
        build: SgxBuild | None = None,
        vendor: DevelopmentVendor | None = None,
        remote: LocalRemote | None = None,
        others: Sequence[LocalRemote] = (),
    ) -> Session:
        """Return the session of an enclave; the same name finds its sealed disk and identity again.

        It asks `remote` first, by default an honest one, and then the others.
        """
        build = build or (WORKER if role == "worker" else GATEKEEPER)
        return Session(
            self.genesis,
            [remote or self.remote(), *others],
            (vendor or self.vendor).platform(Machine.named(machine or f"machine of {name}"), build),
            named_key(f"operator of {name}"),
            role,
            self.directory / name,
            self.clock,
        )

    def vault(self, name: str, role: Role) -> Vault:
        """Open what an enclave sealed, as its machine can: the development vendor's machines are the test's."""
        build = WORKER if role == "worker" else GATEKEEPER
        platform = self.vendor.platform(Machine.named(f"machine of {name}"), build)
        return open_vault(platform, self.network, role, self.directory / name)

    def gatekeeper(self, name: str, *, build: SgxBuild | None = None) -> Gatekeeper:
        """Return a gatekeeper."""
        return Gatekeeper(self.session(name, "gatekeeper", build=build))

    # --- running ---

    def run(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Run something beside the test until `close`."""
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        return task

    async def until(self, condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
        """Return once the condition holds; what fails beside the test fails here.

        Raises:
            DeadlineExceeded: it never did.
        """
        end = time.monotonic() + seconds
        while not condition():
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            if time.monotonic() > end:
                raise DeadlineExceeded("waited in vain")
            await asyncio.sleep(_POLL_SECONDS)

    async def cancel(self, task: asyncio.Task[None]) -> None:
        """End one of the running tasks."""
        self._tasks.remove(task)
        task.cancel()
        with suppress(asyncio.CancelledError, KeepholdError):
            await task

    async def close(self) -> None:
        """End everything."""
        for task in list(self._tasks):
            await self.cancel(task)
        if self._node is not None:
            self.kill_node()


def _seed(name: str) -> SecretBytes:
    return SecretBytes(hashlib.sha256(name.encode()).digest())
