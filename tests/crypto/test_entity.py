from __future__ import annotations

import pytest

from keephold.base.errors import BadKey
from keephold.crypto import labels
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hpke import EncryptionKey, seal
from keephold.crypto.kdf import derive
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey, verify

SEED = SecretBytes(bytes(range(32)))


def test_one_seed_gives_two_independent_keys() -> None:
    keys = EntityKeys(SEED)
    assert keys.signing.public == SigningKey(derive(SEED, labels.SEED_SIGNING)).public
    assert keys.encryption.public == EncryptionKey(derive(SEED, labels.SEED_ENCRYPTION)).public
    assert keys.signing.public != SigningKey(SEED).public
    assert keys.encryption.public != EncryptionKey(SEED).public


def test_both_keys_work() -> None:
    keys = EntityKeys.generate()
    verify(keys.signing.public, keys.signing.sign(labels.SIGN_OPERATOR, b"x"), labels.SIGN_OPERATOR, b"x")
    assert keys.encryption.open(seal(keys.encryption.public, b"x", labels.SEAL_CALL), labels.SEAL_CALL) == b"x"


def test_generated_entities_differ() -> None:
    one, two = EntityKeys.generate(), EntityKeys.generate()
    assert one.signing.public != two.signing.public
    assert one.encryption.public != two.encryption.public


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        EntityKeys(SecretBytes(bytes(size)))


def test_a_wiped_seed_makes_no_keys() -> None:
    seed = SecretBytes(bytes(32))
    seed.wipe()
    with pytest.raises(BadKey):
        EntityKeys(seed)
