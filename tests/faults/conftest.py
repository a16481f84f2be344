"""Networks of real CometBFT, and readers that believe nothing.

What decides here is what the processes do, never how fast: a question to a node is asked until it is answered, and a
story has `PATIENCE`, which is spent by a network that stands still and by nothing else. When a test fails, its report
ends with what its nodes said last: whatever is logged below a directory of `place`.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from keephold.base.errors import ConfigurationError, NodeUnreachable, UnavailableError
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.http_remote import HttpRemote
from keephold.follower.view import VerifiedView
from keephold.programs.law_tables import AttestationLaw, CommitteeLaw, GovernanceLaw, Law, MeasurementLaw
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    Action,
    CommitteeRules,
    Constitution,
    GovernanceRules,
    Proposal,
    SignedProposal,
    Timing,
    ValidatorEntry,
    sign_proposal,
)
from keephold.protocol.transactions import Deploy, Govern, sign, transaction_id
from keephold.protocol.wire import Interest, LightBlock, StreamRequest
from keephold.testing.comet.binary import VERSION, comet_binary
from keephold.testing.comet.cluster import Cluster
from keephold.testing.switch import Switch
from keephold.testing.vendor import DevelopmentVendor, SgxBuild

T = TypeVar("T")
SECOND = 10**9
PATIENCE = 600.0
"""Seconds for a story on four nodes that share two busy cores with three other tests: ten times what it takes alone."""
AGAIN = 2.0
TOGETHER = 64
CLIENT = 4
LOG = "consensus:info,blocksync:info,statesync:info,*:error"
"""What CometBFT logs: enough to tell what a network that stands still waits for."""
TOLD_LINES, TOLD_CHARACTERS = 40, 400
PLACES = pytest.StashKey[list[Path]]()
GOVERNORS = [SigningKey(SecretBytes(bytes([n]) * 32)) for n in (1, 2, 3)]


def genesis_of(validators: tuple[ValidatorEntry, ...]) -> Genesis:
    governors = sorted(item.public for item in GOVERNORS)
    vendor = DevelopmentVendor(SecretBytes(b"v" * 32))
    law = Constitution(
        GovernanceRules(tuple(governors), 2, 0),
        vendor.policy((SgxBuild.named("worker"), "worker")),
        CommitteeRules(1, 1, 60 * SECOND),
        Timing(3600 * SECOND, 30 * SECOND, 86_400 * SECOND),
        validators,
    )
    return Genesis("cluster", time.time_ns(), bytes(32), law, simulated=True)


def ids_of(raws: Sequence[bytes]) -> list[bytes]:
    return [transaction_id(raw) for raw in raws]


class Reader:
    """Follows one node with proofs, from the genesis on."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.url = cluster.url(number)
        self.remote = HttpRemote(self.url)
        self.view = VerifiedView(cluster.genesis)
        self.hashes: dict[int, bytes] = {}
        self.app_hashes: dict[int, bytes] = {}

    async def follow(self, height: int) -> None:
        """Verify every header up to a height, going on where the stream breaks."""
        while self.view.height < height:
            request = StreamRequest(self.view.height + 1, Interest())
            with suppress(NodeUnreachable, UnavailableError):
                async with aclosing(self.remote.stream(request)) as frames:
                    async for frame in frames:
                        block = self.view.accept(frame)
                        self.hashes[block.height] = block.header_hash
                        header = self.view.header(block.height)
                        assert header is not None
                        self.app_hashes[block.height] = header.app_hash
                        if block.height >= height:
                            return
            await asyncio.sleep(0.05)

    async def answered(self, question: Callable[[HttpRemote], Awaitable[T]]) -> T:
        """Ask until the node answers, whatever it says."""
        while True:
            with suppress(NodeUnreachable, UnavailableError):
                return await question(self.remote)
            await asyncio.sleep(0.05)

    async def height(self) -> int:
        """Return the height of the node's newest block."""
        (newest,) = await self.answered(lambda remote: remote.blocks([0]))
        return newest.height

    async def knows(self, ids: Sequence[bytes]) -> list[tuple[int, int]]:
        """Return the heights and codes of those that the node has now."""
        found = await self.answered(lambda remote: remote.transactions(ids))
        return [(item.height, item.result.code) for item in found]

    async def found(self, ids: Sequence[bytes]) -> list[tuple[int, int]]:
        """Wait until the node has all of these; return their heights and codes."""
        places: list[tuple[int, int]] = []
        for at in range(0, len(ids), TOGETHER):  # an answer has a largest size
            wanted = ids[at : at + TOGETHER]
            while len(known := await self.knows(wanted)) < len(wanted):  # noqa: ASYNC110 - asks another process
                await asyncio.sleep(0.05)
            places += known
        return places

    async def acknowledged(self, raws: Sequence[bytes]) -> list[tuple[int, int]]:
        """Submit until the node has them all: what waited where a node died is lost with its mempool."""
        await self.submit(raws)
        places: list[tuple[int, int]] = []
        again = time.monotonic() + AGAIN
        while len(places) < len(raws):
            some = raws[len(places) : len(places) + TOGETHER]
            known = await self.knows(ids_of(some))
            if len(known) == len(some):
                places += known
            elif time.monotonic() > again:
                await self.submit(some)
                again = time.monotonic() + AGAIN
            else:
                await asyncio.sleep(0.05)
        return places

    async def found_all(self, raws: Sequence[bytes]) -> list[tuple[int, int]]:
        """Wait until the node has them all, without offering them."""
        return await self.found(ids_of(raws))

    async def blocks(self, last: int) -> list[LightBlock]:
        """Fetch all light blocks up to a height."""
        return [
            block
            for at in range(1, last + 1)
            for block in await self.answered(lambda remote, at=at: remote.blocks([at]))
        ]

    async def submit(self, raws: Sequence[bytes]) -> list[int]:
        """Submit once the node takes transactions; return the codes."""
        codes: list[int] = []
        for at in range(0, len(raws), TOGETHER):
            some = raws[at : at + TOGETHER]
            codes += [item.code for item in await self.answered(lambda remote, some=some: remote.submit(some))]
        return codes


