from __future__ import annotations

from collections.abc import Iterator

import pytest

from keephold.crypto import labels
from keephold.crypto.labels import Label, registered


@pytest.fixture(autouse=True)
def _leave_the_registry_as_it_was() -> Iterator[None]:
    before = dict(labels._registered)
    yield
    labels._registered.clear()
    labels._registered.update(before)


def test_a_duplicate_label_fails() -> None:
    Label("only-here/1")
    with pytest.raises(RuntimeError, match="twice"):
        Label("only-here/1")


def test_a_label_of_the_product_cannot_be_registered_again() -> None:
    with pytest.raises(RuntimeError, match="twice"):
        Label(labels.NETWORK.name)


def test_versions_of_one_use_are_different_labels() -> None:
    assert Label("only-here/1").encoded != Label("only-here/2").encoded


@pytest.mark.parametrize("name", ["", "unversioned", "/1", "use/", "use/one", "use/-1", "ünicode/1"])
def test_a_label_is_a_use_and_a_version(name: str) -> None:
    with pytest.raises(RuntimeError, match="use/version"):
        Label(name)
    assert name not in registered()


def test_a_label_carries_the_name_of_the_product() -> None:
    assert labels.NETWORK.encoded == b"keephold/network/1"
    assert repr(labels.NETWORK) == "Label('network/1')"


def test_every_label_of_the_module_is_registered_and_listed_in_order() -> None:
    made = {value.name for value in vars(labels).values() if isinstance(value, Label)}
    assert made <= set(registered())
    assert list(registered()) == sorted(registered())
