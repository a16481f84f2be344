"""JSON-RPC from a server that errs."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

from keephold.base.errors import EncodingError, UnavailableError
from keephold.ledger.engines.cometbft.rpc import MAX_BATCH, RpcClient, RpcError
from keephold.testing.comet.disk import Disk
from keephold.testing.comet.rpc import FakeRpc


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., RpcClient]]:
    servers: list[FakeRpc] = []
    clients: list[RpcClient] = []

    def run(answer=None, offer=lambda raw: None) -> RpcClient:
        path = tmp_path / f"{len(servers)}.sock"
        servers.append(FakeRpc(path, Disk(), offer))
        if answer is not None:
            servers[-1].answer = answer
        servers[-1].start()
        clients.append(RpcClient(path))
        return clients[-1]

    yield run
    for client in clients:
        client.close()
    for server in servers:
        server.stop()


def test_offers_keep_their_order_over_many_batches(serve):
    offered: list[bytes] = []
    client = serve(offer=lambda raw: offered.append(raw) or ("tx already exists in cache" if raw == b"7" else None))
    raws = [b"%d" % n for n in range(2 * MAX_BATCH + 5)]
    outcomes = client.offer(raws)
    assert offered == raws
    assert outcomes[7] == RpcError("tx already exists in cache")
    assert [outcome for at, outcome in enumerate(outcomes) if at != 7] == [None] * (len(raws) - 1)


def test_large_offers_go_in_several_requests(serve):
    sizes: list[int] = []
    client = serve(offer=lambda raw: sizes.append(len(raw)))
    assert client.offer([bytes(1 << 20)] * 20) == [None] * 20
    assert sizes == [1 << 20] * 20


def test_nothing_offered_is_nothing_asked(tmp_path):
    assert RpcClient(tmp_path / "nobody").offer([]) == []


@pytest.mark.parametrize(
    ("text", "known", "full"),
    [
        ("tx already exists in cache", True, False),
        ("mempool is full: number of txs 5000 (max: 5000)", False, True),
        ("mempool is still rechecking after a new committed block, so it is considered as full", False, True),
        ("Tx too large. Max size is 1, but got 2", False, False),
    ],
)
def test_what_a_refusal_means(text, known, full):
    assert (RpcError(text).is_known, RpcError(text).is_full) == (known, full)


@pytest.mark.parametrize("result", [None, {}, {"signed_header": {}}, []])
def test_results_that_are_none(serve, result):
    client = serve(lambda request: {"jsonrpc": "2.0", "id": request["id"], "result": result})
    with pytest.raises(EncodingError):
        client.transactions(1)
    with pytest.raises(EncodingError):
        client.validators(1)


def test_a_page_without_validators_ends_the_asking(serve):
    empty = {"validators": [], "total": "7"}
    client = serve(lambda request: {"jsonrpc": "2.0", "id": request["id"], "result": empty})
    with pytest.raises(EncodingError, match="empty page"):
        client.validators(1)


def test_headers_end_at_the_first_that_is_missing(serve):
    assert serve().signed_headers([1, 2, 3]) == []


def test_a_refused_question(serve):
    with pytest.raises(UnavailableError, match="height 1 must be less"):
        serve().transactions(1)


@pytest.mark.parametrize(
    "reply", [{"id": 99, "result": 1}, {"id": "0", "result": 1}, {"result": 1}, {"id": 0, "error": "text"}, 3, None]
)
def test_what_is_no_answer_to_the_question(serve, reply):
    with pytest.raises(UnavailableError):
        serve(lambda request: reply).transactions(1)


def test_nobody_listens(tmp_path):
    with pytest.raises(UnavailableError, match="does not answer"):
        RpcClient(tmp_path / "nobody").transactions(1)


def test_a_server_that_hangs_up(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
        listener.listen()

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = Thread(target=hang_up)
        thread.start()
        with pytest.raises(UnavailableError, match="does not answer"):
            RpcClient(tmp_path / "sock").transactions(1)
        thread.join()


def test_an_idle_connection_that_was_closed_is_opened_anew(tmp_path):
    path = tmp_path / "sock"
    first = FakeRpc(path, Disk(), lambda raw: None)
    first.start()
    client = RpcClient(path)
    assert client.offer([b"x"]) == [None]
    first.stop()
    client._idle[0].sock.close()
    second = FakeRpc(path, Disk(), lambda raw: None)
    second.start()
    assert client.offer([b"x"]) == [None]
    client.close()
    second.stop()
