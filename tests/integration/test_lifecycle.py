"""What a network does when its surroundings are wrong: nobody home, bytes sent twice, clones, old disks, odd clocks."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from keephold.base.errors import (
    ChainRefused,
    DeadlineExceeded,
    HeaderInvalid,
    LedgerRefused,
    NoLiveWorker,
    PortTaken,
    RollbackDetected,
    Superseded,
    TrustExpired,
)
from keephold.base.ids import PublicKey
from keephold.client.aio import AsyncNetwork
from keephold.client.network import Contract, Network
from keephold.client.pinned import home
from keephold.follower.follow import Follower
from keephold.follower.http_remote import HttpRemote
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import decode
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import (
    Echo,
    KeyRelease,
    KeyRequest,
    PublishAccountKey,
    RevokePermits,
    Transaction,
    open_signed,
    sign,
)
from keephold.protocol.wire import Interest, Verdict
from keephold.testing.build import build_of
from keephold.testing.ceremony import Shape
from keephold.testing.devnet import Devnet
from keephold.testing.supervisor import Died, Event

SUPPLY = 1000
PATIENCE = 240.0
HOUR = 3600


@dataclass
class Life:
    """A devnet with a client, a contract, and what its supervisor reported."""

    net: Devnet
    network: Network
    token: Contract
    reported: list[Event]

    def moved(self, amount: int = 1) -> int:
        """Move units from alice to bob; return what bob holds."""
        alice, bob = self.net.accounts["alice"], self.net.accounts["bob"]
        self.token.call("transfer", bob.address, amount, account=alice, deadline=PATIENCE)
        return int(self.token.query("balance", account=bob, deadline=PATIENCE))

    def nonce(self, account: PublicKey) -> int:
        """Return an account's proven nonce."""
        path = account_path(account)

        async def ask(network: AsyncNetwork) -> bytes | None:
            return (await network.connection.follower.prove([path]))[path]

        raw = self.network.run(ask)
        return 0 if raw is None else decode(raw, AccountRecord).nonce

    def height(self) -> int:
        """Return the node's newest height."""

        async def ask() -> int:
            async with HttpRemote(self.net.url) as remote:
                return (await remote.blocks([0]))[0].height

        return asyncio.run(ask())

    def identity(self, name: str) -> PublicKey:
        """Return an enclave's identity, which it logs."""
        for line in self.net.log(name).read_text().splitlines():
            if '"ready"' in line:
                return PublicKey(bytes.fromhex(json.loads(line)["identity"]))
        raise AssertionError(f"{name} was never ready")

    @contextmanager
    def away(self, *names: str) -> Iterator[None]:
        """Keep programs dead for a while."""
        for name in names:
            self.net.kill(name, hold=True)
        try:
            yield
        finally:
            for name in names:
                self.net.resume(name)
            ends = time.monotonic() + PATIENCE
            while "node" in names:
                with suppress(OSError), socket.create_connection(("127.0.0.1", urlsplit(self.net.url).port)):
                    break
                assert time.monotonic() < ends, self.net.log("node").read_text()[-2000:]
                time.sleep(0.05)

    def deaths(self, name: str, status: int) -> int:
        """Return how often a program ended by itself with this status."""
        return sum(isinstance(event, Died) and (event.name, event.status) == (name, status) for event in self.reported)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, token) -> Iterator[Life]:
    reported: list[Event] = []
    state = tmp_path_factory.mktemp("lifecycle") / "state"
    with Devnet.start(state=state, report=reported.append) as net, Network.connect(net.url, net.genesis) as network:
        contract = network.deploy(token, "LIFE", SUPPLY, account=net.accounts["alice"])
        yield Life(net, network, contract, reported)


def submitted(url: str, *raws: bytes) -> tuple[Verdict, ...]:
    async def submit() -> tuple[Verdict, ...]:
        async with HttpRemote(url) as remote:
            return await remote.submit(raws)

    return asyncio.run(submit())


# nobody home


