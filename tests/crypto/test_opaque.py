"""No key object gives its key away by being printed, pickled, copied, listed or compared."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251 # what must not work
from collections.abc import Callable

import pytest

from keephold.crypto import labels
from keephold.crypto.aead import ContextSealer
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey

SEED = bytes(range(32))

MAKERS: dict[type[Opaque], Callable[[], Opaque]] = {
    ContextSealer: lambda: ContextSealer(SecretBytes(SEED), labels.SEAL_SLOT),
    EncryptionKey: lambda: EncryptionKey(SecretBytes(SEED)),
    EntityKeys: lambda: EntityKeys(SecretBytes(SEED)),
    SigningKey: lambda: SigningKey(SecretBytes(SEED)),
    ValidatorKey: lambda: ValidatorKey(SecretBytes(SEED)),
}

every_key = pytest.mark.parametrize("kind", MAKERS)


def test_every_key_class_of_these_modules_is_tried() -> None:
    ours = {kind for kind in Opaque.__subclasses__() if kind.__module__ in {maker.__module__ for maker in MAKERS}}
    assert ours == set(MAKERS)


@every_key
def test_its_repr_is_its_class(kind: type[Opaque]) -> None:
    key = MAKERS[kind]()
    assert repr(key) == str(key) == f"{key}" == f"{kind.__name__}(opaque)"


@every_key
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_never_pickles(kind: type[Opaque], protocol: int) -> None:
    with pytest.raises(TypeError):
        pickle.dumps(MAKERS[kind](), protocol)


@every_key
@pytest.mark.parametrize("leak", [copy.copy, copy.deepcopy, bytes, list, vars])
def test_it_becomes_nothing_else(kind: type[Opaque], leak: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        leak(MAKERS[kind]())


@every_key
def test_nothing_public_holds_the_seed(kind: type[Opaque]) -> None:
    key = MAKERS[kind]()
    public = [getattr(key, name) for name in dir(key) if not name.startswith("_")]
    assert not [value for value in public if isinstance(value, bytes) and SEED in value]
    assert not [value for value in public if isinstance(value, SecretBytes)]


@every_key
def test_equality_is_identity(kind: type[Opaque]) -> None:
    assert MAKERS[kind]() != MAKERS[kind]()
