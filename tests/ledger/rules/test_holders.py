"""Who may hold the keys of an epoch is kept for ever: whoever was assigned while it was open, and nobody else."""

from __future__ import annotations

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rotation_scene import page, publish

from keephold.base.ids import PublicKey
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.governance import RevokeIdentity
from keephold.protocol.holders import (
    EpochHolders,
    HoldersPage,
    Tenure,
    Tenures,
    TenuresPage,
    holders_page_path,
    holders_path,
    tenures_page_path,
    tenures_path,
)
from keephold.protocol.rotation import open_epochs
from keephold.protocol.transactions import PublishKey, Rotate

UNTIMED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def held(desk, contract, epoch: int) -> tuple[set[bytes], int]:
    """Holders of an epoch, and the height at which it ended."""
    found = desk.record(holders_path(contract, epoch), EpochHolders)
    return ({item.worker for item in found.newest}, found.ended) if found else (set(), 0)


def tenures(desk, worker) -> set[tuple[bytes, int]]:
    found = desk.record(tenures_path(PublicKey(worker.identity)), Tenures) or Tenures()
    return {(item.contract, item.epoch) for item in found.newest}


def turn(desk, contract, creator, *workers) -> None:
    desk.send(creator, Rotate(contract))
    for worker in workers:
        desk.send(worker, publish(desk, worker, contract))
    desk.send(workers[0], page(desk, workers[0], contract))


def test_an_ended_epoch_keeps_its_holder_and_says_when_it_ended(token, new_key):
    desk, worker, contract = token
    assert held(desk, contract, 1) == ({worker.identity}, 0)
    turn(desk, contract, new_key("alice"), worker)
    ended = desk.height
    assert desk.contract(contract).epoch == 2
    assert held(desk, contract, 1) == ({worker.identity}, ended)
    assert held(desk, contract, 2) == ({worker.identity}, 0)
    assert tenures(desk, worker) == {(contract, 1), (contract, 2)}
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(worker.identity)))
    desk.reopen()
    assert held(desk, contract, 1) == ({worker.identity}, ended)
    assert tenures(desk, worker) >= {(contract, 1), (contract, 2)}


def test_who_left_before_the_change_holds_the_old_epoch_and_who_came_during_it_both(stateful, new_key):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    desk.send(new_key("alice"), Rotate(contract))
    (other,) = desk.enrol("other")
    assert held(desk, contract, 1)[0] == {worker.identity, other.identity}
    assert held(desk, contract, 2)[0] == {other.identity}
    desk.send(other, publish(desk, other, contract))
    desk.send(other, page(desk, other, contract))
    assert desk.contract(contract).epoch == 2
    assert desk.contract(contract).departed == ()
    assert tenures(desk, worker) == {(contract, 1)}
    assert tenures(desk, other) == {(contract, 1), (contract, 2)}


def test_since_is_the_block_that_assigned_it(desk, new_key):
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    assert desk.record(holders_path(contract, 1), EpochHolders) is None
    heights = {}
    for name in ("1", "2"):
        (worker,) = desk.enrol(name)
        heights[worker.identity] = desk.height
    assert {item.worker: item.height for item in desk.record(holders_path(contract, 1), EpochHolders).newest} == heights


def test_an_epoch_that_was_given_up_ended_too(two_workers, new_key):
    desk, (one, two), contract = two_workers
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(one.identity)))
    assert desk.contract(contract).rotation[0].to_epoch == 3
    assert held(desk, contract, 2) == ({one.identity, two.identity}, desk.height)
    assert held(desk, contract, 3) == ({two.identity}, 0)
    assert held(desk, contract, 1) == ({one.identity, two.identity}, 0)


def test_a_disputed_epoch_ended_with_all_who_published(desk, new_key):
    workers = desk.enrol("1", "2")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    desk.send(workers[0], desk.publication(workers[0], contract))
    desk.send(workers[1], desk.publication(workers[1], contract, "another"))
    assert desk.contract(contract).epoch == 2
    assert held(desk, contract, 1) == ({worker.identity for worker in workers}, desk.height)


def test_an_epoch_without_a_worker_has_no_list_until_somebody_is_assigned(desk, new_key):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"), ContractPolicy())
    desk.activate(contract, worker)
    desk.block(after_s=3600)
    desk.send(new_key("alice"), Rotate(contract))
    assert desk.record(holders_path(contract, 2), EpochHolders) is None
    (other,) = desk.enrol("other")
    assert held(desk, contract, 2) == ({other.identity}, 0)