def test_without_workers_a_deployment_waits_and_says_for_what(token, told) -> None:
    with Devnet.start(shape=Shape(1, 1, 0)) as net, Network.connect(net.url, net.genesis) as network:
        alice = net.accounts["alice"]
        told(
            lambda seconds: network.deploy(token, "NONE", 1, account=alice, deadline=seconds),
            DeadlineExceeded,
            "waiting for a live worker",
        )


def test_a_question_to_a_worker_that_is_away_is_typed(life: Life, told) -> None:
    bob = life.net.accounts["bob"]
    with life.away("w0"):
        told(lambda seconds: life.token.query("balance", account=bob, deadline=seconds), NoLiveWorker)
    life.moved()


def test_a_call_to_a_worker_that_is_away_waits_and_is_executed_once(life: Life) -> None:
    before = life.moved()
    with life.away("w0"):
        pending = life.token.submit("transfer", life.net.accounts["bob"].address, 5, account=life.net.accounts["alice"])
        with pytest.raises(DeadlineExceeded, match="may still be executed"):
            pending.wait(1)
    pending.wait(PATIENCE)
    assert life.moved() == before + 5 + 1


# the same bytes, other bytes


def test_the_same_bytes_again_are_answered_and_not_executed_again(life: Life) -> None:
    before = life.moved()
    pending = life.token.submit("transfer", life.net.accounts["bob"].address, 7, account=life.net.accounts["alice"])
    raw = pending._pending._flight.raw
    submitted(life.net.url, raw, raw)
    pending.wait(PATIENCE)
    again = submitted(life.net.url, raw, raw)
    assert all(verdict.code == 0 and verdict.height > 0 for verdict in again)
    assert life.moved() == before + 7 + 1


def test_a_used_and_a_future_nonce_are_refused_by_name(life: Life) -> None:
    erin = life.net.accounts["erin"]
    first = sign(life.network.id, erin.key, 0, RevokePermits())
    assert submitted(life.net.url, first)[0].code == 0
    deadline = time.monotonic() + PATIENCE
    while life.nonce(erin.key.public) == 0:
        assert time.monotonic() < deadline, "the first is never proven"
    ahead = sign(life.network.id, erin.key, 7, RevokePermits())
    other = submitted(life.net.url, ahead)[0]
    assert Refusal(other.code) is Refusal.BAD_NONCE
    used = Refusal(
        submitted(life.net.url, sign(life.network.id, erin.key, 0, PublishAccountKey(secrets.token_bytes(1216))))[
            0
        ].code
    )
    assert used is Refusal.BAD_NONCE
    assert life.nonce(erin.key.public) == 1


def test_two_programs_with_one_account_are_told_and_may_call_again(life: Life) -> None:
    """Each call happens once or is refused by name; none is repeated behind its caller's back."""
    frank = life.net.accounts["frank"]
    alice = life.net.accounts["alice"]
    life.token.call("transfer", frank.address, 50, account=alice, deadline=PATIENCE)
    done, reasons = 0, set()
    with Network.connect(life.net.url, life.net.genesis) as second:
        other = second.contract(life.token.address)
        for turn in range(10):
            contract = (life.token, other)[turn % 2]
            try:
                contract.call("transfer", alice.address, 1, account=frank, deadline=PATIENCE)
                done += 1
            except LedgerRefused as refusal:
                reasons.add(refusal.reason)
        # Each program asks for a state no older than what it was itself acknowledged; the newer of the two knows all.
        seen = [contract.query("balance", account=frank, deadline=PATIENCE) for contract in (life.token, other)]
    assert reasons <= {"bad_nonce"}
    assert done >= 2
    assert min(seen) == 50 - done


# ports and clocks


def test_a_taken_port_is_typed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)):
            Devnet.start(port=port)


