"""What a contract author's tests talk to: `net`, and handles on the contracts deployed in it.

    def test_transfer(net, alice, bob):
        token = net.deploy(Token, "GLD", 100, sender=alice)
        token.as_(alice).transfer(bob, 5)
        assert token.as_(bob).balance() == 5
        with net.rejects("insufficient_balance"):
            token.as_(bob).transfer(alice, 6)

The same test runs over three backends. `native` (the default) executes the class in this process: real dispatch, the
real encoding of arguments, results and storage, the real order of refusals; no seals, no sandbox, no limits, no ledger.
`local` runs it on a whole network in this process, which `net.attack` attacks; `devnet` on a network of separate
programs. Those two go through the client library; all raise the client's errors.

Only the native backend goes back. Elsewhere a contract that one test or Hypothesis example changed is refused to the
next one: better no verdict than one on what another test left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Final, final

from keephold.base.errors import (
    AttestationRefused,
    ChainRefused,
    CryptoError,
    InputError,
    KeepholdError,
    LedgerRefused,
    Rejected,
    UnavailableError,
)
from keephold.client.account import Account, Reader
from keephold.client.permits import ONE_DAY, Session
from keephold.client.released import Released
from keephold.contract.address import Address
from keephold.contract.context import Block
from keephold.contract.model import Contract
from keephold.contract.records import Event
from keephold.testing.backend import Backend
from keephold.testing.handle import Deployed, Handle
from keephold.testing.leaks import SeenCall, SeenContract, differences, table

if TYPE_CHECKING:
    from keephold.testing.attacks import Attacks

REFUSALS: Final = (AttestationRefused, ChainRefused, CryptoError, LedgerRefused, UnavailableError)
"""What the client library raises instead of an answer that it cannot stand behind."""


class Rejection:
    """What `Net.rejects` caught."""

    detail: str = ""
    """For people; empty until the block ended."""


@final
class Net:
    """A network for tests."""

    def __init__(self, backend: Backend) -> None:
        """Wrap a backend; the `net` fixture does."""
        self._backend = backend
        self._deployed: list[Deployed] = []
        self._scopes: list[int] = [0]
        """The isolated blocks that this is in, the innermost last; 0 is outside of all."""
        self._numbers: Final = count(1)
        self._changed: Final[dict[Address, int]] = {}
        """Where a lasting contract was changed last."""

    @property
    def attack(self) -> Attacks:
        """Adversaries, each a context manager; see `attacks.Attacks`.

        Raises:
            ConfigurationError: there is no network here whose machines the test owns.
        """
        return self._backend.attack

    @property
    def can_be_attacked(self) -> bool:
        """Whether `attack` has something to attack here."""
        return self._backend.can_be_attacked

    @contextmanager
    def on(self, backend: Backend) -> Iterator[None]:
        """Be a network on another backend for a while, with nothing deployed."""
        before = self._backend, self._deployed
        self._backend, self._deployed = backend, []
        try:
            yield
        finally:
            self._backend, self._deployed = before

    @property
    def block(self) -> Block:
        """The newest block: its height, and its time in nanoseconds."""
        return self._backend.block

    def account(self, name: str) -> Account:
        """Return one of alice to judy.

        Raises:
            InputError: nobody of that name.
        """
        known = self._backend.accounts
        if name not in known:
            raise InputError(f"no account {name!r} (there: {', '.join(known)})")
        return known[name]

    def deploy(self, contract: type[Contract], *arguments: object, sender: Account, **named: object) -> Handle:
        """Deploy the contract in the file of this class, set it up with the arguments, and return a handle.

        Raises:
            SandboxError: the file is no contract that a worker would load; with the line.
            AbiError: the arguments do not fit.
            Rejected, ContractFailed: its @init did not accept them.
        """
        deployed = self._backend.deploy(contract, arguments, named, sender)
        self._deployed.append(deployed)
        return Handle(deployed, self._use)

    def _use(self, deployed: Deployed, *, changes: bool) -> None:
        if all(deployed is not known for known in self._deployed):
            raise InputError(
                f"this {deployed.abi.name} was deployed on another network, or undone since: deploy it in the test"
            )
        if not self._backend.is_lasting:
            return
        if self._changed.get(deployed.address, 0) not in self._scopes:
            raise InputError(
                f"another test or example changed this {deployed.abi.name}, and a ledger does not go back: "
                "deploy it in each test"
            )
        if changes:
            self._changed[deployed.address] = self._scopes[-1]

    def permit(
        self, account: Account, contracts: Sequence[Handle], scopes: Sequence[str], *, expires: timedelta = ONE_DAY
    ) -> Session:
        """Let a new key ask contracts in the account's name; `handle.as_(session)` uses it.

        Raises:
            InputError: nothing named, or too long a life.
        """
        return self._backend.permit(account, [contract.address for contract in contracts], scopes, expires)

    def revoke(self, session: Session, *, account: Account) -> None:
        """Void a permit.

        Raises:
            InputError: another account issued it.
        """
        self._backend.revoke(session, account)

    def mine(self, blocks: int = 1) -> None:
        """Let `blocks` blocks pass; natively each takes a second."""
        self._backend.mine(blocks)

    def warp(self, seconds: float) -> None:
        """Let `seconds` of block time pass. A devnet's clock cannot be turned: there, a few seconds are waited for."""
        self._backend.warp(seconds)

    def settle(self) -> None:
        """Return once no message between the deployed contracts is under way; natively that is so after each call."""
        self._backend.settle()

    def snapshot(self) -> object | None:
        """Return everything as it is now, for `restore`; None on a ledger, which does not go back."""
        inner = self._backend.snapshot()
        return None if inner is None else (inner, tuple(self._deployed))

    def restore(self, snapshot: object | None) -> None:
        """Make everything as it was; nothing happens for the snapshot None."""
        if isinstance(snapshot, tuple):
            inner, deployed = snapshot
            self._backend.restore(inner)
            self._deployed = list(deployed)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Undo at the end what happens inside; forget everywhere what was deployed inside.

        Where the backend does not go back, what was changed inside is refused to later tests.
        """
        before, deployed = self.snapshot(), tuple(self._deployed)
        self._scopes.append(next(self._numbers))
        try:
            yield
        finally:
            self._scopes.pop()
            self.restore(before)
            self._deployed = list(deployed)

    @contextmanager
    def rejects(self, code: str) -> Iterator[Rejection]:
        """Expect the contract to refuse with this code.

        Raises:
            AssertionError: it refused with another code, or not at all.
        """
        caught = Rejection()
        try:
            yield caught
        except Rejected as error:
            if error.rejection != code:
                raise AssertionError(f"expected the rejection {code}, got {error}") from error
            caught.detail = error.detail
            return
        raise AssertionError(f"expected the rejection {code}, but nothing was rejected")

    @contextmanager
    def refuses(self) -> Iterator[None]:
        """Expect no answer, whatever the contract would have said: the ledger or the client refuses, or nobody answers.

        Raises:
            AssertionError: somebody answered.
        """
        try:
            yield
        except REFUSALS:
            return
        except KeepholdError as error:
            raise AssertionError(f"expected to be refused, but the contract answered: {error}") from error
        raise AssertionError("expected to be refused, but there was an answer")

    def assert_truth_or_refusal(self, question: Callable[[], object], truth: object) -> None:
        """Ask; the answer is `truth`, or there is none (`refuses`).

        Raises:
            AssertionError: another answer.
        """
        try:
            answer = question()
        except REFUSALS:
            return
        if answer != truth:
            raise AssertionError(f"expected {truth!r} or no answer, got {answer!r}")

    def events(self, reader: Reader | None = None, contract: Handle | None = None) -> list[Event]:
        """Return the events that `reader` can open and the public ones, oldest first within each contract.

        Without a reader, the public ones: what everybody sees.
        """
        of = [d for d in self._deployed if contract is None or d.address == contract.address]
        return [event for deployed in of for event in deployed.events(reader)]

    def released(self, contract: Handle, topic: str, reader: Reader) -> Released:
        """Return the signature that a contract released to `reader` under a topic.

        Raises:
            Rejected: `not_released`: nothing under this topic, or not for this reader.
        """
        of = next(deployed for deployed in self._deployed if deployed.address == contract.address)
        return of.released(topic, reader)

    def assert_indistinguishable(
        self,
        story: Callable[[Any], object],
        first: Any,
        second: Any,
        *,
        observer: Account | None = None,
        time: bool = False,
    ) -> None:
        """Run a story with one secret, and from the same state with another; what outsiders see must not differ.

        The story takes the secret, and calls contracts through handles; see `leaks` for what is compared. On a ledger,
        which does not go back, it has to deploy the contracts it calls. With `time`, each call is run in the sandbox as
        well, and the fuel it burns is compared: native only, and some milliseconds for each call.

        Raises:
            AssertionError: it differs; with a table.
            InputError: `time` on a ledger.
        """
        with self._backend.timed() if time else nullcontext():
            runs = [self._observed(story, secret, observer) for secret in (first, second)]
        found = differences(*runs)
        if found:
            shown = table(found, f"{first!r}", f"{second!r}")
            raise AssertionError(f"an operator can tell {first!r} from {second!r}:\n\n{shown}\n")

    def _observed(self, story: Callable[[Any], object], secret: object, observer: Account | None) -> list[SeenContract]:
        with self.isolated():
            before = {
                deployed.address: (len(deployed.seen()), len(deployed.events(observer))) for deployed in self._deployed
            }
            story(secret)
            self.settle()
            run = []
            names = {
                deployed.address.text: f"{deployed.abi.name} {number}"
                for number, deployed in enumerate(self._deployed, -len(before))
            }
            for deployed in self._deployed:
                calls, opened = before.get(deployed.address, (0, 0))
                if len(deployed.seen()) > calls:
                    events = deployed.events(observer)[opened:]
                    run.append(SeenContract(deployed.abi.name, _renamed(deployed.seen()[calls:], names), tuple(events)))
            return run

    def close(self) -> None:
        """Release what the backend holds."""
        self._backend.close()


def _renamed(calls: tuple[SeenCall, ...], names: Mapping[str, str]) -> tuple[SeenCall, ...]:
    """Return calls with contracts by their place in the story: addresses of two runs differ."""
    return tuple(
        replace(
            call,
            sender=names.get(call.sender, call.sender),
            messages=tuple((names.get(target, target), size) for target, size in call.messages),
        )
        for call in calls
    )
