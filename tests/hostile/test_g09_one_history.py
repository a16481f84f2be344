"""G9. Another past, another present, an old disk: no enclave goes on with them."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from worker_cast import Caller, keys
from worker_committee import Committee, law, registered
from worker_scene import Sandbox, Worker, settle, started

from keephold.base.errors import (
    BadShare,
    HeaderInvalid,
    NotFresh,
    ProofInvalid,
    RollbackDetected,
    SealBroken,
    StaleAnswer,
)
from keephold.base.ids import NetworkId, PublicKey
from keephold.chain.sparse import SparseMap
from keephold.crypto.hashing import sha256
from keephold.crypto.secret import SecretBytes
from keephold.enclave.freshness import Freshness
from keephold.enclave.vault import ForgetfulVault, open_vault
from keephold.follower.follow import Follower
from keephold.follower.view import VerifiedView
from keephold.gatekeeper.standing import Standing
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.statesync import Offered, Snapshot, Taken
from keephold.ledger.snapshots.content import FORMAT, Manifest, chunked
from keephold.ledger.snapshots.service import SnapshotService
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.snapshots.take import pages
from keephold.protocol.codec import encode
from keephold.protocol.state import inbox_head
from keephold.protocol.transactions import Vouch, transaction_id
from keephold.protocol.wire import Interest
from keephold.testing.adversaries import repeating
from keephold.testing.local import WORKER, LocalNetwork
from keephold.testing.vendor import Machine
from keephold.worker.committee import pin, verify_committee
from keephold.worker.state import Opened, downloaded


def test_the_validators_cannot_sign_a_second_block_for_a_height_that_was_seen(chain, tmp_path) -> None:
    """The one operator of the embedded engine signs another history under the same genesis, with the same key."""
    fork = LocalNetwork(tmp_path / "fork")
    for name in ("genesis", "network"):
        object.__setattr__(fork, name, getattr(chain.net, name))
    fork.directory.mkdir()
    fork.open_node()
    try:
        fork.node.engine.step()
        fork.node.engine.step()
        watch = fork.node.reader.watch(Interest())
        theirs = [frame for height in (1, 2) if (frame := watch.frame(height)) is not None]
    finally:
        fork.kill_node()
    ours = chain.frames(3)
    assert theirs[0].signed_header != ours[0].signed_header
    # (1) Whoever saw nothing yet follows either: that is what the operator of an embedded engine can do.
    VerifiedView(chain.net.genesis).accept(theirs[0])
    # (2) Whoever followed one history does not follow the other.
    view = VerifiedView(chain.net.genesis)
    view.accept(ours[0])
    with pytest.raises(HeaderInvalid, match="fork"):
        view.accept(theirs[1])
    assert view.accept(ours[1]).height == 2


def test_a_forks_snapshot_is_not_restored_on_the_chain_that_was_followed(chain, tmp_path) -> None:
    """Every hash in it is right but the two that a joining node has from its own light client."""
    fork = LocalNetwork(tmp_path / "fork")
    for name in ("genesis", "network"):
        object.__setattr__(fork, name, getattr(chain.net, name))
    fork.directory.mkdir()
    fork.open_node()
    while fork.node.engine.latest() < 3:
        fork.node.engine.step()
    state = fork.node.application.map.newest
    chunks = list(chunked(pages(Archive(fork.node.application, fork.node.engine), state)))
    fork.kill_node()
    ours = chain.net.node.engine
    app_hash = ours.block(4).signed.header.app_hash
    empty = LedgerApplication(chain.net.genesis, tmp_path)
    service = SnapshotService(empty, Shelf(tmp_path / "none"), tmp_path, ours)
    # (1) As what it is: of another app hash. (2) As if it were ours. (3) Under its own app hash, were that believed.
    for claimed, asked in ((state.values.root, app_hash), (app_hash, app_hash), (state.values.root, state.values.root)):
        manifest = Manifest(chain.net.network, 3, claimed, tuple(map(sha256, chunks)))
        snapshot = Snapshot(3, FORMAT, len(chunks), manifest.hash(), encode(manifest))
        offered = service.offer(snapshot, asked)
        if claimed != asked:
            assert offered is Offered.REJECT
            continue
        said = [service.apply(at, chunk) for at, chunk in enumerate(chunks)]
        assert said[-1] is Taken.REJECT_SNAPSHOT
        assert empty.info().height == 0
    empty.close()


def test_proofs_of_a_state_that_is_gone_do_not_answer_who_knows_of_a_later_one(chain) -> None:
    """After an echo an enclave asks for what stands above it: a node that repeats its past has nothing to show."""

    async def work() -> None:
        remote = chain.net.remote()
        follower = Follower([remote], VerifiedView(chain.net.genesis), pause=_no_pause)
        await follower.sync()
        remote.tamper = repeating({"prove"})
        seen = await follower.prove([bytes(32)])
        chain.step()
        assert (await follower.prove([bytes(32)])).height == seen.height
        await follower.prove([bytes(32)], seen.height + 1)

    with pytest.raises(StaleAnswer):
        asyncio.run(work())


async def _no_pause(_: float) -> None:
    return


def test_an_echo_that_the_host_delayed_gives_no_more_time() -> None:
    freshness = Freshness(window_seconds=30)
    freshness.confirm(submitted=100.0, height=7)
    assert freshness.is_fresh(129.9)
    with pytest.raises(NotFresh):
        freshness.require(130.0)


@pytest.mark.parametrize("peers", [0, 1])
def test_a_restarted_gatekeeper_of_three_of_five_is_mute_with_fewer_than_two_vouches(peers: int) -> None:
    committee = Committee(5, 3)
    standing = Standing(restarted=True)
    standing.settle(committee.keys)
    for at in range(peers):
        for _ in range(3):  # the same peer, as often as it likes
            standing.hear(committee.members[at + 1].public, committee.keys, committee.members[0].public)
    standing.hear(committee.members[0].public, committee.keys, committee.members[0].public)  # itself
    standing.hear(PublicKey(b"x" * 32), committee.keys, committee.members[0].public)  # nobody
    assert not standing.is_vouched


def test_vouches_for_other_nonces_or_older_heads_are_not_for_us() -> None:
    standing = Standing(restarted=True)
    standing.issued(b"n" * 32, 40)
    honest = Vouch(target=b"t" * 32, nonce=b"n" * 32, height=40, header_hash=bytes(32))
    assert standing.is_for_us(honest)
    assert not standing.is_for_us(replace(honest, nonce=b"o" * 32))
    assert not standing.is_for_us(replace(honest, height=39))


# --- a worker and the order of one inbox ---


def seen(worker: Worker, **changes) -> None:
    ledger = worker.ledger
    ledger.record = replace(ledger.record, **changes)
    ledger.height += 1
    worker.prove()


INVENTED = Caller(b"m").call("inc")


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param(lambda calls: calls[:1], id="one left out at the end"),
        pytest.param(lambda calls: calls[1:], id="one left out at the start"),
        pytest.param(lambda calls: calls[::-1], id="another order"),
        pytest.param(lambda calls: [*calls, (transaction_id(INVENTED), INVENTED)], id="one put in"),
    ],
)
def test_what_the_proven_head_does_not_commit_to_never_leaves(forge) -> None:
    """A node tells a worker another block than the one that the rules made an inbox of."""
    sandbox = Sandbox()
    worker, alice = started(sandbox=sandbox), Caller(b"a")
    calls = worker.ledger.order(alice.call("inc"), alice.call("inc"))
    worker.core.block(worker.ledger.ordering(worker.ledger.height - 1), forge(calls), ())
    worker.work()
    assert not worker.outbox
    worker.prove()
    worker.ledger.height += 1
    worker.see()
    while worker.outbox:
        heads = {inbox_head_after(worker, body.result) for body in worker.outbox}
        assert {body.result.head for body in worker.outbox} <= heads
        worker.deliver()
    assert worker.ledger.record.done == 2
    assert [worker.ledger.reply(raw).value for _, raw in calls] == [b"1", b"2"]


def inbox_head_after(worker: Worker, result) -> bytes:
    """The true head after a result's last entry."""
    first, batch = worker.ledger.batches[0]
    head = batch.before
    for at, entry in enumerate(batch.entries[: result.first + result.count - first], start=first):
        head = inbox_head(head, at, entry, batch.height)
    return head


