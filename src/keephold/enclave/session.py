"""One enclave's life on the network: follow, send, attest, echo. The role on top sees verified blocks and acts.

`Session.run` holds five loops that end together: when one raises (superseded, rolled back, refused for good), all stop,
and the process is to end: its keys lived in its memory.

A session keeps the interest of what it needs itself; a role adds its own with `watch`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, final

from msgspec.structs import replace

from keephold.attestation.platforms.base import Platform
from keephold.base.clock import Clock
from keephold.base.errors import ChainRefused, LedgerRefused, UnavailableError
from keephold.base.ids import NetworkId, PublicKey
from keephold.crypto.entity import EntityKeys
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.enclave.freshness import Freshness
from keephold.enclave.head import SealedHead
from keephold.enclave.identity import Instance, open_identity
from keephold.enclave.registration import Registrar
from keephold.enclave.sender import Sender
from keephold.enclave.tasks import run_together
from keephold.enclave.vault import Vault, open_vault
from keephold.follower.follow import Follower
from keephold.follower.remote import Remote
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedBlock, VerifiedView
from keephold.protocol.evidence import Role
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.transactions import Echo
from keephold.protocol.wire import Interest

_ECHOES_PER_WINDOW: Final = 3
_NONCES: Final = 64
"""Own nonces remembered: whoever answers one later than so many echoes answers another."""

_NANOSECONDS: Final = 1_000_000_000

OnBlock = Callable[[VerifiedBlock], Awaitable[None]]
Paths = Callable[[], Sequence[bytes]]
OnFresh = Callable[[dict[bytes, bytes | None], int], None]


@final
class Session:
    """Everything a worker or gatekeeper has in common. For one event loop."""

    def __init__(
        self,
        genesis: Genesis,
        remotes: Sequence[Remote],
        platform: Platform,
        operator: SigningKey,
        role: Role,
        home: Path,
        clock: Clock,
    ) -> None:
        """Open identity and sealed head, and prepare to follow from it.

        Raises:
            ConfigurationError, QuoteUnavailable: the platform's interface does not answer.
            RollbackDetected, SealBroken: what the sealed disk holds is not ours.
        """
        self.role: Final = role
        self.clock: Final = clock
        self.platform: Final = platform
        self.network: Final[NetworkId] = network_id(genesis)
        self.vault: Final[Vault] = open_vault(platform, self.network, role, home)
        self.keys: Final[EntityKeys] = open_identity(self.vault)
        self._head: Final = SealedHead(self.vault)
        self.follower: Final = Follower(remotes, self._head.load(genesis))
        self.sender: Final = Sender(self.follower, self.keys.signing, clock)
        self.registrar: Final = Registrar(self.follower, self.sender, platform, self.keys.signing, operator, role)
        self.registrations: Final = Registrations(self.follower)
        self.freshness: Final = Freshness(genesis.law.timing.freshness_ns / _NANOSECONDS)
        self._nonces: Final[deque[bytes]] = deque(maxlen=_NONCES)
        self._extra = Interest()
        self.watch(self._extra)

    @property
    def identity(self) -> PublicKey:
        """The enclave's public key."""
        return self.keys.signing.public

    @property
    def instance(self) -> Instance:
        """The live instance; raises LedgerRefused `not_registered` before the first."""
        return self.registrar.instance

    @property
    def view(self) -> VerifiedView:
        """What has been verified."""
        return self.follower.view

    def watch(self, extra: Interest) -> None:
        """Ask for what the role needs, beside the session's own; replaces what it asked for before."""
        self._extra = extra
        own = (self.sender.path, self.registrar.path)
        identities = (self.identity, *(other for other in extra.identities if other != self.identity))
        paths = (*own, *(path for path in extra.paths if path not in own))
        self.follower.watch(replace(extra, paths=paths, identities=identities, sparse=False))

    def drew(self, nonce: bytes) -> bool:
        """Say whether this process drew that nonce lately: blocks also hold those of earlier lives and of clones."""
        return nonce in self._nonces

    def seal_head(self) -> None:
        """Seal the newest verified header now: before something that an older chain must not see again."""
        self._head.keep_now(self.view)

    async def run(self, on_block: OnBlock, paths: Paths = tuple, on_fresh: OnFresh | None = None) -> None:
        """Run for ever.

        Args:
            on_block: Awaited for every verified block, in order, after the session saw it itself.
            paths: What `on_fresh` wants proven after each echo: a node cannot hide a change there for longer than W.
            on_fresh: Given those values and the height of the header that proves them.

        Raises:
            EnclaveError: this process must not go on.
            LedgerRefused: the registration is refused for good.
            ChainRefused: no node offers a continuation of our chain.
        """
        try:
            await run_together(
                self._follow(on_block),
                self.sender.run(),
                self.registrar.run(),
                self._echo(paths, on_fresh),
                self._leave_silence(),
            )
        finally:
            await self.follower.aclose()

    async def _follow(self, on_block: OnBlock) -> None:
        async for block in self.follower.blocks():
            self.sender.observe(block)
            self.registrar.observe(block)
            self._head.keep(self.view, self.clock.monotonic())
            await on_block(block)

    async def _echo(self, paths: Paths, on_fresh: OnFresh | None) -> None:
        pause = self.freshness.window_seconds / _ECHOES_PER_WINDOW
        await self.registrar.wait_registered()
        while True:
            try:
                await self.refresh(paths(), on_fresh)
                await asyncio.sleep(pause)
            except (UnavailableError, ChainRefused, LedgerRefused):
                await asyncio.sleep(min(pause, 0.5))

    async def _leave_silence(self) -> None:
        """Leave a node behind which no echo comes back, however alive it is otherwise.

        A node may take what is submitted and pass nothing on, or give signs of life and no block: nothing in that can
        be refused. An own echo in a verified block is what it cannot make up, so it has a window for one, after the
        last one lapsed. Where nothing is ordered at all this costs a round through the nodes; from an only one there
        is nowhere to go.
        """
        window = self.freshness.window_seconds
        since = self.clock.monotonic()
        while len(self.follower.nodes) > 1:
            await asyncio.sleep(window / _ECHOES_PER_WINDOW)
            now = self.clock.monotonic()
            if self.freshness.is_fresh(now):
                since = now
            elif now - since > window:
                self.follower.leave("nothing of ours came back within the law's freshness")
                since = now

    async def refresh(self, paths: Sequence[bytes] = (), on_fresh: OnFresh | None = None) -> None:
        """Echo once: submit a nonce, see it ordered, prove above it what matters; then this enclave is fresh.

        Raises:
            Superseded: another instance of this identity is registered.
            LedgerRefused, ChainRefused, UnavailableError: no echo this time.
        """
        submitted = self.clock.monotonic()
        nonce = SecretBytes.random(32).reveal()
        self._nonces.append(nonce)
        outcome = await self.sender.submit(Echo(nonce))
        proven = await self.follower.prove((self.registrar.path, *paths), outcome.height + 1)
        self.registrar.judge(proven[self.registrar.path])
        if on_fresh is not None:
            on_fresh({path: proven[path] for path in paths}, proven.height)
        self.freshness.confirm(submitted, outcome.height)
