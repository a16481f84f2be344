"""The plugin: quiet where it is not used, isolated where it is, the same on a devnet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from auction import Auction
from voting import Vote

from keephold.base.errors import (
    AbiError,
    ChainRefused,
    ConfigurationError,
    ContractFailed,
    InputError,
    PermitRefused,
    Rejected,
    SandboxError,
)
from keephold.contract.model import Contract
from keephold.runtime.artefact import cache_directory
from keephold.testing import ceremony, pytest_plugin
from keephold.testing.devnet import Devnet

ROOT = Path(__file__).parents[2]
HOME = cache_directory() / "test-home"

TOKEN_TEST = """
import pytest
from token_example import Moved, Token

def test_token(net, alice, bob, carol):
    token = net.deploy(Token, "GLD", 100, sender=alice)
    token.as_(alice).transfer(bob, 5)
    token.as_(alice).transfer(carol, 7)
    token.as_(bob).transfer(carol, 1)
    assert token.as_(bob).balance() == 4
    with net.rejects("insufficient_balance"):
        token.as_(bob).transfer(alice, 6)
    first = Moved(alice.address, bob.address, 5)
    second = Moved(alice.address, carol.address, 7)
    third = Moved(bob.address, carol.address, 1)
    assert net.events(reader=alice) == [first, second]
    assert net.events(reader=bob) == [first, third]
    assert net.events(reader=carol, contract=token) == [second, third]
    assert net.events() == []
    before = net.block.height
    net.mine(2)
    assert net.block.height >= before + 2

def test_what_an_operator_sees(net, alice, bob, carol):
    def pay(amount):
        net.deploy(Token, "GLD", 10**6, sender=alice).as_(alice).transfer(bob, amount)

    def name(symbol):
        net.deploy(Token, symbol, 100, sender=alice)

    net.assert_indistinguishable(pay, 5, 99_999, observer=carol)
    with pytest.raises(AssertionError, match="what the observer can open"):
        net.assert_indistinguishable(pay, 5, 99_999, observer=bob)
    with pytest.raises(AssertionError, match="bytes sent"):
        net.assert_indistinguishable(name, "G", "G" * 600)
"""
ISOLATION = """
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from token_example import Token

@pytest.fixture(scope="module")
def shared(net, alice):
    return net.deploy(Token, "GLD", 100, sender=alice)

@pytest.mark.parametrize("turn", [1, 2])
def test_each_test_starts_afresh(shared, net, turn, alice, bob):
    assert shared.as_(bob).balance() == 0
    shared.as_(alice).transfer(bob, 60)
    assert len(net.events(reader=bob)) == 1

@given(amount=st.integers(1, 100))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_example_starts_afresh(shared, alice, bob, amount):
    shared.as_(alice).transfer(bob, amount)
    assert shared.as_(bob).balance() == amount
    assert shared.as_(alice).balance() == 100 - amount
"""


APART = """
from token_example import Token

def test_one(net, alice, bob):
    net.deploy(Token, "GLD", 100, sender=alice).as_(alice).transfer(bob, 1)
    assert len(net.events(reader=bob)) == 1

def test_another(net, alice, bob):
    assert net.events(reader=bob) == []
    net.deploy(Token, "GLD", 100, sender=alice).as_(alice).transfer(bob, 2)
    assert len(net.events(reader=bob)) == 1
"""
EVERYWHERE = """
import pytest
from datetime import timedelta
from hypothesis import HealthCheck, given, settings, strategies as st
from keephold.base.errors import InputError, PermitRefused
from token_example import Token

@pytest.fixture
def token(net, alice):
    return net.deploy(Token, "GLD", 100, sender=alice)

def test_permits(net, token, alice, bob):
    token.as_(alice).transfer(bob, 7)
    session = net.permit(bob, [token], ["balance", "$events"])
    assert token.as_(session).balance() == 7
    assert net.events(reader=session, contract=token) == net.events(reader=bob, contract=token) != []
    with pytest.raises(InputError, match="only an account itself calls"):
        token.as_(session).transfer(alice, 1)
    with pytest.raises(PermitRefused) as refused:
        token.as_(net.permit(bob, [token], ["history"])).balance()
    assert refused.value.reason == "permit_scope"
    with pytest.raises(InputError, match="another account"):
        net.revoke(session, account=alice)
    net.revoke(session, account=bob)
    with pytest.raises(PermitRefused) as refused:
        token.as_(session).balance()
    assert refused.value.reason == "permit_revoked"

