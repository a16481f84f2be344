"""Names for byte strings that look alike. A `NewType` costs nothing at run time and keeps them apart in review."""

from __future__ import annotations

from typing import NewType

NetworkId = NewType("NetworkId", bytes)
"""32 bytes: tagged hash of the canonical genesis. Mixed into every derivation, signature and report."""

PublicKey = NewType("PublicKey", bytes)
"""32 bytes: an sr25519 public key (ristretto255 encoding): an account, worker, gatekeeper or contract."""

ContractId = NewType("ContractId", bytes)
"""32 bytes: tagged hash of network, creator, nonce, code hash and policy."""

CodeHash = NewType("CodeHash", bytes)
"""32 bytes: tagged hash of a contract's kind and source."""

InstanceId = NewType("InstanceId", bytes)
"""32 bytes, random in the enclave at each attestation: tells two boots of one identity apart."""

Measurement = NewType("Measurement", bytes)
"""32 bytes: tagged hash of a platform's code registers (MRENCLAVE; MRTD and RTMR0-3)."""

PlatformId = NewType("PlatformId", bytes)
"""32 bytes: tagged hash of the hardware's identity in the verified quote (PPID)."""

TransactionId = NewType("TransactionId", bytes)
"""32 bytes: SHA-256 of a signed transaction's bytes; also its leaf in `data_hash`."""

HeaderHash = NewType("HeaderHash", bytes)
"""32 bytes: CometBFT header hash."""

StateRoot = NewType("StateRoot", bytes)
"""32 bytes: root of a sparse Merkle map."""

SlotTag = NewType("SlotTag", bytes)
"""32 bytes: PRF of a storage key under the contract's tag key; all the ledger sees of a key."""

Height = NewType("Height", int)
"""Block height, from 1."""