def test_a_rewritten_inbox_or_a_state_that_goes_back_ends_the_contract_here() -> None:
    worker = started()
    settle(worker, Caller(b"a").call("inc"))
    rewritten = inbox_head(bytes(32), 1, b"x" * 32, 1)
    with pytest.raises(ProofInvalid):
        seen(worker, inbox_head=rewritten)
    worker = started()
    settle(worker, Caller(b"a").call("inc"))
    with pytest.raises(ProofInvalid):
        seen(worker, version=0)
    worker = started()
    settle(worker, Caller(b"a").call("inc"))
    with pytest.raises(ProofInvalid):
        seen(worker, inbox_count=0)


def test_slots_that_are_not_all_of_the_proven_root_are_refused() -> None:
    entries = [(bytes([n]) * 32, b"sealed %d" % n) for n in range(1, 4)]
    root = SparseMap.of(entries).root
    opened = Opened(keys().slots)
    assert downloaded(root, entries, opened).root == root
    for forged in (entries[:2], [*entries, (b"x" * 32, b"more")], [(entries[0][0], b"other"), *entries[1:]]):
        with pytest.raises(ProofInvalid):
            downloaded(root, forged, opened)


# --- a committee of the validators' own ---


def test_a_committee_of_attested_members_under_another_master_key_is_not_the_one_known() -> None:
    vault = ForgetfulVault()
    pin(vault, Committee(name="one").keys)
    pin(vault, Committee(name="one").keys)
    with pytest.raises(RollbackDetected):
        pin(vault, Committee(name="two").keys)


def test_validators_cannot_seat_their_own_beside_one_that_is_attested() -> None:
    """Two of two seats count only if both members were verified as gatekeepers."""
    committee = Committee(3, 2)
    honest = committee.members[0].public
    with pytest.raises(BadShare, match="1 of 2"):
        verify_committee(committee.keys, law(2), [registered(honest)])
    others = [registered(key.public, "worker") for key in committee.members[1:]]
    with pytest.raises(BadShare, match="1 of 2"):
        verify_committee(committee.keys, law(2), [registered(honest), *others])


def test_a_disk_sealed_for_another_network_is_no_past_of_this_one(tmp_path) -> None:
    network = LocalNetwork(tmp_path / "a")
    platform = network.vendor.platform(Machine.named("m"), WORKER)
    home = tmp_path / "home"
    open_vault(platform, network.network, "worker", home).write("head", SecretBytes(b"h" * 32))
    with pytest.raises(SealBroken):
        open_vault(platform, NetworkId(bytes(32)), "worker", home).read("head")