class Sender:
    """An account that deploys contracts nobody will ever run: a transaction that anyone may send."""

    def __init__(self, genesis: Genesis, name: bytes) -> None:
        self._network = network_id(genesis)
        self._key = SigningKey(SecretBytes(name.ljust(32, b".")))
        self._nonce = 0

    def next(self, count: int) -> list[bytes]:
        raws = []
        for _ in range(count):
            body = Deploy(Code("python", b"%d" % self._nonce, "Token", b"{}"), ContractPolicy())
            raws.append(sign(self._network, self._key, self._nonce, body))
            self._nonce += 1
        return raws


@pytest.fixture(scope="session")
def law() -> Law:
    """Of a production network."""
    return Law(
        name="net",
        guest="00" * 32,
        governance=GovernanceLaw(
            keys=tuple(str(Address.account(item.public)) for item in GOVERNORS), threshold=2, delay_seconds=0
        ),
        committee=CommitteeLaw(seats=3, threshold=2),
        attestation=AttestationLaw(
            measurements=(
                MeasurementLaw(role="worker", measurement="01" * 32),
                MeasurementLaw(role="gatekeeper", measurement="02" * 32),
            )
        ),
    )


@pytest.fixture(scope="session")
def binary() -> Path:
    try:
        return comet_binary(os.environ.get("KEEPHOLD_TEST_COMETBFT", VERSION))
    except ConfigurationError as error:
        pytest.fail(f"no CometBFT: {error}")


@contextmanager
def place_of(node: pytest.Item | pytest.Collector) -> Iterator[Path]:
    """Make a directory with a short path, as sockets want it; what is logged in it is told when a test fails."""
    with tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory:
        node.stash.setdefault(PLACES, []).append(Path(directory))
        yield Path(directory)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    with place_of(request.node) as directory:
        yield directory


@pytest.fixture(scope="module")
def common_place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """For all tests of a module."""
    with place_of(request.node) as directory:
        yield directory


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for place in (place for node in item.listchain() for place in node.stash.get(PLACES, [])):
            report.sections += [(f"end of {log.relative_to(place)}", last_lines(log)) for log in logs_below(place)]
    return report


def logs_below(place: Path) -> list[Path]:
    """Return logs of programs; LevelDB's, which have the same name, are none."""
    return sorted(path for path in place.rglob("*.log") if "data" not in path.relative_to(place).parts)


def last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TOLD_LINES:]
    return "\n".join(line[:TOLD_CHARACTERS] for line in lines)


@pytest.fixture
def start(binary: Path, place: Path) -> Iterator[Callable[..., Cluster]]:
    with ExitStack() as stack:

        def run(validators: int, followers: int = 0, **shape: Any) -> Cluster:
            shape |= {"binary": binary, "validators": validators, "followers": followers, "log": LOG}
            return stack.enter_context(Cluster.start(place, genesis_of, **shape))

        yield run


def made_switch(machines: int) -> Switch:
    try:
        return Switch(machines)
    except ConfigurationError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def machines() -> Callable[[int], Switch]:
    """Makes that many machines, or skips with the reason."""
    return made_switch


@pytest.fixture
def switch() -> Iterator[Switch]:
    """Four machines for nodes, and CLIENT, on which the test runs."""
    with made_switch(CLIENT + 1) as made, made.machines[CLIENT].entered():
        yield made


@pytest.fixture
def new_reader() -> type[Reader]:
    return Reader


@pytest.fixture
def new_sender() -> type[Sender]:
    return Sender


@pytest.fixture
def govern() -> Callable[[Genesis, Action, int], bytes]:
    """The transaction by which two of three governors enact something."""

    def make(genesis: Genesis, action: Action, sequence: int) -> bytes:
        proposal = Proposal(network_id(genesis), sequence, action)
        keys = sorted(GOVERNORS, key=lambda item: item.public)[:2]
        signed = SignedProposal(proposal, tuple(sign_proposal(proposal, item) for item in keys))
        return sign(network_id(genesis), SigningKey(SecretBytes(b"messenger".ljust(32))), 0, Govern(signed))

    return make


@pytest.fixture
def ids() -> Callable[[Sequence[bytes]], list[bytes]]:
    return ids_of


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    async def wait(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)

    return wait


@pytest.fixture
def patiently() -> Callable[[Awaitable[None], Cluster], None]:
    """Run to the end, or for `PATIENCE`; when it fails, say where each node stands."""

    def run(awaitable: Awaitable[None], cluster: Cluster) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE):
                await awaitable

        try:
            asyncio.run(bounded())
        except BaseException as error:
            for number in range(len(cluster)):
                error.add_note(f"node {number} at {cluster.url(number)}: {standing(cluster.url(number))}")
            raise

    return run


def standing(url: str) -> str:
    """Return what a node says of itself."""
    try:
        with urllib.request.urlopen(f"{url}/v1/status", timeout=5) as reply:
            return str(reply.read(TOLD_CHARACTERS).decode(errors="replace"))
    except OSError as error:
        return f"does not answer: {error}"
