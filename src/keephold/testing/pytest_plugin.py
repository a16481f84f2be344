"""The pytest plugin: fixtures `net`, and `alice` to `judy`.

It is loaded into every pytest run of an environment that has keephold, so it costs nothing until a test asks for
`net`: nothing of keephold beyond its vocabulary is imported before.

Isolation: what a test does to `net` is undone at its end, and what one Hypothesis example does, before the next. What
fixtures of a wider scope deployed stays for as long as they live. A ledger does not go back: with `--net devnet` each
`deploy` makes a contract of its own, and that is the isolation.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from keephold.client.account import Account
    from keephold.testing.network import Net

NATIVE: Final = "native"
ACCOUNTS: Final = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
"""As on a devnet."""

_NET: Final = pytest.StashKey["Net"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--net`."""
    parser.getgroup("keephold").addoption(
        "--net",
        default=NATIVE,
        metavar="WHERE",
        help="where tests with the `net` fixture run: native (default), devnet (starts one), or a running devnet's URL",
    )


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
        made.close()


def _open(where: str) -> Net:
    from keephold.testing.network import Net

    if where == NATIVE:
        from keephold.testing.native import NativeBackend

        return Net(NativeBackend(ACCOUNTS))
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
    with made.isolated():
        yield


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
