"""The gatekeeper's shell: runs a session, its core's errands, the ceremony and the answers. I/O, no decisions.

It opens no listening socket of any family, and loads no runtime: it dials out to a node, and that is all it does.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Final, final

from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    InputError,
    LedgerRefused,
    NotFresh,
    ProofInvalid,
    RollbackDetected,
    UnavailableError,
)
from keephold.base.ids import PublicKey
from keephold.custody.public import qualified
from keephold.enclave.outbox import Outcome
from keephold.enclave.session import Session
from keephold.enclave.tasks import run_together
from keephold.follower.follow import Follower
from keephold.follower.past import verify_past
from keephold.follower.trust import VerifiedRegistration
from keephold.follower.view import VerifiedBlock, VerifiedView
from keephold.gatekeeper.ceremony import Ceremony, Heard, Opening
from keephold.gatekeeper.core import Core, Errand, Spoken, VerifyOpening, VerifyVouch
from keephold.gatekeeper.handover import Standing, check_handover, check_successors
from keephold.gatekeeper.marks import Marks
from keephold.gatekeeper.requests import Request, answer, justify, paths
from keephold.gatekeeper.survey import Survey, survey
from keephold.protocol.custody import CommitteeKeys, DkgDealing, DkgMessage, RoundState
from keephold.protocol.lines import contracts_of
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import committee_path
from keephold.protocol.wire import Interest

_LOG: Final = logging.getLogger("keephold.gatekeeper")
_RETRY_SECONDS: Final = 0.2
_NO_SKIP: Final = 1 << 62

_REFUSED: Final = (AttestationRefused, LedgerRefused, CryptoError, InputError, ChainRefused)


@final
class Gatekeeper:
    """One gatekeeper on one session. `run` never returns; it raises what `Session.run` raises."""

    def __init__(self, session: Session) -> None:
        """Read the vault.

        Raises:
            RollbackDetected: it holds what we did not write.
        """
        self._session: Final = session
        self._follower: Final = session.follower
        ceremony = Ceremony(session.vault, session.identity, session.network, secrets.token_bytes)
        self.core: Final = Core(session.identity, session.network, ceremony, session.drew)
        self.marks: Final = Marks(session.vault)
        self.survey: Final = Survey(self.marks, session.network)
        self._work: Final = asyncio.Event()
        self._unresolved: tuple[VerifiedBlock, tuple[Spoken, ...]] | None = None
        self._sending: Final[dict[DkgMessage, asyncio.Future[Outcome]]] = {}
        self._was_speaking = False
        self._postponed: tuple[Errand, ...] = ()
        self._dealing = 0
        """Round in which we deal: its receivers were verified again just before."""

    async def run(self) -> None:
        """Follow, take part in ceremonies, look at contracts, answer requests: for ever."""
        self._session.watch(self.core.interest())
        try:
            await run_together(
                self._session.run(self._on_block, self._paths, self._on_fresh),
                survey(self._follower, self.survey),
                self._answer(),
            )
        finally:
            self.marks.keep_now()

    def wipe(self) -> None:
        """Overwrite the shares in memory; what the vault holds stays."""
        self.core.ceremony.wipe()

    @property
    def may_speak(self) -> bool:
        """Whether releases leave: share in office, vouched for, fresh, lease live, registration not ended."""
        record = self._session.registrar.record
        return (
            self.core.share is not None
            and self.core.standing.is_vouched
            and self._session.registrar.is_live
            and record is not None
            and record.status == "live"
            and self._session.freshness.is_fresh(self._session.clock.monotonic())
        )

    # --- blocks ---

    def _paths(self) -> tuple[bytes, ...]:
        return (committee_path(),)

    def _on_fresh(self, values: dict[bytes, bytes | None], height: int) -> None:
        self.core.learn(values, height)
        self._work.set()

    async def _on_block(self, block: VerifiedBlock) -> None:
        observed = self.core.observe(block)
        self._session.watch(self.core.interest())
        await self._resolve(block)
        self.core.settle()
        if observed.round is not None and not self.core.ceremony.compare(observed.round):
            _LOG.error("ceremony diverged from the ledger's: falling silent")
        postponed, self._postponed = self._postponed, ()
        for errand in (*postponed, *observed.errands):
            await self._run(errand)
        self._unresolved = (block, observed.spoken) if self.core.ceremony.is_taking_part else None
        await self._speak()
        if self._session.registrar.is_live:
            for vouch in self.core.vouching.due(block.height, block.header_hash):
                self._session.sender.submit_nowait(vouch)
        self.marks.keep(self._session.clock.monotonic())
        self._work.set()

    async def _run(self, errand: Errand) -> None:
        try:
            if isinstance(errand, VerifyOpening):
                if errand.opening.state.round == self.core.round:  # else it ended while no node answered
                    await self._open(errand.opening)
            else:
                await self._hear_vouch(errand)
        except UnavailableError as error:
            _LOG.warning("%s: %s", type(errand).__name__, error)
            if isinstance(errand, VerifyOpening):
                self._postponed = (*self._postponed, errand)  # what was said meanwhile can be heard again
        except _REFUSED as error:
            _LOG.warning("%s: %s", type(errand).__name__, error)

    async def _hear_vouch(self, errand: VerifyVouch) -> None:
        """Believe a peer's vouch: a gatekeeper with evidence that holds, whose head lies on our chain."""
        registration = await self._session.registrations.verify(errand.peer)
        if registration.proof.claim.role != "gatekeeper":
            raise LedgerRefused(Refusal.WRONG_ROLE.word, registration.proof.claim.role)
        if await self._follower.header_hash(errand.vouch.height) != errand.vouch.header_hash:
            raise ProofInvalid("the peer's head is not on our chain")
        self.core.vouched(errand.peer)

    # --- ceremony ---

    async def _open(self, opening: Opening) -> None:
        """Take part in a round that the law opens, with gatekeepers verified all, from a committee that is ours."""
        ceremony = self.core.ceremony
        opened = await self._follower.header(opening.height)
        law = (await self._follower.law()).before(opened.time_ns)
        ceremony.check_opening(opening, law, opened.time_ns)
        successors = await self._session.registrations.verify_all(opening.receivers)
        check_successors(successors)
        vetted: tuple[PublicKey, ...] = ()
        if opening.office is not None:
            vetted = await self._vet_dealers(opening, opening.office, successors)
        self._session.seal_head()
        ceremony.begin(opening, opened.time_ns, vetted)
        _LOG.info("taking part in round %d, a %s", opening.state.round, opening.state.purpose)

    async def _vet_dealers(
        self, opening: Opening, office: CommitteeKeys, successors: Sequence[VerifiedRegistration]
    ) -> tuple[PublicKey, ...]:
        """Return the dealers known to be gatekeepers: all of a committee of ours; else those that verify."""
        session = self._session
        if self.core.ceremony.inherited(opening.state) is not None:
            standing = {member: await self._standing(member) for member in opening.dealers}
            quotes = session.registrar.gives_quotes
            check_handover(opening.state, office, session.identity, successors, standing, gives_quotes=quotes)
            return opening.dealers
        vetted = []
        for member in opening.dealers:
            try:
                found = await verify_past(self._follower, member)
            except (AttestationRefused, LedgerRefused) as error:
                _LOG.warning("dealer %s does not count: %s", member.hex()[:16], error)
            else:
                if found.proof.claim.role == "gatekeeper":
                    vetted.append(member)
        if len(vetted) < opening.state.quorum:
            raise LedgerRefused(Refusal.NOT_SEATED.word, f"{len(vetted)} of {opening.state.quorum} dealers verified")
        return tuple(vetted)

    async def _standing(self, member: PublicKey) -> Standing:
        try:
            return await self._session.registrations.verify(member)
        except (AttestationRefused, LedgerRefused) as error:
            return error

    async def _may_deal(self, state: RoundState) -> bool:
        """Look again at those who are still in, now that shares leave; without them, and without us, nothing does."""
        if state.round == self._dealing:
            return True
        receivers = [PublicKey(one.member) for one in qualified.receivers(state)]
        own = self._session.identity
        try:
            if any(one.member == own for one in state.receivers) and own not in receivers:
                raise LedgerRefused(Refusal.SEATED.word, "dropped before anything was dealt")
            check_successors(await self._session.registrations.verify_all(receivers))
        except UnavailableError:
            return False
        except _REFUSED as error:
            _LOG.warning("not dealing in round %d: %s", state.round, error)
            self.core.ceremony.abandon()
            return False
        self._dealing = state.round
        return True

    async def _resolve(self, block: VerifiedBlock) -> None:
        """Feed the ceremony the block before this one, now that its results are committed."""
        ceremony = self.core.ceremony
        if not ceremony.is_taking_part:
            return
        before, self._unresolved = self._unresolved, None
        if before is not None and before[0].height == block.height - 1:
            ceremony.hear([await self._heard(self._follower, *before)])
        elif ceremony.height < block.height - 1:
            await self._replay(block.height - 1)

    async def _replay(self, until: int) -> None:
        """Hear the ceremony's blocks again, after a restart or a gap, from a view of its own."""
        ceremony = self.core.ceremony
        view = VerifiedView(self._follower.view.genesis)
        side = Follower([self._follower.remote], view, Interest(custody=True), skip_above=_NO_SKIP)
        await side.sync(to=ceremony.height)
        last: tuple[VerifiedBlock, tuple[Spoken, ...]] | None = None
        replica = Core(self._session.identity, self._session.network, ceremony, self._session.drew)
        stream = side.blocks()
        try:
            while ceremony.is_taking_part and ceremony.height < until:
                block = await anext(stream)
                if last is not None:
                    ceremony.hear([await self._heard(side, *last)])
                last = (block, replica.observe(block).spoken)
        finally:
            await stream.aclose()
        _LOG.info("heard the ceremony again up to block %d", until)

    async def _heard(self, follower: Follower, block: VerifiedBlock, spoken: tuple[Spoken, ...]) -> Heard:
        located = await follower.locate([item.id for item in spoken]) if spoken else {}
        accepted = tuple(
            (item.sender, item.message)
            for item in spoken
            if (found := located.get(item.id)) is not None and found.height == block.height and found.result.code == 0
        )
        return Heard(block.height, block.time_ns, accepted)

    async def _speak(self) -> None:
        """Send what the ceremony wants from us; again if it was refused for a reason that passes."""
        ceremony = self.core.ceremony
        for message in ceremony.pending():
            state = ceremony.state
            if isinstance(message, DkgDealing) and (state is None or not await self._may_deal(state)):
                break
            sent = self._sending.get(message)
            if sent is None or (sent.done() and sent.exception() is not None):
                self._sending[message] = self._session.sender.submit_nowait(message)
        if not ceremony.is_taking_part:
            self._sending.clear()

    # --- releases ---

    async def _answer(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            if self.may_speak != self._was_speaking:
                self._was_speaking = self.may_speak
                _LOG.info("speaking" if self._was_speaking else "mute")
            if not self.may_speak:
                continue
            for request in self.core.queue.take():
                await self._release(request)

    async def _release(self, request: Request) -> None:
        session = self._session
        try:
            least = max(request.height + 1, self.marks.height_of(contracts_of(request.items)))
            contracts = await self._follower.prove(paths(request), least)
            registration = await session.registrations.verify(request.worker, at_least=contracts.height)
            justified = justify(request, contracts, registration, self.marks, session.network)
            # Looked at again after every wait: the window may have closed meanwhile.
            session.freshness.require(session.clock.monotonic())
            share = self.core.share
            if share is None:
                raise LedgerRefused(Refusal.NOT_SEATED.word, "not in office any more")
            session.sender.submit_nowait(
                answer(justified, share, session.identity, session.network, secrets.token_bytes)
            )
        except (UnavailableError, NotFresh):
            self.core.queue.put_back(request)
            await asyncio.sleep(_RETRY_SECONDS)
            self._work.set()
        except RollbackDetected as error:
            # Nobody's mistake: the ledger's record was put back.
            _LOG.error("request %s of %s refused: %s: %s", *_short(request), error.code, error)
        except _REFUSED as error:
            _LOG.warning("request %s of %s refused: %s", *_short(request), error)
        else:
            _LOG.info("released %d keys to %s", len(request.items), request.worker.hex()[:16])


def _short(request: Request) -> tuple[str, str]:
    return request.id.hex()[:16], request.worker.hex()[:16]
