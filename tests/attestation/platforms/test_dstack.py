from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from keephold.attestation.platforms.base import SealingPlatform
from keephold.attestation.platforms.dstack import DstackKmsPlatform, DstackPlatform
from keephold.attestation.policy import report_data
from keephold.attestation.quotes import TdReport
from keephold.attestation.verify import verify
from keephold.base.errors import ConfigurationError, QuoteUnavailable
from keephold.protocol.evidence import AllowedMeasurement, CollateralFloor, RuntimeEvent
from keephold.testing.vendor import Machine, TdxBuild

REPORT_DATA = b"r" * 64
Answer = Callable[[str, dict[str, str]], tuple[int, bytes]]


@contextmanager
def agent(path: Path, answer: Answer) -> Iterator[list[tuple[str, dict[str, str]]]]:
    asked: list[tuple[str, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, question))
            status, body = answer(self.path, question)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

        def address_string(self) -> str:
            return "agent"

    with socketserver.UnixStreamServer(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def quoting(quote: bytes = b"quote", log: object = ()) -> Answer:
    return lambda *_: (200, json.dumps({"quote": quote.hex(), "event_log": json.dumps(log), "more": 1}).encode())


def plain(path: Path, kind: type[DstackPlatform] = DstackPlatform) -> DstackPlatform:
    return kind(vendor="intel", environment={}, agent=path)


def test_a_quote_with_the_events_of_the_runtime_register(tmp_path) -> None:
    log = [
        {"imr": 0, "event_type": 1, "digest": "00" * 48, "event": "", "event_payload": "00"},
        {"imr": 3, "event_type": 134217729, "digest": "00" * 48, "event": "app-id", "event_payload": "abcd"},
    ]
    with agent(tmp_path / "s", quoting(log=log)) as asked:
        evidence = plain(tmp_path / "s").quote(REPORT_DATA)
    assert asked == [("/GetQuote", {"report_data": REPORT_DATA.hex()})]
    assert evidence.quote == b"quote"
    assert evidence.events == (RuntimeEvent("app-id", b"\xab\xcd"),)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"[]"),
        (200, b'{"quote": "zz", "event_log": "[]"}'),
        (200, b'{"quote": "", "event_log": "[]"}'),
        (200, b'{"quote": "00", "event_log": "{"}'),
        (200, b'{"quote": "00", "event_log": "[{\\"imr\\":3,\\"event_payload\\":\\"zz\\"}]"}'),
        (200, b'{"quote": 1}'),
        (200, b" " * ((1 << 20) + 1)),
        (500, b'{"quote": "00", "event_log": "[]"}'),
    ],
)
def test_nonsense_is_reported(tmp_path, answer) -> None:
    with agent(tmp_path / "s", lambda *_: answer), pytest.raises(QuoteUnavailable):
        plain(tmp_path / "s").quote(REPORT_DATA)


def test_a_log_longer_than_any_is_reported(tmp_path) -> None:
    log = [{"imr": 3, "event": "e", "event_payload": ""}] * 65
    with agent(tmp_path / "s", quoting(log=log)), pytest.raises(QuoteUnavailable):
        plain(tmp_path / "s").quote(REPORT_DATA)


def test_no_agent_is_a_matter_of_configuration(tmp_path) -> None:
    with pytest.raises(ConfigurationError):
        plain(tmp_path / "absent").quote(REPORT_DATA)


def test_the_simulators_variable_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigurationError):
        DstackPlatform(vendor="intel", environment={"DSTACK_SIMULATOR_ENDPOINT": ""}, agent=tmp_path)


def test_report_data_has_one_size(tmp_path) -> None:
    with pytest.raises(ConfigurationError):
        plain(tmp_path / "absent").quote(b"short")


def test_sealing_is_another_type(tmp_path) -> None:
    assert not isinstance(plain(tmp_path), SealingPlatform)
    assert isinstance(plain(tmp_path, DstackKmsPlatform), SealingPlatform)


def test_a_key_for_each_context(tmp_path) -> None:
    with agent(tmp_path / "s", lambda *_: (200, json.dumps({"key": "ab" * 32}).encode())) as asked:
        platform = plain(tmp_path / "s", DstackKmsPlatform)
        key = platform.sealing_key(b"disk")
        assert len(key) == 32
        assert key == platform.sealing_key(b"disk")
        assert key != platform.sealing_key(b"cache")
    assert {path for path, _ in asked} == {"/GetKey"}


@pytest.mark.parametrize("key", ["", "ab" * 31, "zz" * 32])
def test_a_key_out_of_form_is_reported(tmp_path, key) -> None:
    with agent(tmp_path / "s", lambda *_: (200, json.dumps({"key": key}).encode())), pytest.raises(QuoteUnavailable):
        plain(tmp_path / "s", DstackKmsPlatform).sealing_key(b"disk")


def test_two_instances_of_one_application_are_one_measurement(tmp_path, tdx) -> None:
    """From the agent to the verified identity, with the development vendor as hardware."""
    measured = set()
    for instance in (b"1" * 20, b"2" * 20):
        events = [("compose-hash", b"h" * 32), ("instance-id", instance)]
        register = bytes(48)
        for name, payload in events:
            digest = hashlib.sha384(b"\x01\x00\x00\x08:" + name.encode() + b":" + payload).digest()
            register = hashlib.sha384(register + digest).digest()
        build = TdxBuild(mr_td=b"m" * 48, rtmr=(bytes(48), bytes(48), bytes(48), register))
        log = [{"imr": 3, "event": name, "event_payload": payload.hex()} for name, payload in events]
        quote = tdx.vendor.quote(build, report_data(tdx.claim), Machine.named("one"))
        path = tmp_path / instance.decode()
        with agent(path, quoting(quote, log)):
            evidence = DstackPlatform(vendor="development", environment={}, agent=path).quote(report_data(tdx.claim))
        allowed = AllowedMeasurement(_measured(build, evidence.events), "worker")
        policy = type(tdx.policy)((tdx.vendor.entry,), (allowed,), tdx.policy.quote_window_ns)
        identity = verify(
            evidence, tdx.claim, tdx.collateral, policy, CollateralFloor(), network=tdx.network, now_ns=tdx.now_ns
        )
        measured.add(identity.measurement)
    assert len(measured) == 1


def _measured(build: TdxBuild, events: tuple[RuntimeEvent, ...]) -> bytes:
    from keephold.attestation.policy import measurement

    registers = [register.hex() for register in (build.mr_td, *build.rtmr, *[bytes(48)] * 3)]
    return measurement(TdReport(*registers, report_data=""), events)
