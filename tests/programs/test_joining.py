"""Whom a joining node asks may lie: what it takes from them is the block that its own light client named."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from keephold.base.errors import ConfigurationError, HeaderInvalid, KeepholdError, NodeUnreachable, ProofInvalid
from keephold.chain.validators import Validator, ValidatorSet, encode_validator_set
from keephold.chain.wire import encode_signed_header
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.http_remote import HttpRemote
from keephold.ledger.engines.forge import Chain
from keephold.programs import joining
from keephold.programs.cometbft import CometConfig
from keephold.programs.joining import JoiningConsensus, Source, stored
from keephold.programs.members import Address, draw, join
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import CommitteeRules, Constitution, GovernanceRules, Timing, ValidatorEntry
from keephold.protocol.wire import LightBlock
from keephold.testing.vendor import DevelopmentVendor, SgxBuild

KEY = ValidatorKey(SecretBytes(b"k" * 32))
SECOND = 10**9


def chain_of(length: int):
    validators = ValidatorSet.of([Validator(KEY.public, 10)])
    chain = Chain("c" * 43, SECOND, validators, validators, None, bytes(32), ())
    blocks = []
    for height in range(1, length + 1):
        blocks.append(chain.next_block([b"%d" % height], height * SECOND, KEY))
        chain = chain.after(blocks[-1], validators, bytes([height]) * 32, ())
    return blocks


BLOCKS = chain_of(6)


def light(block) -> LightBlock:
    height = block.signed.header.height
    validators = encode_validator_set(block.validators)
    return LightBlock(
        height, encode_signed_header(block.signed), validators, encode_validator_set(block.next_validators)
    )


def test_the_block_that_was_named_is_taken():
    assert stored(light(BLOCKS[2]), 3, BLOCKS[2].signed.header.hash()) == BLOCKS[2]


def test_any_other_is_refused():
    block, header = BLOCKS[2], BLOCKS[2].signed.header.hash()
    others = ValidatorSet.of([Validator(KEY.public, 11)])
    signed = block.signed
    for lie in (
        BLOCKS[3],
        replace(block, validators=others),
        replace(block, next_validators=others),
        replace(block, signed=replace(signed, commit=BLOCKS[3].signed.commit)),
        replace(block, signed=replace(signed, header=replace(signed.header, app_hash=bytes(32)))),
        replace(block, signed=replace(signed, commit=replace(signed.commit, height=4))),
    ):
        with pytest.raises(HeaderInvalid, match="block 3"):
            stored(light(lie), 3, header)
    with pytest.raises(KeepholdError):
        stored(LightBlock(3, b"\xff", b"", b""), 3, header)


@pytest.fixture
def genesis() -> Genesis:
    governors = (bytes([1]) * 32,)
    law = Constitution(
        GovernanceRules(governors, 1, 0),
        DevelopmentVendor(SecretBytes(b"v" * 32)).policy((SgxBuild.named("worker"), "worker")),
        CommitteeRules(1, 1, 60 * SECOND),
        Timing(3600 * SECOND, 30 * SECOND, 86_400 * SECOND),
        (ValidatorEntry(KEY.public, 10),),
    )
    return Genesis("joining", SECOND, bytes(32), law, simulated=True)


@pytest.fixture
def source(genesis):
    made = Source(genesis, ["http://127.0.0.1:1", "http://127.0.0.1:2"])
    yield made
    made.close()


def test_older_blocks_have_to_lead_to_the_one_above(source, monkeypatch):
    served = {block.signed.header.height: block for block in BLOCKS}

    async def blocks(_, heights):
        return tuple(light(served[height]) for height in heights)

    monkeypatch.setattr(HttpRemote, "blocks", blocks)
    assert source.below(BLOCKS[5], 3) == [BLOCKS[4], BLOCKS[3], BLOCKS[2]]
    assert source.below(BLOCKS[1], 9) == [BLOCKS[0]]
    served[3] = chain_of(3)[1]
    with pytest.raises(HeaderInvalid, match="block 3"):
        source.below(BLOCKS[5], 4)


def test_nodes_have_to_agree_on_who_proposes(source, monkeypatch):
    said = {1: (5, -5), 2: (5, -5)}

    async def priorities(remote, _):
        answer = said[int(remote.base_url[-1])]
        if answer is None:
            raise NodeUnreachable("gone")
        return answer

    monkeypatch.setattr(HttpRemote, "priorities", priorities)
    assert source.priorities(3) == (5, -5)
    said[2] = None
    assert source.priorities(3) == (5, -5)
    said[2] = (4, -4)
    with pytest.raises(ProofInvalid, match="disagree"):
        source.priorities(3)
    said[1] = said[2] = None
    with pytest.raises(NodeUnreachable):
        source.priorities(3)


def test_nodes_that_are_not_there_are_unreachable(source):
    with pytest.raises(NodeUnreachable):
        source.newest()
    with pytest.raises(NodeUnreachable):
        source.block(3)


def test_a_silent_node_is_waited_for_no_longer_than_that(source, monkeypatch):
    async def silent(*_):
        await asyncio.sleep(60)

    monkeypatch.setattr(joining, "_PATIENCE", 0.05)
    monkeypatch.setattr(HttpRemote, "priorities", silent)
    with pytest.raises(KeepholdError, match="do not answer in time"):
        source.priorities(3)


def test_comets_questions_are_answered_before_it_starts_and_until_it_ended(source):
    said: list[str] = []

    class Recorder:
        def __init__(self, name):
            self.name = name

        def start(self, *_):
            said.append(f"{self.name} starts")

        def stop(self):
            said.append(f"{self.name} ends")

    consensus = JoiningConsensus(Recorder("comet"), Recorder("light"), source)
    consensus.start(lambda _: None)
    consensus.stop()
    assert said == ["light starts", "comet starts", "comet ends", "light ends"]


def test_a_node_joins_by_somebody(tmp_path, genesis):
    member = draw(tmp_path / "n")
    for options in (CometConfig(peers=("a@b:1",)), CometConfig(join=("http://b:1",))):
        with pytest.raises(ConfigurationError, match="API of one node or more"):
            join(member, Address(1, 2), genesis, options, 3.0)
