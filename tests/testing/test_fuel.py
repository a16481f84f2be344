"""What stands in for a worker's state, where only fuel is of interest, is like it in size."""

from __future__ import annotations

import pytest

from keephold.base.ids import ContractId, NetworkId
from keephold.contract.keys import SCHEMES
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import KeyName
from keephold.sealing.owned_keys import OwnedKeys
from keephold.testing.fuel import Committed


@pytest.mark.parametrize("scheme", SCHEMES)
def test_public_keys_have_the_length_that_a_worker_gives_them(scheme):
    owned = OwnedKeys(SecretBytes(b"s" * 32), NetworkId(b"n" * 32), ContractId(b"c" * 32))
    name = KeyName(scheme, "k")
    assert len(Committed({}).public_key(name)) == len(owned.public(name))
