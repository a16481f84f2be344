"""The adapter behind its socket, asked by hand: every method, and what must never happen."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keephold.base.errors import ConfigurationError, EncodingError
from keephold.ledger.engines.base import FinalizedBlock
from keephold.ledger.engines.cometbft import messages
from keephold.ledger.engines.cometbft.adapter import ORDERED, Adapter
from keephold.ledger.engines.cometbft.messages import Request, Response, answer, parse
from keephold.ledger.engines.cometbft.server import AbciServer
from keephold.ledger.engines.cometbft.wire import frame
from keephold.ledger.engines.statesync import Offered, Taken
from keephold.testing.comet.dialer import CometStopped, Dialer, make
from keephold.testing.comet.snapshots import NoSnapshots


class Ears:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def checked(self, raw, admission) -> None:
        self.heard.append((raw, admission.code))

    def finalized(self, block) -> None:
        self.heard.append(block.height)

    def committed(self, height) -> None:
        self.heard.append(-height)

    def restored(self) -> None:
        self.heard.append("restored")

    def retained(self) -> int:
        return 0


class Desk:
    def __init__(self, path: Path, application, founding) -> None:
        self.application = application
        self.ears = Ears()
        self.ended: list[str] = []
        self.adapter = Adapter(application, founding, self.ears, NoSnapshots())
        self.server = AbciServer(path, self.adapter.answer, self.ended.append)
        self.server.start()
        self.dialers: list[Dialer] = []
        self.path = path

    def dial(self) -> Dialer:
        self.dialers.append(Dialer(self.path))
        return self.dialers[-1]

    def close(self) -> None:
        for dialer in self.dialers:
            dialer.close()
        self.server.stop()


@pytest.fixture
def desk(tmp_path, toy, founding) -> Iterator[Desk]:
    made = Desk(tmp_path / "abci.sock", toy(), founding)
    yield made
    made.close()


# --- each method ---


def test_echo(desk):
    assert desk.dial().call("echo", message="hällo").message == "hällo"


def test_info_states_the_last_commit(desk):
    info = desk.dial().call("info", abci_version="2.0.0")
    assert (info.last_block_height, info.last_block_app_hash) == (0, desk.application.info().app_hash)


@pytest.mark.parametrize("version", ["", "1.0.0", "2.1.0", "2.0.0 "])
def test_another_abci_version_is_told_to_stop(desk, version):
    with pytest.raises(CometStopped, match=r"is not 2\.0\.0"):
        desk.dial().call("info", abci_version=version)


def test_init_chain_returns_hash_and_validators(desk, founding):
    request = make("init_chain", chain_id=founding.chain_id, initial_height=1)
    request.init_chain.time.seconds, request.init_chain.time.nanos = divmod(founding.time_ns, 10**9)
    for validator in founding.validators.validators:
        request.init_chain.validators.add(power=validator.power).pub_key.ed25519 = validator.public_key
    (reply,) = desk.dial().exchange([request])
    assert reply.app_hash == desk.application.info().app_hash
    assert [item.pub_key.ed25519 for item in reply.validators] == [
        item.public_key for item in founding.validators.validators
    ]


def test_check_tx_gives_code_and_word(desk):
    good, bad = desk.dial().exchange([make("check_tx", tx=b"good"), make("check_tx", tx=b"bad")])
    assert (good.code, good.log) == (0, "")
    assert (bad.code, bad.log) == (3, "bad")
    assert desk.ears.heard == [(b"good", 0), (b"bad", 3)]


def test_what_was_ordered_has_to_leave_the_mempool(desk):
    consensus = desk.dial()
    consensus.call("finalize_block", txs=[b"2nd"], height=1)
    consensus.call("commit")
    assert consensus.call("check_tx", tx=b"2nd", type=messages.RECHECK).code == ORDERED


def test_a_proposal_keeps_within_the_bytes_that_protobuf_adds(desk):
    raws = [bytes([n]) * 100 for n in range(10)]
    chosen = desk.dial().call("prepare_proposal", txs=raws, max_tx_bytes=1010).txs
    assert list(chosen) == raws[:9], "ten have 1000 bytes, and 20 more in a block"
    assert list(desk.dial().call("prepare_proposal", txs=raws, max_tx_bytes=1).txs) == []


@pytest.mark.parametrize(("accepts", "status"), [(True, messages.ACCEPT), (False, messages.REJECT)])
def test_a_proposal_is_accepted_or_rejected(desk, accepts, status):
    desk.application.accepts = accepts
    assert desk.dial().call("process_proposal", txs=[b"x"]).status == status


def test_finalize_computes_and_commit_makes_durable(desk):
    consensus = desk.dial()
    reply = consensus.call("finalize_block", txs=[b"one", b"two"], height=1, hash=bytes(32))
    assert [(item.code, item.data, item.log) for item in reply.tx_results] == [
        (1, b"one", "for people"),
        (0, b"two", "for people"),
    ]
    assert [(item.gas_wanted, item.gas_used, len(item.events)) for item in reply.tx_results] == [(0, 0, 0)] * 2
    assert desk.application.durable == []
    assert desk.ears.heard == [1]
    consensus.call("commit")
    assert desk.application.seen == [b"one", b"two"]
    assert desk.ears.heard == [1, -1]
    assert desk.dial().call("info", abci_version="2.0.0").last_block_app_hash == reply.app_hash


def test_a_block_finalized_twice_is_committed_once(desk):
    consensus = desk.dial()
    consensus.call("finalize_block", txs=[b"one"], height=1)
    consensus.call("finalize_block", txs=[b"two"], height=1)
    consensus.call("commit")
    assert desk.application.seen == [b"two"]


def test_another_number_of_results_is_told_to_stop(desk, monkeypatch):
    monkeypatch.setattr(desk.application, "finalize", lambda block: FinalizedBlock((), bytes(32)))
    with pytest.raises(CometStopped, match="another number of transactions"):
        desk.dial().call("finalize_block", txs=[b"one"], height=1)


def test_a_chain_that_does_not_begin_at_one_is_told_to_stop(desk, founding):
    request = make("init_chain", chain_id=founding.chain_id, initial_height=2)
    request.init_chain.time.seconds, request.init_chain.time.nanos = divmod(founding.time_ns, 10**9)
    with pytest.raises(CometStopped, match="first height"):
        desk.dial().exchange([request])


def test_commit_without_a_block_is_told_to_stop(desk):
    with pytest.raises(CometStopped, match="without a finalized block"):
        desk.dial().call("commit")


def test_vote_extensions_are_empty_and_accepted(desk):
    assert desk.dial().call("extend_vote", height=1).vote_extension == b""
    assert desk.dial().call("verify_vote_extension", height=1).status == messages.ACCEPT


def test_a_query_is_answered_with_its_proof_where_one_is_asked_for(desk):
    reply = desk.dial().call("query", path="/map", data=b"key", height=5, prove=True)
    assert (reply.code, reply.key, reply.value, reply.height) == (0, b"key", b"value", 5)
    assert [(op.type, op.key, op.data) for op in reply.proof_ops.ops] == [("keephold:map", b"key", b"proof")]
    plain = desk.dial().call("query", path="/map", data=b"key")
    assert (plain.value, plain.height, list(plain.proof_ops.ops)) == (b"value", 7, [])


def test_a_query_for_nothing_says_what_could_be_asked(desk):
    reply = desk.dial().call("query", path="/store", data=b"key")
    assert (reply.code, reply.key, reply.log) == (1, b"key", "ask /map")


def test_without_snapshots_state_sync_is_declined(desk):
    snapshot = desk.dial()
    assert list(snapshot.call("list_snapshots").snapshots) == []
    assert snapshot.call("offer_snapshot").result == messages.OFFERED[Offered.ABORT]
    assert snapshot.call("load_snapshot_chunk", height=1).chunk == b""
    assert snapshot.call("apply_snapshot_chunk", chunk=b"x").result == messages.TAKEN[Taken.ABORT]


def test_every_request_of_the_protocol_has_a_handler(desk):
    assert set(desk.adapter._handlers) == set(Request.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("kind", sorted(set(Response.DESCRIPTOR.fields_by_name)))
def test_an_empty_answer_still_selects_its_member(kind):
    assert parse(Response, answer(kind).SerializeToString()).WhichOneof("value") == kind


# --- the connection ---


def test_answers_keep_their_order_over_a_long_pipeline(desk):
    replies = desk.dial().exchange([make("echo", message=str(n)) for n in range(5000)])
    assert [reply.message for reply in replies] == [str(n) for n in range(5000)]


def test_a_request_in_single_bytes(desk):
    dialer = desk.dial()
    for byte in frame(make("echo", message="x").SerializeToString()):
        dialer.send_raw(bytes([byte]))
    assert dialer._take("echo").message == "x"


@pytest.mark.parametrize(
    "sent",
    [b"\xff\xff\xff\xff", frame(b""), frame(b"\x08"), frame(b"\xfa\x06\x00"), frame(b"\x0a\x05ab")],
    ids=["endless length", "no member", "torn", "unknown member", "torn inside"],
)
def test_bytes_that_are_no_request_end_the_connection_and_no_other(desk, sent, wait):
    other, dialer = desk.dial(), desk.dial()
    other.call("echo", message="x")
    dialer.send_raw(sent)
    assert dialer.wait_closed() == b""
    wait(lambda: len(desk.ended) == 1)
    assert desk.ended[0].startswith("abci: ")
    assert other.call("echo", message="still here").message == "still here"


def test_hanging_up_inside_a_message_is_told(desk, wait):
    dialer = desk.dial()
    dialer.send_raw(b"\x05a")
    dialer.close()
    wait(lambda: desk.ended == ["CometBFT ended a connection inside a message"])


def test_answers_before_a_failure_are_still_sent(desk):
    dialer = desk.dial()
    dialer.send_raw(frame(make("echo", message="x").SerializeToString()) + frame(make("commit").SerializeToString()))
    assert dialer._take("echo").message == "x"
    with pytest.raises(CometStopped, match="without a finalized block"):
        dialer._take("commit")


def test_the_socket_is_this_users_alone(desk):
    assert desk.path.stat().st_mode & 0o777 == 0o600


def test_a_stale_socket_is_replaced_and_removed_at_the_end(tmp_path, toy, founding):
    path = tmp_path / "abci.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    desk = Desk(path, toy(), founding)
    assert desk.dial().call("echo", message="x").message == "x"
    desk.close()
    assert not path.exists()


def test_a_path_that_no_socket_can_have(tmp_path):
    with pytest.raises(ConfigurationError, match="too long"):
        AbciServer(tmp_path / ("x" * 110), answer, print)


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot listen"):
        AbciServer(tmp_path / "no" / "abci.sock", answer, print)


def test_a_server_that_never_started_stops(tmp_path):
    AbciServer(tmp_path / "abci.sock", answer, print).stop()


def test_parsing_is_refused_by_the_declared_error():
    with pytest.raises(EncodingError):
        parse(Request, b"\x00")