def test_a_node_on_a_taken_port_ends_with_its_status(life: Life, tmp_path: Path) -> None:
    config = tmp_path / "node.toml"
    written = (life.net.home / "node.toml").read_text()
    config.write_text(written.replace(str(life.net.home / "node") + '"', str(tmp_path / "node") + '"'))
    command = [sys.executable, "-m", "keephold.programs.node", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == PortTaken.exit_status
    assert json.loads(ended.stderr.splitlines()[-1])["code"] == PortTaken.code


@dataclass(frozen=True)
class Skewed:
    """A clock that is off by some seconds."""

    seconds: int

    def now_ns(self) -> int:
        return time.time_ns() + self.seconds * 10**9

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.mark.parametrize(("seconds", "error"), [(-HOUR, HeaderInvalid), (HOUR, None), (15 * 24 * HOUR, TrustExpired)])
def test_a_clients_clock_bounds_what_it_believes(life: Life, seconds: int, error: type[Exception] | None) -> None:
    async def connect() -> None:
        network = await AsyncNetwork.connect(life.net.url, life.net.genesis, Skewed(seconds))
        await network.aclose()

    if error is None:
        asyncio.run(connect())
    else:
        with pytest.raises(error):
            asyncio.run(connect())


# clones and old disks


@contextmanager
def worker_on(life: Life, directory: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Run the worker w0 over a directory of its disk; yield the process and its log."""
    config = directory.with_suffix(".toml")
    written = (life.net.home / "w0.toml").read_text()
    config.write_text(written.replace(json.dumps(str(life.net.home / "w0")), json.dumps(str(directory))))
    log = directory.with_suffix(".log")
    build = build_of("worker", life.net.genesis.guest).mr_enclave.hex()
    command = [sys.executable, "-m", "keephold.testing.enclave", "worker", "--config", str(config)]
    command += ["--vendor", str(home() / "development"), "--machine", "w0", "--enclave", build]
    with log.open("w") as output, subprocess.Popen(command, stderr=output, text=True) as process:
        try:
            yield process, log
        finally:
            process.terminate()


def test_of_two_clones_the_older_ends_and_the_younger_works(
    life: Life, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    before = life.moved()
    with life.away("w0"):
        for name in ("first", "second"):
            shutil.copytree(life.net.home / "w0", tmp_path / name)
        with worker_on(life, tmp_path / "first") as (first, first_log):
            eventually(lambda: '"ready"' in first_log.read_text(), "the first is registered")
            assert life.moved() == before + 1
            with worker_on(life, tmp_path / "second") as (second, second_log):
                eventually(lambda: '"ready"' in second_log.read_text(), "the second is registered")
                assert first.wait(PATIENCE) == Superseded.exit_status
                assert json.loads(first_log.read_text().splitlines()[-1])["error"] == Superseded.code
                assert life.moved() == before + 2
                assert second.poll() is None
    assert life.moved() == before + 3


def heard(life: Life, first: int, enough: Callable[[list[Transaction]], bool]) -> list[Transaction]:
    """Return what w0 and g0 said from block `first` on, until it is enough."""
    interest = Interest(identities=(life.identity("w0"), life.identity("g0")), custody=True)

    async def listen() -> list[Transaction]:
        said: list[Transaction] = []
        follower = Follower([HttpRemote(life.net.url)], VerifiedView(life.net.genesis), interest)
        try:
            async with asyncio.timeout(PATIENCE), aclosing(_following(follower, first)) as blocks:
                async for block in blocks:
                    said += [open_signed(ordered.raw, life.network.id) for ordered in block.transactions]
                    if enough(said):
                        return said
        finally:
            await follower.aclose()
        return said

    return asyncio.run(listen())


async def _following(follower: Follower, first: int):
    await follower.sync(to=first)
    async with aclosing(follower.blocks()) as blocks:
        async for block in blocks:
            yield block


def test_a_gatekeeper_put_back_to_its_past_is_mute_until_its_peers_vouch(
    life: Life, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    disk = life.net.home / "g0"
    before = life.moved()
    eventually(lambda: "speaking" in life.net.log("g0").read_text(), "g0 holds a share")
    with life.away("g0"):
        shutil.copytree(disk, tmp_path / "past")
    life.moved()
    life.net.kill("w0")
    assert life.moved() == before + 2
    me, worker = life.identity("g0"), life.identity("w0")

    def answered(said: list[Transaction]) -> bool:
        return any(one.sender == me and isinstance(one.body, KeyRelease) for one in said)

    def ignored(said: list[Transaction]) -> bool:
        """The worker asked, and g0, which followed (three echoes), had its time to answer."""
        asked = [at for at, one in enumerate(said) if one.sender == worker and isinstance(one.body, KeyRequest)]
        return bool(asked) and sum(one.sender == me and isinstance(one.body, Echo) for one in said[asked[0] :]) >= 3

    with life.away("g1", "g2"):
        with life.away("g0"):
            shutil.rmtree(disk)
            shutil.copytree(tmp_path / "past", disk)
            first = life.height()
        life.net.kill("w0")
        assert not answered(heard(life, first, lambda said: ignored(said) or answered(said)))
    assert answered(heard(life, first, answered)), "vouched for, it answers"
    assert life.moved() == before + 3


@pytest.mark.parametrize("name", ["identity", "share", "head"])
def test_an_altered_disk_is_refused(life: Life, name: str, eventually: Callable[..., None]) -> None:
    path = life.net.home / "g2" / f"{name}.sealed"
    before = life.moved()
    statuses = (RollbackDetected.exit_status, 4)  # 4: an identity that does not open is a broken seal
    deaths = sum(life.deaths("g2", status) for status in statuses)
    with life.away("g2"):
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    eventually(lambda: sum(life.deaths("g2", status) for status in statuses) > deaths, "g2 refuses its disk")
    assert life.moved() == before + 1
    with life.away("g2"):
        path.write_bytes(good)
        seen = len(life.net.log("g2").read_text())
    eventually(lambda: "speaking" in life.net.log("g2").read_text()[seen:], "g2 speaks again")


def test_a_node_put_back_to_its_past_is_followed_by_nobody(
    life: Life, tmp_path: Path, eventually: Callable[..., None]
) -> None:
    before = life.moved()
    ledger = life.net.home / "node"
    with life.away("node"):
        shutil.copytree(ledger, tmp_path / "past")
    for _ in range(3):
        life.moved()
    deaths = life.deaths("w0", RollbackDetected.exit_status)
    alice, bob = life.net.accounts["alice"], life.net.accounts["bob"]
    with Network.connect(life.net.url, life.net.genesis) as network:
        contract = network.contract(life.token.address)
        contract.call("transfer", alice.address, 1, account=bob, deadline=PATIENCE)
        with life.away("node"):
            shutil.copytree(ledger, tmp_path / "present")
            shutil.rmtree(ledger)
            shutil.copytree(tmp_path / "past", ledger)
        with pytest.raises(ChainRefused):
            contract.call("transfer", alice.address, 1, account=bob, deadline=PATIENCE)
    eventually(lambda: life.deaths("w0", RollbackDetected.exit_status) > deaths, "the worker refuses the past")
    with life.away("node"):
        shutil.rmtree(ledger)
        shutil.copytree(tmp_path / "present", ledger)
    with Network.connect(life.net.url, life.net.genesis) as network:
        held = network.contract(life.token.address).query("balance", account=bob, deadline=PATIENCE)
    assert held == before + 3 - 1


def test_everything_started_again_over_its_directory_goes_on(tmp_path: Path, token) -> None:
    state = tmp_path / "state"
    with Devnet.start(state=state) as net, Network.connect(net.url, net.genesis) as network:
        alice, bob = net.accounts["alice"], net.accounts["bob"]
        contract = network.deploy(token, "KEPT", SUPPLY, account=alice)
        contract.call("transfer", bob.address, 10, account=alice)
        address, genesis = contract.address, net.genesis
    with Devnet.start(state=state) as net, Network.connect(net.url, genesis) as network:
        contract = network.contract(address)
        assert contract.query("balance", account=net.accounts["bob"], deadline=PATIENCE) == 10
        contract.call("transfer", bob.address, 1, account=net.accounts["alice"], deadline=PATIENCE)
        assert contract.query("balance", account=bob, deadline=PATIENCE) == 11
