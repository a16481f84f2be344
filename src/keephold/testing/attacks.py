"""Adversaries for authors' tests: `net.attack`, on a network whose machines the test owns.

    @pytest.mark.attack
    def test_a_lost_answer(net, alice, bob):
        gold = net.deploy(Gold, 100, sender=alice)
        with net.attack.withhold_results(), net.refuses():
            gold.as_(alice).transfer(bob, 5)
        assert gold.as_(bob).balance() == 5        # it was ordered, and ran once

Each attack is a context manager: inside it goes on, at its end the network is whole again. None of them forges a
signature or breaks a seal; each does, with the production's own encoders, keys and engine, what its party can do:

| party | attacks |
|---|---|
| a node, a gateway | `withhold_calls`, `withhold_results`, `swap_key`, `forge_receipts` |
| all validators together | `reorder`, `replay`, `roll_back` |
| an account | `redirect` |
| an operator | `end_workers`, `fake_worker` |
| gatekeepers | `take_gatekeepers` |

What a test states is that the contract stays correct, or that nobody is answered (`Net.refuses`). While an attack
lasts, calls and questions wait for `PATIENCE_SECONDS` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, Protocol, final

from msgspec.structs import replace

from keephold.base.errors import DeadlineExceeded, EncodingError
from keephold.base.ids import ContractId, PublicKey
from keephold.client.network import Network
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.state import AccountRecord, ContractRecord, account_path, contract_path
from keephold.protocol.transactions import Body, Call, SubmitResult, Transaction, open_signed
from keephold.protocol.wire import Frame, ProveAnswer, Submission, Verdict, Verdicts
from keephold.testing.adversaries import Colluders, replacing
from keephold.testing.bench import WORKERS, Bench
from keephold.testing.handle import Handle
from keephold.testing.impostors import Impostor, Kind
from keephold.testing.remote import Intercept, LocalRemote, passed_on
from keephold.testing.seized import Seized

PATIENCE_SECONDS: Final = 6.0
"""Of calls and questions that nobody answers, under an attack that keeps something back."""

_LIED_TO_SECONDS: Final = 60.0
"""Of those under an attack that lies: a follower gives a lying node up after about three seconds, or when it can."""


class Client(Protocol):
    """What an attack changes of the backend that tests use."""

    network: Network
    deadline: float
    """Of each call and question, in seconds."""


@final
class Attacks:
    """The adversaries of one bench."""

    def __init__(self, bench: Bench, backend: Client, client: LocalRemote) -> None:
        """For `local_backend.open_local`: `client` is the connection of the backend's own client."""
        self._bench: Final = bench
        self._backend: Final = backend
        self._client = client

    # --- a node, a gateway ---

    @contextmanager
    def withhold_calls(self, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
        """A node accepts calls and keeps them to itself; at the end it lets them go.

        Inside, calls raise DeadlineExceeded. Afterwards they run, once, whether or not anybody still waits.
        """
        with self._withholding([self._client], Call, patience):
            yield

    @contextmanager
    def withhold_results(self, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
        """A node orders calls and keeps what workers send about them to itself; at the end it lets it go."""
        with self._withholding(list(self._bench.workers.values()), SubmitResult, patience):
            yield

    @contextmanager
    def _withholding(self, remotes: list[LocalRemote], kind: type[Body], patience: float) -> Iterator[None]:
        held = _Held(self._bench, kind)
        with self._impatient(patience), _intercepted(remotes, held):
            yield
        self._bench.net.node.reader.submit(held.raws)

    @contextmanager
    def swap_key(self) -> Iterator[None]:
        """A node tells whoever comes anew that contracts have a key that is really its own.

        The test's client is one that comes anew. Whatever it would seal, the node would read.
        """
        own = SigningKey.generate()

        def lie(answer: bytes) -> bytes:
            return _swapped(answer, own)

        with self._stranger(self._bench.remote(replacing("prove", lie))):
            yield

    @contextmanager
    def forge_receipts(self) -> Iterator[None]:
        """A node alters the receipts that it hands out: every answer to a call is another than the worker signed."""
        with self._stranger(self._bench.remote(replacing("stream", _forged))):
            yield

    @contextmanager
    def _stranger(self, remote: LocalRemote) -> Iterator[None]:
        """Let the test use a client that knows the genesis alone, over this connection."""
        self._connect(remote)
        try:
            with self._impatient(_LIED_TO_SECONDS):
                yield
        finally:
            # Another program has used the accounts since: the client of before would be at the wrong nonces.
            self._connect(self._bench.remote())

    def _connect(self, remote: LocalRemote) -> None:
        """Give the test another client."""
        self._backend.network.close()
        self._backend.network, self._client = self._bench.connect(remote), remote

    # --- all validators together ---

    @contextmanager
    def reorder(self) -> Iterator[Reordered]:
        """Validators hold calls back, and order them the other way round at the end: the last one first.

        with net.attack.reorder() as calls:
            calls.make(auction.as_(alice).bid, 5)
            calls.make(auction.as_(bob).bid, 6)
        calls.outcomes               # in the order they were made: what was returned, or the error
        """
        held = _Held(self._bench, Call)
        with ThreadPoolExecutor(thread_name_prefix="keephold-reordered") as pool:
            calls = Reordered(pool, held, self._bench)
            with _intercepted([self._client], held):
                yield calls
            if held.raws:
                self._bench.run(Colluders(self._bench.net.node).order_running(*reversed(held.raws)))
            calls.collect()

    @contextmanager
    def replay(self, contract: Handle) -> Iterator[None]:
        """Validators order the last call to a contract once more, having put back its sender's nonce.

        The ledger's own rule is out of the way; what is left is what the enclave remembers in its sealed state.
        """
        raw, call = self._last_call(contract)
        self._bench.run(self._replay(raw, call, ContractId(contract.address.value)))
        yield

    async def _replay(self, raw: bytes, call: Transaction, contract: ContractId) -> None:
        path = account_path(PublicKey(call.sender))
        reader = self._bench.net.node.reader
        now = reader.record(path, AccountRecord) or AccountRecord()
        colluders = Colluders(self._bench.net.node)
        entries = self._record(contract).inbox_count
        await colluders.put_running({path: replace(now, nonce=call.nonce)})
        await colluders.order_running(raw)
        await self._bench.until(lambda: self._is_consumed(contract, entries + 1), "the call that was ordered again")
        await colluders.put_running({path: now})

    @contextmanager
    def roll_back(self) -> Iterator[Past]:
        """Validators keep a copy of the ledger, and later go on from it as if nothing had happened since.

        with net.attack.roll_back() as past:
            gold.as_(alice).transfer(bob, 5)
            past.show()                                  # from here on
            net.assert_truth_or_refusal(gold.as_(bob).balance, 5)
            with net.refuses():
                gold.as_(alice).transfer(bob, 5)

        A worker that was running goes on answering from its own state, the present one, until its echo is overdue.
        """
        past = Past(self._bench, self._backend, [self._client, *self._bench.workers.values()])
        try:
            with self._impatient(self._backend.deadline):  # until the past is shown
                yield past
        finally:
            # The client of before goes first: what it sent into the past would be offered to the present.
            self._connect(self._bench.remote())
            past.close()
            for name in WORKERS:
                self._bench.end(name)
            self._bench.heal()

    # --- an account ---

    @contextmanager
    def redirect(self, contract: Handle, to: Handle | None = None) -> Iterator[None]:
        """Somebody sends the ciphertext of the last call to a contract as his own: to another contract, or to the same.

        It is ordered like any call; the enclave consumes it as unreadable.
        """
        _, call = self._last_call(contract)
        target = ContractId((to or contract).address.value)
        if not isinstance(call.body, Call):
            raise TypeError("a call has a call's body")
        entries = self._record(target).inbox_count
        self._bench.net.send(SigningKey.generate(), Call(target, self._record(target).epoch, call.body.sealed))
        self._bench.run(self._bench.until(lambda: self._is_consumed(target, entries + 1), "the redirected call"))
        yield

    # --- operators ---

    @contextmanager
    def end_workers(self, *, patience: float = PATIENCE_SECONDS) -> Iterator[None]:
        """Every worker dies, with its memory; at the end they start again from their sealed disks and the ledger."""
        for name in WORKERS:
            self._bench.end(name)
        try:
            with self._impatient(patience):
                yield
        finally:
            self._bench.heal()

    @contextmanager
    def fake_worker(self, kind: Kind = "no hardware") -> Iterator[Impostor]:
        """Somebody tries to join as a worker: without the hardware (`no hardware`), or with `other code` on it.

        His quote is in the real format, signed by a vendor of his own, or measures a program that no law allows.
        `refused` is the reason why the ledger did not register him.
        """
        yield self._bench.run(Impostor.of(self._bench, kind))

    # --- gatekeepers ---

    @contextmanager
    def take_gatekeepers(self, number: int = 1) -> Iterator[Seized]:
        """Somebody owns this many of the three gatekeepers, of which two make a key, with all that they hold.

        `slots(handle)` opens the contract's state off the ledger, or raises BadShare.
        """
        yield Seized(self._bench, number)

    # --- shared ---

    @contextmanager
    def _impatient(self, seconds: float) -> Iterator[None]:
        before, self._backend.deadline = self._backend.deadline, seconds
        try:
            yield
        finally:
            self._backend.deadline = before

    def _record(self, contract: ContractId) -> ContractRecord:
        record = self._bench.net.node.reader.record(contract_path(contract), ContractRecord)
        if record is None:
            raise LookupError("no such contract on this bench")
        return record

    def _is_consumed(self, contract: ContractId, entries: int) -> bool:
        record = self._record(contract)
        return record.inbox_count >= entries and record.done == record.inbox_count

    def _last_call(self, contract: Handle) -> tuple[bytes, Transaction]:
        identity = ContractId(contract.address.value)
        entries = self._bench.run(self._inbox(identity))
        for raw in reversed(entries):
            try:
                return raw, open_signed(raw, self._bench.net.network)
            except EncodingError:
                continue  # of another contract
        raise LookupError("nobody has called this contract yet")

    async def _inbox(self, contract: ContractId) -> list[bytes]:
        entries: list[bytes] = []
        remote, count = LocalRemote(self._bench.net.node), self._record(contract).inbox_count
        while len(entries) < count:
            page = await remote.inbox(contract, len(entries) + 1)
            entries += [entry.raw for entry in page.entries]
        return entries


@final
class _Held:
    """A node's answers that say that something was accepted, which it kept to itself. Implements `Intercept`."""

    def __init__(self, bench: Bench, kind: type[Body]) -> None:
        self._bench: Final = bench
        self._kind: Final = kind
        self.raws: Final[list[bytes]] = []
        """Each once, in the order they came."""

    def __call__(self, endpoint: str, body: bytes) -> bytes | None:
        if endpoint != "submit":
            return None
        raws = decode(body, Submission).transactions
        is_held = [isinstance(open_signed(raw, self._bench.net.network).body, self._kind) for raw in raws]
        self.raws.extend(raw for raw, held in zip(raws, is_held, strict=True) if held and raw not in self.raws)
        others = [raw for raw, held in zip(raws, is_held, strict=True) if not held]
        verdicts = iter(self._bench.net.node.reader.submit(others))
        return encode(Verdicts(tuple(Verdict() if held else next(verdicts) for held in is_held)))


@final
class Reordered:
    """Calls that are under way at once."""

    def __init__(self, pool: ThreadPoolExecutor, held: _Held, bench: Bench) -> None:
        """For `Attacks.reorder`."""
        self._pool: Final = pool
        self._held: Final = held
        self._bench: Final = bench
        self._futures: Final[list[Future[Any]]] = []
        self.outcomes: tuple[Any, ...] = ()
        """Of each call what it returned, or the error that it raised; filled at the end of the block."""

    def make(self, method: Callable[..., Any], *arguments: object, **named: object) -> None:
        """Call a method of a handle, and return once the validators have the call.

        Raises:
            DeadlineExceeded: it did not come to them: what is called is no method of a handle on this network.
        """
        before = len(self._held.raws)
        future = self._pool.submit(method, *arguments, **named)
        self._futures.append(future)

        def is_here() -> bool:
            return len(self._held.raws) > before or future.done()

        self._bench.run(self._bench.until(is_here, "the call to come"))
        if len(self._held.raws) == before:
            raise future.exception() or DeadlineExceeded("nothing was sent")

    def collect(self) -> None:
        """Wait for all; for `Attacks.reorder`."""
        self.outcomes = tuple(future.exception() or future.result() for future in self._futures)


@final
class Past:
    """A copy of the ledger."""

    def __init__(self, bench: Bench, backend: Client, shown: list[LocalRemote]) -> None:
        """Copy it as it is now; for `Attacks.roll_back`."""
        self._bench: Final = bench
        self._backend: Final = backend
        self._shown: Final = shown
        self._copy: Final = bench.copy_node()
        self._is_shown = False

    def show(self) -> None:
        """Answer clients and workers from the copy, and order their transactions there, from now on."""
        if not self._is_shown:
            self._is_shown = True
            self._backend.deadline = PATIENCE_SECONDS
            self._copy.start()
        for remote in self._shown:
            remote.node = self._copy

    def close(self) -> None:
        """Put the present back in its place."""
        for remote in self._shown:
            remote.node = self._bench.net.node
        self._copy.stop()


@contextmanager
def _intercepted(remotes: list[LocalRemote], intercept: Intercept) -> Iterator[None]:
    for remote in remotes:
        remote.intercept = intercept
    try:
        yield
    finally:
        for remote in remotes:
            remote.intercept = passed_on


def _swapped(answer: bytes, own: SigningKey) -> bytes:
    """Return a proof's answer in which every contract's encryption key is another one."""
    told = decode(answer, ProveAnswer)
    values = []
    for item in told.values:
        try:
            record = decode(item.value, ContractRecord)
        except EncodingError:
            values.append(item)
            continue
        key = (bytes(own.public) * (len(record.encryption_key) // 32 + 1))[: len(record.encryption_key)]
        values.append(replace(item, value=encode(replace(record, encryption_key=key))))
    return encode(replace(told, values=tuple(values)))


def _forged(frame: bytes) -> bytes:
    """Return a frame whose receipts have their first byte altered."""
    told = decode(frame, Frame)
    forged = [replace(item, receipt=bytes([item.receipt[0] ^ 1]) + item.receipt[1:]) for item in told.receipts]
    return encode(replace(told, receipts=tuple(forged)))
