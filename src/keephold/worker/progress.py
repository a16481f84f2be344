"""Where a contract stands for its worker: the proven position, the inbox behind it, and its own work beyond it.

    proven position ─> own result ─> own result ─> job that runs now            inbox: proven prefix, tentative suffix
                       └─ submitted once the entry it ends at is proven

**Pipeline.** Results are executed on the worker's own unconfirmed results and submitted in order. While the key epoch
changes, a page of slots sealed anew takes their place. Whatever the ledger proves instead ends all of it: work beyond a
position that is none is dropped and done again, so nothing here has to be undone.

**What leaves.** A result is submitted only when the entry it ends at is proven, with the head it was executed under. So
nothing leaves that rests on a node's word, or on a block whose calls the rules refused.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, TypeVar, final

from keephold.protocol.state import ContractRecord
from keephold.protocol.transactions import Migration, Result
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.adoption import is_at
from keephold.worker.code import ContractCode
from keephold.worker.execution import Job
from keephold.worker.inbox import Inbox
from keephold.worker.mail import Lacking, Mail
from keephold.worker.migration import MigrationJob, SealedPage
from keephold.worker.results import Built, Position
from keephold.worker.state import Opened

Step = TypeVar("Step", Result, Migration)

MAX_PIPELINE: Final = 8
"""Own results beyond the proven state."""


@final
class Progress:
    """The position of one contract, and what is under way on it. No decision about what to believe: see `contract`."""

    def __init__(self) -> None:
        self.base: Position | None = None
        """Proven; None until the state is here."""
        self.inbox: Inbox | None = None
        """Entries after `base`; None until its start is proven."""
        self.lacking = Lacking()
        """What the next job has to be told first."""
        self._pipeline: Final[deque[Built]] = deque()
        self._submitted = -1
        self._running: Job | None = None
        self._sealing: MigrationJob | None = None
        self._page: SealedPage | None = None
        self._tickets = 0

    # --- the position ---

    def confirm(self, record: ContractRecord) -> bool:
        """Move to where a proven record stands, if own work led there; say whether it did."""
        if self._page is not None and is_at(self._page.after, record):
            after, self._page = self._page.after, None
            self.stand_at(after)
            return True
        for at, built in enumerate(self._pipeline):
            if is_at(built.after, record):
                for _ in range(at + 1):
                    self._pipeline.popleft()
                self.stand_at(built.after)
                return True
        return False

    def stand_at(self, position: Position) -> None:
        """Go on from a proven position."""
        self.base = position
        self._submitted = max(self._submitted, position.version - 1)
        if self.inbox is not None:
            if self.inbox.head_at(position.done) is None:
                self.inbox = None
            else:
                self.inbox.consume(position.done)

    def end_at(self, last: int) -> None:
        """Give up whatever goes beyond entry `last`: it waits for the next key epoch."""
        while self._pipeline and self._pipeline[-1].last > last:
            self._pipeline.pop()
        if self._running is not None and self._running.entries[-1].index > last:
            self._running = None

    def read_with(self, opened: Opened) -> None:
        """Read the proven state with the keys of the epoch that began."""
        if self.base is not None:
            self.base = self.base._replace(state=self.base.state.under(opened))

    def start_over(self) -> None:
        """Know no position."""
        self.drop_pending()
        self.base = None
        self.inbox = None

    def drop_pending(self) -> None:
        """Give up own work beyond the position."""
        self.lacking = Lacking()
        self._pipeline.clear()
        self._running = None
        self.drop_page()
        self.submit_again()

    def drop_page(self) -> None:
        """Give up the page that is being sealed anew: the keys it is for changed."""
        self._sealing = self._page = None

    def submit_again(self) -> None:
        """Have everything beyond the position submitted again."""
        self._submitted = self.base.version - 1 if self.base is not None else -1

    def reconcile(self) -> None:
        """Give up whatever was executed on entries that are not in the inbox after all."""
        inbox = self.inbox
        for at, built in enumerate(self._pipeline):
            if inbox is None or inbox.head_at(built.last) != built.result.head:
                while len(self._pipeline) > at:
                    self._pipeline.pop()
                self._running = None
                break
        if self._running is not None:
            last = self._running.entries[-1]
            if inbox is None or inbox.head_at(last.index) != last.head:
                self._running = None

    # --- own work ---

    def next_job(
        self, code: ContractCode, keys: ContractKeys, owned: OwnedKeys | None, mail: Mail, last: int | None
    ) -> Job | None:
        """Return the job to run now; None while one runs, or there is nothing to run.

        Args:
            code: of the contract.
            keys: of its present epoch.
            owned: the keys that it owns; None where it declares none.
            mail: its correspondence.
            last: no entry after this one belongs to it, if that is set.
        """
        if self.base is None or self.inbox is None or self._running is not None:
            return None
        if len(self._pipeline) >= MAX_PIPELINE:
            return None
        start = self._pipeline[-1].after if self._pipeline else self.base
        entries = tuple(entry for entry in self.inbox.batch_after(start.done) if last is None or entry.index <= last)
        if not entries:
            return None
        self._tickets += 1
        self._running = Job(self._tickets, keys, code, entries, start, owned, mail.copy())
        return self._running

    def executed(self, job: Job, built: Iterable[Built]) -> None:
        """Take the results of a job; those of a job that was given up change nothing."""
        if job is self._running:
            self._running = None
            self._pipeline.extend(built)
            self.reconcile()

    def lack(self, job: Job, lacking: Lacking) -> None:
        """Take what a job has to be told before it is run again; of one that was given up nothing."""
        if job is self._running:
            self._running = None
            self.lacking = lacking

    def next_page(
        self, code: ContractCode, old: ContractKeys, new: ContractKeys, record: ContractRecord
    ) -> MigrationJob | None:
        """Return the page to seal anew now; None while one is being sealed, or waits to be accepted."""
        if self.base is None or self.base.version != record.version:
            return None
        if self._page is not None or self._sealing is not None:
            return None
        self._sealing = MigrationJob(old, new, code, self.base, record.rotation[0].cursor)
        return self._sealing

    def migrated(self, job: MigrationJob, page: SealedPage) -> None:
        """Take a page; that of a job that was given up changes nothing."""
        if job is self._sealing:
            self._sealing = None
            self._page = page

    def failed(self, job: Job | MigrationJob) -> None:
        """Give up a job that could not be done."""
        if job is self._running:
            self._running = None
        if job is self._sealing:
            self._sealing = None

    def due_results(self, quorum: int) -> list[Result]:
        """Return the results to submit now, each once, in order."""
        due: list[Result] = []
        for at, built in enumerate(self._pipeline):
            if self.inbox is None or built.last > self.inbox.proven:
                break
            # The next vote counts only once a quorum has agreed on this one.
            if at > 0 and quorum > 1:
                break
            due += self._once(built.result)
        return due

    def due_page(self, record: ContractRecord) -> list[Migration]:
        """Return the page to submit now, once."""
        is_next = self._page is not None and self.base is not None and self.base.version == record.version
        return self._once(self._page.migration) if self._page is not None and is_next else []

    def is_pending(self, step: Result | Migration) -> bool:
        """Say whether this very step is own work beyond the position."""
        if isinstance(step, Migration):
            return self._page is not None and self._page.migration is step
        return any(built.result is step for built in self._pipeline)

    def _once(self, step: Step) -> list[Step]:
        if step.version <= self._submitted:
            return []
        self._submitted = step.version
        return [step]
