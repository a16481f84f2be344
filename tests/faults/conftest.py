"""Networks of real CometBFT, and readers that believe nothing."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from keephold.base.errors import ConfigurationError, NodeUnreachable, UnavailableError
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.remote import HttpRemote
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

SECOND = 10**9
PATIENCE = 90.0
AGAIN = 5.0
CLIENT = 4
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

    async def found(self, ids: Sequence[bytes]) -> list[tuple[int, int]]:
        """Wait until the node has all of these; return their heights and codes."""
        while True:
            with suppress(NodeUnreachable, UnavailableError):
                found = await self.remote.transactions(ids)
                if len(found) == len(ids):
                    return [(item.height, item.result.code) for item in found]
            await asyncio.sleep(0.05)

    async def acknowledged(self, raws: Sequence[bytes]) -> list[tuple[int, int]]:
        """Submit until the node has them all: what waited where a node died is lost with its mempool."""
        while True:
            await self.submit(raws)
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    return await self.found(ids_of(raws))

    async def found_all(self, raws: Sequence[bytes]) -> list[tuple[int, int]]:
        """Wait until the node has them all, without offering them."""
        return await self.found(ids_of(raws))

    async def blocks(self, last: int) -> list[LightBlock]:
        """Fetch all light blocks up to a height."""
        return [block for at in range(1, last + 1) for block in await self.remote.blocks([at])]

    async def submit(self, raws: Sequence[bytes]) -> list[int]:
        """Submit once the node takes transactions; return the codes."""
        while True:
            with suppress(NodeUnreachable, UnavailableError):
                return [verdict.code for verdict in await self.remote.submit(raws)]
            await asyncio.sleep(0.05)


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


@pytest.fixture
def start(binary: Path) -> Iterator[Callable[..., Cluster]]:
    started: list[Cluster] = []

    def run(validators: int, followers: int = 0, **shape: Any) -> Cluster:
        shape |= {"binary": binary, "validators": validators, "followers": followers}
        started.append(Cluster.start(Path(directory), genesis_of, **shape))
        return started[-1]

    with tempfile.TemporaryDirectory(prefix="keephold-", dir="/tmp") as directory:  # sockets want short paths
        yield run
        for cluster in started:
            cluster.stop()


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
    """Run to the end; when it takes too long, show what the nodes said."""

    def run(awaitable: Awaitable[None], cluster: Cluster) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(PATIENCE):
                await awaitable

        try:
            asyncio.run(bounded())
        except TimeoutError:
            logs = [cluster.log(number).read_text()[-3000:] for number in range(len(cluster))]
            pytest.fail("the network did not get there:\n" + "\n---\n".join(logs))

    return run