def test_time_blocks_and_rejections(net, token, alice, bob):
    before = net.block
    net.mine(2)
    net.warp(2)
    assert net.block.height > before.height + 2
    assert net.block.time_ns >= before.time_ns + 2 * 10**9
    with net.rejects("insufficient_balance"):
        token.as_(bob).transfer(alice, 1)
    net.restore(net.snapshot())
    assert token.as_(alice).balance() == 100

@given(amount=st.integers(1, 100))
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_examples_that_deploy(net, amount):
    alice, bob = net.account("alice"), net.account("bob")
    token = net.deploy(Token, "GLD", 100, sender=alice)
    token.as_(alice).transfer(bob, amount)
    assert token.as_(bob).balance() == amount

@pytest.mark.attack
def test_an_attack_chooses_its_network(net, token, alice, bob):
    assert net.snapshot() is None
    with net.attack.replay(token):
        assert token.as_(bob).balance() == 0
"""


def run_pytest(directory: Path, test: str, *options: str) -> subprocess.CompletedProcess[str]:
    (directory / "token_example.py").write_text((ROOT / "examples" / "token" / "token.py").read_text())
    (directory / "test_it.py").write_text(test)
    (directory / "pytest.ini").write_text("[pytest]\npythonpath = .\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    environment = {**os.environ, "KEEPHOLD_HOME": str(HOME)}
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


def test_the_accounts_are_those_of_a_devnet():
    assert pytest_plugin.ACCOUNTS == ceremony.ACCOUNTS


def test_a_token_natively(tmp_path):
    ended = run_pytest(tmp_path, TOKEN_TEST)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.slow
def test_the_same_token_on_a_devnet(tmp_path):
    (tmp_path / "test_apart.py").write_text(APART)
    ended = run_pytest(tmp_path, TOKEN_TEST, "--net", "devnet")
    assert ended.returncode == 0, ended.stdout


def test_tests_and_examples_are_isolated(tmp_path):
    ended = run_pytest(tmp_path, ISOLATION)
    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout


def test_on_a_ledger_nobody_gets_what_another_test_or_example_changed(tmp_path):
    ended = run_pytest(tmp_path, ISOLATION, "--net", "local")
    assert "2 failed, 1 passed" in ended.stdout
    assert ended.stdout.count("another test or example changed this Token") >= 2


@pytest.mark.parametrize("where", ["native", "local"])
def test_everything_that_net_offers_in_this_process(tmp_path, where):
    ended = run_pytest(tmp_path, EVERYWHERE, "--net", where)
    assert "4 passed" in ended.stdout, ended.stdout


@pytest.mark.slow
def test_and_on_a_devnet_that_runs_already(tmp_path, monkeypatch):
    """By its URL; and the devnet outlives the tests."""
    monkeypatch.setenv("KEEPHOLD_HOME", str(HOME))
    with Devnet.start() as devnet:
        devnet.link()
        for _ in range(2):
            ended = run_pytest(tmp_path, EVERYWHERE, "--net", devnet.url)
            assert "4 passed" in ended.stdout, ended.stdout


def test_a_token_on_a_network_in_this_process(tmp_path):
    ended = run_pytest(tmp_path, TOKEN_TEST, "--net", "local")
    assert ended.returncode == 0, ended.stdout


def test_without_machines_there_is_nothing_to_attack(net):
    with pytest.raises(ConfigurationError, match="--net local"):
        net.attack.replay(None)


def test_a_permit_natively_ends_by_time_and_goes_with_its_test(net, alice, bob):
    handle = vote(net, alice)
    before = net.snapshot()
    session = net.permit(alice, [handle], ["ballot"])
    assert handle.as_(session).my_ballot() is None
    net.revoke(session, account=alice)
    with pytest.raises(PermitRefused, match="revoked"):
        handle.as_(session).my_ballot()
    net.restore(before)
    assert handle.as_(session).my_ballot() is None
    net.warp(2 * 86_400)
    with pytest.raises(PermitRefused, match="time is over"):
        handle.as_(session).my_ballot()
    elsewhere = net.permit(alice, [vote(net, bob)], ["ballot"])
    with pytest.raises(PermitRefused, match="other contracts"):
        handle.as_(elsewhere).my_ballot()


def test_time_tells_secrets_apart_that_nothing_else_does(net, alice, tmp_path, monkeypatch):
    (tmp_path / "slow_example.py").write_text(
        "from keephold import Call, Contract, call\n\n\nclass Slow(Contract):\n"
        "    @call\n    def spin(self, ctx: Call, turns: int) -> None:\n"
        "        for _ in range(turns):\n            pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from slow_example import Slow

    def story(turns):
        net.deploy(Slow, sender=alice).as_(alice).spin(turns)

    net.assert_indistinguishable(story, 100, 99_999)
    net.assert_indistinguishable(story, 100, 101, time=True)
    with pytest.raises(AssertionError, match="call 1: time"):
        net.assert_indistinguishable(story, 100, 99_999, time=True)


def test_refusals_are_told_from_answers(net, alice, bob):
    handle = vote(net, alice)
    with pytest.raises(AssertionError, match="there was an answer"), net.refuses():
        handle.as_(alice).my_ballot()
    with pytest.raises(AssertionError, match="the contract answered"), net.refuses():
        handle.as_(bob).cast(1)
    with net.refuses():
        raise ChainRefused
    net.assert_truth_or_refusal(handle.as_(alice).my_ballot, None)
    with pytest.raises(AssertionError, match="expected 3 or no answer, got None"):
        net.assert_truth_or_refusal(handle.as_(alice).my_ballot, 3)
    with pytest.raises(Rejected):
        net.assert_truth_or_refusal(lambda: handle.as_(bob).cast(1), None)


def test_a_run_without_net_imports_the_vocabulary_only(tmp_path):
    test = """
