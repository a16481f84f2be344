"""A validator votes twice at one height: real CometBFT proves it in a block, and every ledger records who it was."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from keephold.base.errors import NodeUnreachable, UnavailableError
from keephold.chain.header import BlockId
from keephold.chain.validators import Validator, decode_validator_set
from keephold.chain.vote import Precommits
from keephold.chain.wire import decode_signed_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft.records import write_time
from keephold.protocol.codec import decode
from keephold.protocol.offences import Offences, offences_path

pytestmark = [pytest.mark.comet, pytest.mark.slow]


def vote(key: ValidatorKey, chain: str, height: int, index: int, time_ns: int, block: BlockId) -> dict[str, object]:
    """A precommit in CometBFT's JSON, signed by its validator."""
    signature = key.sign(Precommits(chain, height, 0, block).sign_bytes(time_ns))
    parts = {"total": block.parts_total, "hash": block.parts_hash.hex().upper()}
    return {
        "type": 2,
        "height": str(height),
        "round": 0,
        "block_id": {"hash": block.hash.hex().upper(), "parts": parts},
        "timestamp": write_time(time_ns),
        "validator_address": Validator(key.public, 1).address.hex().upper(),
        "validator_index": index,
        "signature": base64.b64encode(signature).decode(),
        "extension": None,
        "extension_signature": None,
    }


async def submit(socket: Path, evidence: dict[str, object]) -> dict[str, object]:
    transport = httpx2.AsyncHTTPTransport(uds=str(socket))
    async with httpx2.AsyncClient(transport=transport, base_url="http://comet", timeout=60) as client:
        request = {"jsonrpc": "2.0", "id": 1, "method": "broadcast_evidence", "params": {"evidence": evidence}}
        return json.loads((await client.post("/", json=request)).content)


def test_two_votes_at_one_height_are_recorded_on_every_node(start, new_reader, new_sender, ids, patiently):
    cluster = start(4)

    async def run() -> None:
        readers = [new_reader(cluster, number) for number in range(4)]
        sender = new_sender(cluster.genesis, b"alice")
        raws = sender.next(2)
        assert await readers[0].submit(raws) == [0, 0]
        (height, _), *_ = await readers[0].found(ids(raws))
        # The fourth validator's key signs two blocks of that height that nobody proposed.
        key = ValidatorKey(SecretBytes((cluster.home(3).parent / "validator.seed").read_bytes()))
        (block,) = await readers[0].answered(lambda remote: remote.blocks([height]))
        header = decode_signed_header(block.signed_header).header
        validators = decode_validator_set(block.validators)
        index = next(at for at, item in enumerate(validators.validators) if item.public_key == key.public)
        blocks = [BlockId(bytes([n]) * 32, 1, bytes([n]) * 32) for n in (1, 2)]
        first, second = (vote(key, header.chain_id, height, index, header.time_ns, item) for item in blocks)
        evidence = {
            "type": "tendermint/DuplicateVoteEvidence",
            "value": {
                "vote_a": first,
                "vote_b": second,
                "TotalVotingPower": "40",
                "ValidatorPower": "10",
                "Timestamp": write_time(header.time_ns),
            },
        }
        said = await submit(cluster.home(0) / "cometbft" / "rpc.sock", evidence)
        assert "result" in said, said
        # Every node has it under its root, and a proof of it.
        for reader in readers:
            recorded = await proven(reader)
            (item,) = recorded.newest
            assert (item.kind, item.public_key, item.height) == ("duplicate_vote", key.public, height)
            assert (item.power, item.time_ns) == (10, header.time_ns)
        # Nothing followed: it goes on voting.
        more = sender.next(1)
        assert await readers[3].submit(more) == [0]
        await readers[0].found(ids(more))
        (newest,) = await readers[0].answered(lambda remote: remote.blocks([0]))
        assert len(decode_validator_set(newest.next_validators).validators) == 4
        for reader in readers:
            await reader.remote.aclose()

    patiently(run(), cluster)


async def proven(reader) -> Offences:
    """Follow until the offences are there; return them as the verified header proves them."""
    while True:
        with suppress(NodeUnreachable, UnavailableError):
            answer = await reader.remote.prove(0, [offences_path()])
            await reader.follow(answer.height)
            value = reader.view.check_values(answer, [offences_path()])[offences_path()]
            if value is not None:
                return decode(value, Offences)
        await asyncio.sleep(0.1)
