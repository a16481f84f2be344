"""The machine endpoints answer with records that a light client can check, and refuse with one declared error."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from keephold.api.machine import MAX_SUBMISSION, MachineApi
from keephold.base.errors import EncodingError, InputError
from keephold.chain.sparse import MapProof, verify_map
from keephold.chain.wire import decode_signed_header
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import RevokePermits, sign
from keephold.protocol.wire import (
    BlocksRequest,
    Frame,
    Interest,
    LightBlocks,
    ProveAnswer,
    ProveRequest,
    StreamRequest,
    Submission,
    Verdicts,
)

UNTIMED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]

ALICE = SigningKey.generate()


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 120))


def test_a_submitted_transaction_shows_in_the_stream_and_under_a_proof(node):
    reader, engine, network = node
    api = MachineApi(reader, engine)

    async def scenario():
        raw = sign(network, ALICE, 0, RevokePermits())
        verdicts = decode(await api.submit(encode(Submission((raw, raw)))), Verdicts).verdicts
        assert [verdict.code for verdict in verdicts] == [0, 0]
        engine.step()
        engine.step()
        interest = Interest(paths=(account_path(ALICE.public),), identities=(ALICE.public,))
        stream = api.stream(encode(StreamRequest(1, interest)))
        assert await anext(stream) == b""
        first, second = decode(await anext(stream), Frame), decode(await anext(stream), Frame)
        await stream.aclose()
        assert [found.raw for found in first.transactions] == [raw]
        header = decode_signed_header(second.signed_header).header
        (proven,) = second.values
        verify_map(header.app_hash, proven.path, MapProof.decode(proven.proof), proven.value)
        assert decode(proven.value, AccountRecord) == AccountRecord(nonce=1, generation=1)
        answer = decode(await api.prove(encode(ProveRequest(0, (account_path(ALICE.public),)))), ProveAnswer)
        assert answer.values[0].value == proven.value
        lights = decode(await api.blocks(encode(BlocksRequest((1, 0)))), LightBlocks).blocks
        assert [light.height for light in lights] == [1, 2]

    run(scenario())


def test_the_genesis_is_served_as_it_is_hashed(node):
    reader, engine, network = node
    served = run(MachineApi(reader, engine).genesis(b""))
    assert network_id(decode(served, Genesis)) == network


def test_too_much_is_refused_before_it_is_looked_at(node):
    reader, engine, _ = node
    api = MachineApi(reader, engine)
    with pytest.raises(InputError):
        run(api.submit(encode(Submission((b"x",) * (MAX_SUBMISSION + 1)))))
    with pytest.raises(InputError):
        run(api.submit(encode(Submission((bytes(2 << 20),)))))
    with pytest.raises(InputError):
        run(api.prove(encode(ProveRequest(99, ()))))


@settings(suppress_health_check=UNTIMED, max_examples=60, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["submit", "prove", "blocks", "transactions", "inbox", "slots"]))
def test_any_bytes_are_answered_or_refused_with_a_declared_error(node, body, name):
    reader, engine, _ = node
    with contextlib.suppress(EncodingError, InputError):
        assert isinstance(run(MachineApi(reader, engine).endpoints[name](body)), bytes)