import sys

def test_nothing():
    heavy = {"keephold.testing.network", "keephold.client", "keephold.crypto", "msgspec", "sr25519"}
    assert not heavy & set(sys.modules)
"""
    assert run_pytest(tmp_path, test).returncode == 0


def test_a_url_where_nothing_of_this_user_runs(tmp_path):
    ended = run_pytest(tmp_path, TOKEN_TEST, "--net", "http://127.0.0.1:1")
    assert ended.returncode == 1
    assert "its genesis has to be known here" in ended.stdout


def vote(net, sender):
    return net.deploy(Vote, "?", ("no", "yes"), (sender,), 1, 60, sender=sender)


def test_a_handle_without_an_account_reads_what_is_public_only(net, alice):
    auction = net.deploy(Auction, "a clock", 1, 60, sender=alice)
    assert auction.offer()[0] == "a clock"
    with pytest.raises(InputError, match="who"):
        auction.my_bid()
    with pytest.raises(AttributeError, match="there: bid, close"):
        auction.as_(alice).sell()


def test_arguments_are_checked_before_anything_happens(net, alice):
    with pytest.raises(AbiError, match="answer"):
        vote(net, alice).as_(alice).cast("yes")


def test_a_class_in_a_file_that_no_worker_would_load(net, alice):
    class Inline(Contract):
        """This file imports pytest."""

    with pytest.raises(SandboxError, match="not available to contracts"):
        net.deploy(Inline, sender=alice)


def test_rejects_says_what_happened_instead(net, alice, bob):
    handle = vote(net, alice)
    with net.rejects("not_enrolled") as refused:
        handle.as_(bob).cast(1)
    assert refused.detail == ""
    with (
        pytest.raises(AssertionError, match="expected the rejection too_late, got not_enrolled"),
        net.rejects("too_late"),
    ):
        handle.as_(bob).cast(1)
    with pytest.raises(AssertionError, match="nothing was rejected"), net.rejects("too_late"):
        handle.as_(alice).cast(1)


def test_a_failure_names_the_line(net, alice, tmp_path, monkeypatch):
    (tmp_path / "broken_example.py").write_text(
        "from keephold import Call, Contract, call\n\n\nclass Broken(Contract):\n"
        "    @call\n    def divide(self, ctx: Call, by: int) -> int:\n        return 1 // by\n"
        "    @call\n    def half(self, ctx: Call, of: int) -> int:\n        if of: return str(of)\n        return ()\n"
        "    @call\n    def third(self, ctx: Call, of: int) -> int:\n        of = str(of)\n        return of\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from broken_example import Broken

    broken = net.deploy(Broken, sender=alice).as_(alice)
    assert broken.divide(1) == 1
    with pytest.raises(ContractFailed, match="line 7: ZeroDivisionError"):
        broken.divide(0)
    with pytest.raises(ContractFailed, match=r"line 9: BadResult: the result: .* \(in: def half"):
        broken.half(3)
    with pytest.raises(ContractFailed, match=r"line 15: BadResult: the result: .* \(in: return of"):
        broken.third(3)


def test_time_and_blocks_move_when_told(net, alice):
    before = net.block
    net.mine(3)
    assert net.block.height == before.height + 3
    net.warp(0.5)
    assert net.block.time_ns == before.time_ns + 3_500_000_000


def test_a_snapshot_brings_everything_back(net, alice):
    handle = vote(net, alice)
    before, block = net.snapshot(), net.block
    handle.as_(alice).cast(1)
    net.mine()
    net.restore(before)
    assert handle.as_(alice).my_ballot() is None
    assert net.block == block
