"""The same ledger on real CometBFT: one validator, and four."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from keephold.chain.chain_id import chain_id
from keephold.chain.validators import Validator, ValidatorSet, decode_validator_set
from keephold.chain.wire import decode_signed_header
from keephold.follower.light_client import TrustedState, verify_header
from keephold.protocol.genesis import network_id
from keephold.protocol.governance import SetValidators, ValidatorEntry
from keephold.protocol.refusals import Refusal

pytestmark = [pytest.mark.comet, pytest.mark.slow]


async def closing(*readers):
    await asyncio.gather(*(reader.remote.aclose() for reader in readers))


def test_one_validator_orders_what_is_submitted_and_is_followed(start, new_reader, new_sender, ids, patiently):
    cluster = start(1)

    async def run() -> None:
        reader, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        raws = sender.next(40)
        assert await reader.submit(raws) == [0] * 40, "in order, as one batch"
        found = await reader.found(ids(raws))
        assert {code for _, code in found} == {0}
        assert await reader.submit(raws) == [0] * 40, "the same bytes again are no offence"
        assert await reader.submit([b"rubbish"]) != [0]
        await reader.follow(max(height for height, _ in found) + 1)
        assert len(set(reader.app_hashes.values())) > 1
        await closing(reader)

    patiently(run(), cluster)


def test_four_validators_agree_and_lose_one_without_noticing(start, new_reader, new_sender, ids, patiently):
    cluster = start(4)

    async def run() -> None:
        readers = [new_reader(cluster, number) for number in range(4)]
        senders = [new_sender(cluster.genesis, b"%d" % number) for number in range(4)]
        # (1) Each node takes transactions; every node has them all.
        raws = [sender.next(20) for sender in senders]
        codes = await asyncio.gather(*(reader.submit(some) for reader, some in zip(readers, raws, strict=True)))
        assert codes == [[0] * 20] * 4
        everything = ids([raw for some in raws for raw in some])
        found = await asyncio.gather(*(reader.found(everything) for reader in readers))
        assert found == [found[0]] * 4
        assert {code for _, code in found[0]} == {0}
        # (2) A quarter dies; the others go on.
        cluster.kill(3, hold=True)
        more = senders[0].next(5)
        assert await readers[0].submit(more) == [0] * 5
        (height, _), *_ = await readers[1].found(ids(more))
        # (3) It comes back, and catches up.
        cluster.resume(3)
        await asyncio.gather(*(reader.follow(height + 1) for reader in readers))
        for reader in readers:
            same = range(1, height + 2)
            assert [reader.hashes[at] for at in same] == [readers[0].hashes[at] for at in same]
            assert [reader.app_hashes[at] for at in same] == [readers[0].app_hashes[at] for at in same]
        await closing(*readers)

    patiently(run(), cluster)


def test_governance_takes_a_validator_off_and_another_one_goes_on(
    start, new_reader, new_sender, ids, govern, patiently
):
    cluster = start(4)

    async def run() -> None:
        reader, sender = new_reader(cluster, 0), new_sender(cluster.genesis, b"alice")
        left = tuple(entry for entry in cluster.genesis.law.validators if entry.public_key != cluster.validator(3))
        change = govern(cluster.genesis, SetValidators(left), 1)
        # v0.39 takes nothing while it catches up; attempts are charged, so the API may ask for a second of patience.
        while (verdicts := await reader.submit([change])) == [Refusal.QUOTA]:  # noqa: ASYNC110 - asks another process
            await asyncio.sleep(0.2)
        assert verdicts == [0]
        ((height, code),) = await reader.found(ids([change]))
        assert code == 0
        after = sender.next(1)
        last = height
        while last < height + 3:  # updates act two blocks later
            ((last, _),) = await reader.acknowledged(after)
            after = sender.next(1)
        blocks = await reader.blocks(last)
        trusted = TrustedState.from_genesis(chain_id(network_id(cluster.genesis)), *origin(cluster.genesis))
        sizes = []
        for block in blocks:
            validators = decode_validator_set(block.validators)
            following = decode_validator_set(block.next_validators)
            signed = decode_signed_header(block.signed_header)
            trusted = verify_header(trusted, signed, validators, following, signed.header.time_ns)
            sizes.append(len(validators.validators))
        assert sizes[: height + 1] == [4] * (height + 1)
        assert sizes[height + 1 :] == [3] * (last - height - 1)
        await closing(reader)

    patiently(run(), cluster)


def test_a_follower_with_an_empty_disk_catches_up_with_all_that_happened(
    start, new_reader, new_sender, ids, govern, patiently
):
    cluster = start(2, followers=1)

    async def run() -> None:
        cluster.kill(2, hold=True)
        reader, late, sender = new_reader(cluster, 0), new_reader(cluster, 2), new_sender(cluster.genesis, b"alice")
        # (1) Blocks with transactions, and a change of the validators' powers.
        powers = tuple(ValidatorEntry(entry.public_key, entry.power + 1) for entry in cluster.genesis.law.validators)
        change = govern(cluster.genesis, SetValidators(powers), 1)
        raws = sender.next(10)
        for raw in [*raws[:5], change, *raws[5:]]:
            places = await reader.acknowledged([raw])
        # (2) One who knows nothing but the genesis.
        for lost in (*cluster.home(2).glob("*.db*"), cluster.home(2) / "cometbft" / "data"):
            shutil.rmtree(lost) if lost.is_dir() else lost.unlink()
        cluster.resume(2)
        assert await late.found(ids([*raws, change])) == await reader.found(ids([*raws, change]))
        (last, _) = places[0]
        assert [block.validators for block in await late.blocks(last)] == [
            block.validators for block in await reader.blocks(last)
        ]
        # (3) It takes transactions too, and passes them on.
        more = sender.next(3)
        assert await late.submit(more) == [0] * 3
        assert await late.found(ids(more)) == await reader.found(ids(more))
        await closing(reader, late)

    patiently(run(), cluster)


def origin(genesis):
    validators = ValidatorSet.of(Validator(entry.public_key, entry.power) for entry in genesis.law.validators)
    return validators, genesis.time_ns
