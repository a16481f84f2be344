"""CometBFT's `chain_id` is the network id in base64url without padding: 43 characters of the 50 allowed.

Hexadecimal (64) and base32 (52) do not fit. The chain id is inside every header and every vote's sign bytes, so a
signature of one network never counts in another.
"""

from __future__ import annotations

import base64
import binascii

from keephold.base.errors import EncodingError
from keephold.base.ids import NetworkId


def chain_id(network: NetworkId) -> str:
    """Return the chain id of a network: 43 characters."""
    if len(network) != 32:
        raise EncodingError("a network id has 32 bytes")
    return base64.urlsafe_b64encode(network).rstrip(b"=").decode("ascii")


def network_id(encoded: str) -> NetworkId:
    """Return the network behind a chain id; raises EncodingError for anything `chain_id` does not return."""
    try:
        network = NetworkId(base64.b64decode(encoded + "=", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise EncodingError("not the chain id of a network") from error
    if chain_id(network) != encoded:  # the last character has two bits too many
        raise EncodingError("not the chain id of a network")
    return network
