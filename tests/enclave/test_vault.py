from __future__ import annotations

import pytest

from keephold.base.errors import HeaderInvalid, RollbackDetected, SealBroken
from keephold.crypto.secret import SecretBytes
from keephold.enclave.head import SealedHead
from keephold.enclave.identity import Instance, open_identity
from keephold.enclave.vault import ForgetfulVault, open_vault
from keephold.follower.view import VerifiedView
from keephold.protocol.governance import GovernanceRecord
from keephold.protocol.wire import Interest
from keephold.testing.local import GATEKEEPER, WORKER, LocalNetwork
from keephold.testing.vendor import Machine


@pytest.fixture
def net(tmp_path):
    made = LocalNetwork(tmp_path)
    made.open_node()
    yield made
    made.kill_node()


def vault(net, machine: str = "m", build=WORKER, role="worker", name: str = "disk"):
    return open_vault(net.vendor.platform(Machine.named(machine), build), net.network, role, net.directory / name)


def test_an_identity_outlives_a_restart_on_the_same_machine_by_the_same_code(net) -> None:
    first = open_identity(vault(net)).signing.public
    assert open_identity(vault(net)).signing.public == first


@pytest.mark.parametrize("other", [{"machine": "n"}, {"build": GATEKEEPER}, {"role": "gatekeeper"}])
def test_another_machine_code_or_role_opens_nothing_and_replaces_nothing(net, other) -> None:
    first = open_identity(vault(net)).signing.public
    with pytest.raises(SealBroken):
        open_identity(vault(net, **other))
    assert open_identity(vault(net)).signing.public == first


def test_a_platform_that_cannot_seal_forgets() -> None:
    class Quoting:
        name = "quoting"

        def quote(self, report_data: bytes):
            raise NotImplementedError

    kept = open_vault(Quoting(), bytes(32), "worker", None)
    assert isinstance(kept, ForgetfulVault)
    kept.write("a", SecretBytes(b"x"))
    assert kept.read("a").reveal() == b"x"
    kept.remove("a")
    assert not kept.holds("a")
    with pytest.raises(FileNotFoundError):
        kept.read("a")


def test_instances_are_never_the_same() -> None:
    first, second = Instance.fresh(), Instance.fresh()
    assert first.id != second.id
    assert first.encryption.public != second.encryption.public


def blocks(net, count: int) -> VerifiedView:
    view = VerifiedView(net.genesis)
    watch = net.node.reader.watch(Interest())
    for _ in range(count):
        view.accept(watch.frame(net.node.engine.step()))
    return view


def test_a_sealed_head_is_trusted_again(net) -> None:
    view = blocks(net, 3)
    head = SealedHead(vault(net))
    assert head.load(net.genesis).height == 0
    head.keep_now(view)
    again = SealedHead(vault(net)).load(net.genesis)
    assert (again.height, again.header(3).hash()) == (3, view.header(3).hash())
    with pytest.raises(HeaderInvalid):  # an older chain
        again.accept(net.node.reader.frame(3, Interest()))


def test_a_head_is_written_at_most_once_a_second(net) -> None:
    view = blocks(net, 1)
    head = SealedHead(vault(net))
    head.keep(view, 10.0)
    view.accept(net.node.reader.frame(net.node.engine.step(), Interest()))
    head.keep(view, 10.9)
    assert SealedHead(vault(net)).load(net.genesis).height == 1
    head.keep(view, 11.0)
    assert SealedHead(vault(net)).load(net.genesis).height == 2


def test_a_broken_head_is_an_attack(net) -> None:
    kept = vault(net)
    kept.write("head", SecretBytes(b"nonsense"))
    with pytest.raises(RollbackDetected):
        SealedHead(kept).load(net.genesis)
    path = net.directory / "disk" / "head.sealed"
    path.write_bytes(b"\0" * 64)
    with pytest.raises(RollbackDetected):
        SealedHead(kept).load(net.genesis)


def test_a_head_of_another_network_is_refused(net, tmp_path) -> None:
    other = LocalNetwork(tmp_path / "other", seats=3, threshold=2)
    other.open_node()
    view = blocks(other, 1)
    other.kill_node()
    with pytest.raises(HeaderInvalid, match="another chain"):
        VerifiedView(net.genesis, view.trusted)


def test_what_governance_did_is_sealed_with_the_head(net) -> None:
    view = blocks(net, 1)
    view.know(GovernanceRecord(2, b"2" * 32))
    view.know(GovernanceRecord(1, b"1" * 32))
    SealedHead(vault(net)).keep_now(view)
    assert SealedHead(vault(net)).load(net.genesis).governance == GovernanceRecord(2, b"2" * 32)
