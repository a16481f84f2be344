"""Attesting: first at start, then again before half of the lease is gone. Each time a new instance.

    unregistered ──accepted──> live ──half of the lease──> live (the next instance) ──> …
         └──refused for good: raises        └──another instance on record──> Superseded: wipe

The quote binds a block of this enclave's own verified chain, so it is younger than that block; and the encryption pair
of this attestation alone, so what was sealed to an earlier one stays closed.

**Superseded.** The ledger keeps one live instance an identity. When the proven record names an instance that this
process never made, another process holds the same identity key: a clone, or the same machine restarted while we hung.
Either way we hold keys no more.
"""

from __future__ import annotations

import asyncio
from typing import Final, final

from keephold.attestation.platforms.base import Platform
from keephold.attestation.policy import report_data
from keephold.base.errors import (
    ChainRefused,
    ConfigurationError,
    LedgerRefused,
    QuoteUnavailable,
    Superseded,
    UnavailableError,
)
from keephold.base.ids import InstanceId, NetworkId, PublicKey
from keephold.crypto.labels import SIGN_OPERATOR
from keephold.crypto.signing import SigningKey
from keephold.enclave.identity import Instance
from keephold.enclave.sender import Sender
from keephold.follower.follow import Follower
from keephold.follower.remote import Remote
from keephold.follower.view import VerifiedBlock
from keephold.protocol.codec import decode
from keephold.protocol.evidence import Claim, Role
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Registration, registration_path
from keephold.protocol.transactions import Register

_RETRY_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 0.1
_HOPELESS: Final = frozenset(
    refusal.word for refusal in (Refusal.REVOKED, Refusal.OPERATOR_UNPROVEN, Refusal.WRONG_ROLE, Refusal.SEATED)
)
"""Refusals that another attempt does not change."""


@final
class Registrar:
    """One enclave's registration: the sans-I/O part is what is live and due, `run` attests."""

    def __init__(
        self,
        follower: Follower,
        sender: Sender,
        platform: Platform,
        identity: SigningKey,
        operator: SigningKey,
        role: Role,
    ) -> None:
        self._follower: Final = follower
        self._sender: Final = sender
        self._platform: Final = platform
        self._identity: Final = identity
        self._role: Final = role
        self.network: Final[NetworkId] = follower.view.network
        self.path: Final = registration_path(identity.public)
        self._operator: Final = operator.public
        self._operator_signature: Final = operator.sign(SIGN_OPERATOR, self.network, identity.public, role.encode())
        self._live: Instance | None = None
        self._attempts: Final[dict[bytes, Instance]] = {}
        self._record: Registration | None = None
        self._registered: Final = asyncio.Event()
        self.refused: LedgerRefused | None = None
        """Why the last attempt was refused; for logs."""
        self.gives_quotes = True
        """Whether the platform gave a quote when it was last asked."""

    @property
    def identity(self) -> PublicKey:
        """The enclave's public key."""
        return self._identity.public

    @property
    def instance(self) -> Instance:
        """The live instance.

        Raises:
            LedgerRefused: reason `not_registered`: there is none yet.
        """
        if self._live is None:
            raise LedgerRefused(Refusal.NOT_REGISTERED.word, "no attestation of this process was accepted yet")
        return self._live

    @property
    def record(self) -> Registration | None:
        """The proven record of the live instance, None before."""
        return self._record

    @property
    def is_live(self) -> bool:
        """Whether the live instance's lease lasts, by the newest verified header."""
        return self._record is not None and self._follower.view.time_ns < self._record.lease_ns

    async def wait_registered(self) -> None:
        """Return once an attestation of this process is accepted."""
        await self._registered.wait()

    def observe(self, block: VerifiedBlock) -> None:
        """Take a verified block.

        Raises:
            Superseded: another process holds this identity.
        """
        if self.path in block.values:
            self.judge(block.values[self.path])

    def judge(self, raw: bytes | None) -> None:
        """Take the proven value of `path`, at least as new as any before.

        Raises:
            Superseded: another process holds this identity.
        """
        if raw is None:
            return
        record = decode(raw, Registration)
        # An attempt given up on may still be ordered: all that this process made are its own.
        self._live = self._attempts.pop(record.instance, self._live)
        if self._live is None:
            return  # what a process before us registered; ours will replace it
        if record.instance != self._live.id:
            if self._record is not None and record.height <= self._record.height:
                return  # older than what is known
            raise Superseded(f"instance {record.instance.hex()[:16]} is registered for this identity")
        self._record = record
        self._registered.set()

    def is_due(self) -> bool:
        """Say whether to attest: never yet, or half of the lease is gone."""
        if self._record is None:
            return True
        half = self._follower.view.genesis.law.timing.lease_ns // 2
        return self._follower.view.time_ns >= self._record.lease_ns - half

    async def run(self) -> None:
        """Attest whenever due, for ever.

        A refusal is a node's word: for good it is once each node gave it.

        Raises:
            LedgerRefused: for good: revoked, operator unproven, wrong role, seated.
            ConfigurationError: the platform cannot quote.
        """
        hopeless: set[Remote] = set()
        while True:
            if self.is_due() and self._follower.view.height:
                try:
                    await self.attest()
                except LedgerRefused as error:
                    # Collateral that is not there yet, an anchor that aged: another attempt may do.
                    if error.reason in _HOPELESS:
                        hopeless.add(self._follower.remote)
                        if len(hopeless) == len(self._follower.nodes):
                            raise
                        self._follower.leave(error)
                    self.refused = error
                except (UnavailableError, ChainRefused):
                    pass  # no quote this time, or no node: another attempt
                else:
                    self.refused = None
                    hopeless.clear()
                    continue
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                await asyncio.sleep(_POLL_SECONDS)

    async def attest(self) -> InstanceId:
        """Attest once; return the instance that is live now.

        Raises:
            LedgerRefused: the registration was refused.
            ConfigurationError: the platform cannot quote.
        """
        fresh = Instance.fresh()
        height = self._follower.view.height
        anchor = self._follower.view.header(height)
        if anchor is None:
            raise ConfigurationError("attesting before the first verified header")
        claim = Claim(
            network=self.network,
            role=self._role,
            signing_key=self._identity.public,
            encryption_key=fresh.encryption.public,
            operator=self._operator,
            instance=fresh.id,
            anchor_height=height,
            anchor_hash=anchor.hash(),
        )
        # The platform may block for long: a device or a file, never a socket that listens.
        try:
            evidence = await asyncio.to_thread(self._platform.quote, report_data(claim))
        except QuoteUnavailable:
            self.gives_quotes = False
            raise
        self.gives_quotes = True
        self._attempts[fresh.id] = fresh
        outcome = await self._sender.submit(
            Register(
                role=self._role,
                operator=self._operator,
                operator_signature=self._operator_signature,
                encryption_key=fresh.encryption.public,
                instance=fresh.id,
                anchor_height=height,
                anchor_hash=anchor.hash(),
                evidence=evidence,
            )
        )
        # Accepted: the record is proven by the next header, which may be here already.
        self.judge((await self._follower.prove([self.path], outcome.height + 1))[self.path])
        return self.instance.id
