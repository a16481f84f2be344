"""CometBFT's own tools on the network: its RPC by plain HTTP, and its light client, which no liar fools."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from keephold.chain.chain_id import chain_id
from keephold.chain.header import BlockIdFlag, SignedHeader
from keephold.chain.sparse import MapProof, verify_map
from keephold.chain.validators import Validator
from keephold.chain.vote import Precommits
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft.records import read_signed_header
from keephold.ledger.engines.cometbft.spelling import signed_header
from keephold.programs.founding import Plan, found
from keephold.programs.law_tables import Law
from keephold.programs.members import CONFIG
from keephold.protocol.genesis import network_id
from keephold.testing.ports import LOOPBACK, free_port, free_row
from keephold.testing.supervisor import Program, Supervisor

pytestmark = [pytest.mark.comet, pytest.mark.slow]

SECONDS = 300.0


class Net:
    """Four nodes as `network init` makes them: CometBFT's RPC on loopback."""

    def __init__(self, place: Path, binary: Path, law: Law) -> None:
        founded = found(place / "net", law, Plan((LOOPBACK,) * 4, *rows(4), binary=str(binary)))
        self.genesis, self.rpcs, self.urls = founded.genesis, founded.rpcs, founded.urls
        self.seeds = [(member / "validator.seed").read_bytes() for member in founded.members]
        (place / "logs").mkdir()
        self.supervisor = Supervisor(place / "logs")
        for member in founded.members:
            path = member / CONFIG
            path.write_text(path.read_text().replace("heartbeat = 30.0", "heartbeat = 1.0"))
            self.supervisor.start(Program(member.name, "keephold.programs.node", ("--config", str(path))))

    def __len__(self) -> int:
        return len(self.urls)

    def url(self, number: int) -> str:
        return self.urls[number]

    def log(self, number: int) -> Path:
        return self.supervisor.log(f"v{number}")

    @property
    def chain(self) -> str:
        return chain_id(network_id(self.genesis))


def rows(length: int) -> tuple[int, int, int]:
    """Return three ports from which on enough are free."""
    first = free_row(3 * length)
    return first, first + length, first + 2 * length


@pytest.fixture(scope="module")
def net(binary: Path, law: Law, common_place: Path) -> Iterator[Net]:
    """Four nodes that have found each other: each can be asked for what each other one has."""
    made = Net(common_place, binary, law)
    try:
        for url in made.rpcs:
            until(lambda url=url: height(url) > 3 and peers(url) == 3)
        yield made
    finally:
        made.supervisor.stop()


def get(url: str, path: str) -> dict[str, Any]:
    """Return what is answered as JSON, be it an error; nothing where there is no such answer."""
    try:
        return json.loads(reachable(f"{url}{path}"))
    except ValueError:
        return {}


def result(url: str, path: str, word: str = "result") -> dict[str, Any]:
    """Ask until there is one; return it."""
    deadline = time.monotonic() + SECONDS
    while word not in (answer := get(url, path)):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer[word]


def height(url: str) -> int:
    return int(get(url, "/status").get("result", {}).get("sync_info", {}).get("latest_block_height", -1))


def peers(url: str) -> int:
    return int(get(url, "/net_info").get("result", {}).get("n_peers", -1))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def trusted(net: Net, at: int = 1) -> tuple[str, str]:
    header = result(net.rpcs[0], f"/commit?height={at}")["signed_header"]
    return str(at), header["commit"]["block_id"]["hash"]


class LightClient:
    """`cometbft light` as a process, over a port of its own."""

    def __init__(self, net: Net, binary: Path, home: Path, primary: str, witnesses: list[str]) -> None:
        at, digest = trusted(net)
        port = free_port(0)
        self.url = f"http://{LOOPBACK}:{port}"
        self.log = home / "log"
        words = ["light", net.chain, "--primary", primary, "--witnesses", ",".join(witnesses), "--height", at]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, *words, "--hash", digest, "--home-dir", home, "--laddr", f"tcp://{LOOPBACK}:{port}"],
                stdout=log,
                stderr=log,
            )

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def light(net, binary, tmp_path) -> Iterator[Callable[..., LightClient]]:
    started: list[LightClient] = []

    def run(primary: str, witnesses: list[str]) -> LightClient:
        started.append(LightClient(net, binary, tmp_path, primary, witnesses))
        return started[-1]

    yield run
    for client in started:
        client.process.kill()
        client.process.wait()


def test_plain_http_reads_the_chain_and_sends_transactions(net, new_reader, new_sender, ids, patiently):
    status = result(net.rpcs[1], "/status")
    assert status["node_info"]["network"] == net.chain
    at = int(status["sync_info"]["latest_block_height"])
    assert result(net.rpcs[1], f"/block?height={at}")["block"]["header"]["height"] == str(at)
    assert result(net.rpcs[1], "/validators")["total"] == "4"
    until(lambda: peers(net.rpcs[1]) == 3)
    assert b"404" in reachable(f"{net.rpcs[1]}/dial_peers?peers=[]"), "no unsafe method is offered"
    (raw,) = new_sender(net.genesis, b"carol").next(1)
    sent = get(net.rpcs[1], f"/broadcast_tx_sync?tx=0x{raw.hex()}")["result"]
    assert sent["code"] == 0
    refused = get(net.rpcs[1], "/broadcast_tx_sync?tx=0x00")["result"]
    assert refused["code"] != 0
    assert refused["log"]

    async def run() -> None:
        reader = new_reader(net, 2)
        ((_, code),) = await reader.found(ids([raw]))
        assert code == 0
        await reader.remote.aclose()

    patiently(run(), net)


