"""A gatekeeper's partials on their way to a worker, over the public ledger.

t such envelopes, opened, *are* contract keys. So each is sealed to the encryption key that the worker's quote binds,
which lives in that instance's memory only, and bound to network, worker, instance and the request it answers.
"""

from __future__ import annotations

from typing import NamedTuple

from keephold.base.ids import InstanceId, NetworkId, PublicKey, TransactionId
from keephold.crypto import hpke
from keephold.crypto.labels import SEAL_RELEASE
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import ReleasePlain


class ReleaseContext(NamedTuple):
    """Everything a release is bound to."""

    network: NetworkId
    gatekeeper: PublicKey
    worker: PublicKey
    instance: InstanceId
    request: TransactionId


def seal_partials(encryption_key: bytes, context: ReleaseContext, plain: ReleasePlain) -> bytes:
    """Return the envelope of one gatekeeper's partials.

    The caller owes the verification of the registration that `encryption_key` comes from: see `follower.trust`.

    Raises:
        BadKey: not a public key.
    """
    return hpke.seal(encryption_key, encode(plain), SEAL_RELEASE, *context)


def open_partials(key: hpke.EncryptionKey, context: ReleaseContext, sealed: bytes) -> ReleasePlain:
    """Return one gatekeeper's partials; their proofs are checked where they are combined.

    Raises:
        SealBroken: for another instance or request, or altered.
        EncodingError: opened, but not partials.
    """
    return decode(key.open(sealed, SEAL_RELEASE, *context), ReleasePlain)