def test_who_comes_back_is_listed_once(stateful, enclave):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    again = enclave("worker", boot=1)
    desk.send(again, desk.registration(again))
    assert desk.contract(contract).workers == (worker.identity,)
    assert desk.record(holders_path(contract, 1), EpochHolders).count == 1
    assert desk.record(tenures_path(PublicKey(worker.identity)), Tenures).count == 1


def test_long_lists_lie_in_pages_that_do_not_change(stateful, new_key, monkeypatch):
    for module in ("keephold.ledger.rules.holders", "keephold.protocol.holders"):
        monkeypatch.setattr(f"{module}.MAX_HISTORY", 2)
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    order = [worker]
    for name in ("1", "2", "3", "4"):
        order += desk.enrol(name)
        desk.block(after_s=3600)
    head = desk.record(holders_path(contract, 1), EpochHolders)
    pages = [desk.record(holders_page_path(contract, 1, at), HoldersPage).holders for at in (0, 1)]
    assert (head.count, len(head.newest)) == (5, 1)
    assert [item.worker for part in (*pages, head.newest) for item in part] == [item.identity for item in order]
    (fresh,) = desk.enrol("fresh")
    for epoch in (2, 3, 4):
        turn(desk, contract, new_key("alice"), fresh)
        assert desk.contract(contract).epoch == epoch
    found = desk.record(tenures_path(PublicKey(fresh.identity)), Tenures)
    first = desk.record(tenures_page_path(PublicKey(fresh.identity), 0), TenuresPage).tenures
    assert (found.count, first) == (4, (Tenure(contract, 1), Tenure(contract, 2)))
    assert found.newest == (Tenure(contract, 3), Tenure(contract, 4))
    again = desk.record(holders_path(contract, 1), EpochHolders)
    assert (again.count, desk.record(holders_page_path(contract, 1, 0), HoldersPage).holders) == (6, pages[0])


ACTS = st.lists(st.sampled_from(["enrol", "lapse", "rotate", "publish", "page", "revoke"]), max_size=12)


@example(acts=["publish", "rotate", "lapse", "enrol", "enrol", "publish", "page", "rotate", "publish", "page"])
@example(acts=["publish", "rotate", "publish", "revoke", "enrol", "publish", "page", "lapse", "enrol", "rotate"])
@settings(max_examples=20, deadline=None, suppress_health_check=UNTIMED)
@given(acts=ACTS)
def test_the_holders_are_who_was_assigned_while_the_epoch_was_open(acts, make_desk, new_key):
    desk = make_desk()
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    workers = desk.enrol("0", "1")
    seen: dict[int, set[bytes]] = {1: {worker.identity for worker in workers}}
    gone: set[bytes] = set()
    for number, act in enumerate(acts, 2):
        record = desk.contract(contract)
        live = [worker for worker in workers if worker.identity in record.workers]
        if act == "enrol":
            workers += desk.enrol(str(number))
        elif act == "lapse":
            desk.block(after_s=3600)
        elif act == "rotate" and record.phase == "active":
            desk.send(new_key("alice"), Rotate(contract))
        elif act == "publish" and record.phase in ("keying", "rotating"):
            published = record.rotation[0].publications if record.rotation else record.publications
            for worker in live:
                if worker.identity not in [item.worker for item in published] and desk.contract(contract).phase in (
                    "keying",
                    "rotating",
                ):
                    body: PublishKey = (
                        publish(desk, worker, contract) if record.rotation else desk.publication(worker, contract)
                    )
                    desk.send(worker, body)
        elif act == "page" and record.rotation and live and len(record.rotation[0].publications) >= 2:
            desk.send(live[0], page(desk, live[0], contract))
        elif act == "revoke" and live:
            desk.send(new_key("anyone"), desk.govern(RevokeIdentity(live[0].identity)))
            gone.add(live[0].identity)
        now = desk.contract(contract)
        for epoch in open_epochs(now):
            seen.setdefault(epoch, set()).update(now.workers)
        for epoch, holders in seen.items():
            # Who an exclusion brings in is noted in the very epoch that it gives up.
            assert held(desk, contract, epoch)[0] >= holders
            assert held(desk, contract, epoch)[0] == holders or gone
            assert (held(desk, contract, epoch)[1] == 0) == (epoch in open_epochs(now))
            assert all((contract, epoch) in tenures(desk, item) for item in workers if item.identity in holders)
    everyone = {worker.identity for worker in workers}
    assert all(held(desk, contract, epoch)[0] <= everyone for epoch in seen)
