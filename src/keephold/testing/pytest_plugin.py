"""The pytest plugin: fixtures `net`, and `alice` to `judy`.

It is loaded into every pytest run of an environment that has keephold, so it costs nothing until a test asks for
`net`: nothing of keephold beyond its vocabulary is imported before.

Isolation: what a test does to `net` is undone at its end, and what one Hypothesis example does, before the next. What
fixtures of a wider scope deployed stays for as long as they live. A ledger does not go back: there each `deploy` makes
a contract of its own, and one that another test or example changed is refused.

A test marked `attack` runs on a network in this process whatever `--net` says, with the same accounts. All such tests
of a run share one network, which the first of them starts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from keephold.client.account import Account
    from keephold.testing.deployed import LedgerBackend
    from keephold.testing.network import Net

NATIVE: Final = "native"
LOCAL: Final = "local"
ACCOUNTS: Final = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
"""As on a devnet."""

_NET: Final = pytest.StashKey["Net"]()
_BENCH: Final = pytest.StashKey["LedgerBackend"]()
"""What tests marked `attack` run on."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--net`."""
    parser.getgroup("keephold").addoption(
        "--net",
        default=NATIVE,
        metavar="WHERE",
        help="where tests with the `net` fixture run: native (default), local (a network in this process), "
        "devnet (starts one), or a running devnet's URL",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "attack: runs on a network in this process, where `net.attack` has adversaries")


@pytest.fixture(scope="session")
def net(request: pytest.FixtureRequest) -> Iterator[Net]:
    """A network to deploy contracts on; see `keephold.testing.network.Net`."""
    where = str(request.config.getoption("--net"))
    made = _open(where)
    request.config.stash[_NET] = made
    try:
        yield made
    finally:
        del request.config.stash[_NET]
        bench = request.config.stash.get(_BENCH, None)
        if bench is not None:
            del request.config.stash[_BENCH]
            bench.close()
        made.close()


def _open(where: str) -> Net:
    from keephold.testing.network import Net

    if where == NATIVE:
        from keephold.testing.native import NativeBackend

        return Net(NativeBackend(ACCOUNTS))
    if where == LOCAL:
        from keephold.testing.local_backend import open_local
        from keephold.testing.native import native_account

        return Net(open_local({name: native_account(name) for name in ACCOUNTS}))
    from keephold.testing.deployed import open_backend

    return Net(open_backend(where))


def _account_fixture(name: str) -> Callable[..., Any]:
    @pytest.fixture(scope="session", name=name)
    def account(net: Net) -> Account:
        return net.account(name)

    return account


alice, bob, carol, dave, erin, frank, grace, heidi, ivan, judy = map(_account_fixture, ACCOUNTS)


@pytest.fixture(autouse=True)
def _keephold_isolation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo what a test did. Fixtures of wider scope are set up before this one, so theirs stays."""
    made = request.config.stash.get(_NET, None)
    if made is None:
        yield
        return
    with ExitStack() as stack:
        if request.node.get_closest_marker("attack") and not made.can_be_attacked:
            stack.enter_context(made.on(_bench(request.config, made)))
        stack.enter_context(made.isolated())
        yield


def _bench(config: pytest.Config, made: Net) -> LedgerBackend:
    from keephold.testing.local_backend import open_local

    if _BENCH not in config.stash:
        config.stash[_BENCH] = open_local({name: made.account(name) for name in ACCOUNTS})
    return config.stash[_BENCH]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Undo what each Hypothesis example did."""
    made = item.config.stash.get(_NET, None)
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    inner = getattr(handle, "inner_test", None)
    if made is None or inner is None:
        return (yield)

    @functools.wraps(inner)
    def isolated(*args: Any, **kwargs: Any) -> Any:
        with made.isolated():
            return inner(*args, **kwargs)

    setattr(handle, "inner_test", isolated)  # noqa: B010 - Hypothesis' own hook for this, which its types do not name
    try:
        return (yield)
    finally:
        setattr(handle, "inner_test", inner)  # noqa: B010 - as above