def test_the_nodes_metrics_tell_of_comets_peers(net):
    until(
        lambda: {b"keephold_peers 3", b"keephold_engine_up 1"} <= set(reachable(f"{net.urls[0]}/metrics").splitlines())
    )


def test_abci_query_answers_with_a_proof_under_the_next_header(net):
    found = result(net.rpcs[2], '/abci_query?path="/governance"&prove=true')["response"]
    (op,) = found["proofOps"]["ops"]
    key, at = base64.b64decode(found["key"]), int(found["height"])
    until(lambda: height(net.rpcs[0]) > at)
    header = result(net.rpcs[0], f"/commit?height={at + 1}")["signed_header"]["header"]
    value = base64.b64decode(found["value"] or "")
    assert op["type"] == "keephold:map"
    verify_map(bytes.fromhex(header["app_hash"]), key, MapProof.decode(base64.b64decode(op["data"])), value or None)
    refused = result(net.rpcs[2], '/abci_query?path="/store/acc"')["response"]
    assert refused["code"] == 1
    assert "ask /map" in refused["log"]


def test_the_light_client_of_cometbft_follows_the_network(net, light):
    client = light(net.rpcs[0], net.rpcs[1:])
    until(lambda: height(client.url) > 0 or client.process.poll() is not None)
    assert client.process.poll() is None, client.said()
    newest = height(net.rpcs[0])
    for url in net.rpcs:  # those with whom it compares have it too
        until(lambda url=url: height(url) > newest + 1)
    seen = result(client.url, f"/commit?height={newest}")["signed_header"]
    real = result(net.rpcs[3], f"/commit?height={newest}")["signed_header"]
    assert seen["commit"]["block_id"] == real["commit"]["block_id"], client.said()
    assert result(client.url, f"/validators?height={newest}")["total"] == "4"
    # The proxy knows the proofs of no application but Cosmos': it passes on none that it cannot verify.
    assert result(client.url, '/abci_query?path="/governance"', "error")


class Liar:
    """A primary that forwards to a node and alters what its answers say."""

    def __init__(self, real: str, alter: Callable[[dict[str, Any]], None]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = self.rfile.read(int(self.headers["Content-Length"]))
                request = urllib.request.Request(real, asked, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=20) as reply:
                    answer = json.load(reply)
                if json.loads(asked)["method"] == "commit" and "result" in answer:
                    alter(answer["result"])
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                """Pass a websocket through: the light client opens one and is told nothing over it."""
                port = int(real.rpartition(":")[2])
                with socket.create_connection((LOOPBACK, port)) as node:
                    node.sendall(f"{self.requestline}\r\n{self.headers}".encode())
                    answering = threading.Thread(target=splice, args=(node, self.connection), daemon=True)
                    answering.start()
                    splice(self.connection, node)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def splice(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(1 << 16):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def liar() -> Iterator[Callable[..., Liar]]:
    made: list[Liar] = []

    def run(*given: Any) -> Liar:
        made.append(Liar(*given))
        return made[-1]

    yield run
    for item in made:
        item.server.shutdown()
        item.server.server_close()


def found_out(net: Net, client: LightClient, *told: str) -> None:
    """Ask for a header until the client has said one of these words; no answer is the lie.

    A node that does not answer in time it may leave for another one, and find out by a later header.
    """
    at = 3

    def heard() -> bool:
        nonlocal at
        answered = reachable(f"{client.url}/commit?height={at}").decode()
        if answered:
            at = max(at, height(net.rpcs[0]) - 1)
        assert "00" * 32 not in answered, "the lie"
        said = answered + client.said()
        assert client.process.poll() is None or any(word in said for word in told), said
        return any(word in said for word in told)

    until(heard)


def reachable(url: str) -> bytes:
    """Return what is answered, with whatever status; nothing where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=60) as reply:
            return reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.read()
    except (OSError, http.client.HTTPException):
        return b""


def test_a_primary_that_alters_a_header_is_refused(net, light, liar):
    def alter(result: dict[str, Any]) -> None:
        header = result["signed_header"]["header"]
        if int(header["height"]) > 2:
            header["app_hash"] = "00" * 32

    client = light(liar(net.rpcs[0], alter).url, net.rpcs[1:])
    found_out(net, client, "client provided bad signed header")
    assert "removing" in client.said(), "it goes on with an honest one"


def test_a_fork_that_all_validators_signed_is_found_by_comparing_with_a_witness(net, light, liar):
    """Whoever held every validator's key could sign another history; its header is valid, and not the witnesses'."""
    keys = {}
    for seed in net.seeds:
        key = ValidatorKey(SecretBytes(seed))
        keys[Validator(key.public, 1).address] = key

    def alter(result: dict[str, Any]) -> None:
        signed = read_signed_header(result)
        if signed.header.height > 2:
            result["signed_header"] = signed_header(forked(signed, net.chain, keys))

    found_out(net, light(liar(net.rpcs[0], alter).url, net.rpcs[1:]), "divergence", "conflicting")


def forked(signed: SignedHeader, chain: str, keys: dict[bytes, ValidatorKey]) -> SignedHeader:
    """Return another header of that height, with the commit of everybody who signed the real one."""
    header = replace(signed.header, app_hash=bytes(32))
    commit = signed.commit
    block = replace(commit.block_id, hash=header.hash())
    votes = Precommits(chain, commit.height, commit.round, block)
    signatures = tuple(
        replace(item, signature=keys[item.address].sign(votes.sign_bytes(item.time_ns)))
        if item.flag is BlockIdFlag.COMMIT
        else item
        for item in commit.signatures
    )
    return SignedHeader(header, replace(commit, block_id=block, signatures=signatures))
