"""Every domain-separation label, once.

A label names one use of one primitive. Two uses that share a label can be confused by an attacker; so a label is an
object made here, a duplicate fails at import, and no function in `crypto` takes a bare string.
"""

from __future__ import annotations

from typing import Final, final

_PREFIX: Final = "keephold/"
_registered: dict[str, Label] = {}


@final
class Label:
    """A registered, versioned domain-separation label; `Label("transaction/1")` may run once per name."""

    __slots__ = ("encoded", "name")

    def __init__(self, name: str) -> None:
        if name in _registered:
            raise RuntimeError(f"label {name!r} is registered twice")
        stem, _, version = name.rpartition("/")
        if not stem or not version.isdigit() or not name.isascii():
            raise RuntimeError(f"label {name!r} is not `use/version`")
        _registered[name] = self
        self.name: Final = name
        self.encoded: Final = (_PREFIX + name).encode()

    def __repr__(self) -> str:
        return f"Label({self.name!r})"


def registered() -> tuple[str, ...]:
    """Return the names of all labels, sorted: for the documentation and its test."""
    return tuple(sorted(_registered))


# identities: hashes that name things
NETWORK = Label("network/1")
CODE = Label("code/1")
CONTRACT = Label("contract/1")
MEASUREMENT_SGX = Label("measurement-sgx/1")
MEASUREMENT_TDX = Label("measurement-tdx/1")
MEASUREMENT_TDX_EVENTS = Label("measurement-tdx-events/1")
PLATFORM = Label("platform/1")
REPORT_DATA = Label("report-data/1")
QUERY_REQUEST = Label("query-request/1")
PERMIT = Label("permit/1")

# the ledger: paths, leaves, chains
PATH = Label("path/1")
MAP_LEAF = Label("map-leaf/1")
MAP_NODE = Label("map-node/1")
MAP_VALUE = Label("map-value/1")
INBOX = Label("inbox/1")
ENTRY = Label("entry/1")
GOVERNANCE_CHAIN = Label("governance-chain/1")
RECEIPTS = Label("receipts/1")
RESULT = Label("result/1")
MIGRATION = Label("migration/1")
PUBLICATION = Label("publication/1")
SNAPSHOT = Label("snapshot/1")

# signatures: what an sr25519 key signs
SIGN_TRANSACTION = Label("sign-transaction/1")
SIGN_GOVERNANCE = Label("sign-governance/1")
SIGN_OPERATOR = Label("sign-operator/1")
SIGN_QUERY = Label("sign-query/1")
SIGN_PERMIT = Label("issue-permit/1")
SIGN_ATTACHMENT = Label("sign-attachment/1")

# signatures: what a session's Ed25519 key signs
SIGN_BEARER = Label("sign-bearer/1")

# keys: what is derived from what
SEED_SIGNING = Label("seed-signing/1")
SEED_ENCRYPTION = Label("seed-encryption/1")
LINE_CONTRACT = Label("line-contract/1")
LINE_SIGNING = Label("line-signing/1")
LINE_CHANNEL = Label("line-channel/1")
MASTER_PEPPER = Label("master-pepper/1")
LINE_SEED = Label("line-seed/1")
CONTRACT_SEED = Label("contract-seed/1")
KEY_STATE = Label("key-state/1")
KEY_TAG = Label("key-tag/1")
KEY_ENTROPY = Label("key-entropy/1")
KEY_EVENT = Label("key-event/1")
KEY_CHANNEL = Label("key-channel/1")
AEAD_KEY = Label("aead-key/1")
AEAD_NONCE = Label("aead-nonce/1")
OWNED_ROOT = Label("owned-root/1")
OWNED_KEY = Label("owned-key/1")
KEY_DISK = Label("key-disk/1")
KEY_CACHE = Label("key-cache/1")
KEY_PLATFORM = Label("key-platform/1")
KEY_DEVELOPMENT = Label("key-development/1")
ENTROPY_CALL = Label("entropy-call/1")
UNREADABLE = Label("unreadable/1")
SLOT_NONCE = Label("slot-nonce/1")
SLOT_MIGRATION = Label("slot-migration/1")

# envelopes: associated data and HPKE info
SEAL_CALL = Label("seal-call/1")
SEAL_RECEIPT = Label("seal-receipt/1")
SEAL_REPEATED = Label("seal-repeated/1")
SEAL_QUERY = Label("seal-query/1")
SEAL_ANSWER = Label("seal-answer/1")
SEAL_SLOT = Label("seal-slot/1")
SEAL_EVENT = Label("seal-event/1")
SEAL_MESSAGE = Label("seal-message/1")
SEAL_MESSAGE_ANSWER = Label("seal-message-answer/1")
SEAL_RELEASE = Label("seal-release/1")
SEAL_DEALING = Label("seal-dealing/1")
SEAL_DISK = Label("seal-disk/1")
SEAL_KEYSTORE = Label("seal-keystore/1")
EVENT_TAG = Label("event-tag/1")
EVENT_PUBLIC = Label("event-public/1")

# threshold cryptography
DKG_GENERATOR = Label("dkg-generator/1")
DKG_POSSESSION = Label("dkg-possession/1")
DKG_PEPPER = Label("dkg-pepper/1")
DKG_CONSISTENCY = Label("dkg-consistency/1")
DKG_CONTEXT = Label("dkg-context/1")
DKG_DIGEST = Label("dkg-digest/1")
DKG_SECRET = Label("dkg-secret/1")
DKG_SEED = Label("dkg-seed/1")
DLEQ = Label("dleq/1")

# in the published vectors alone: a label that a vector names is never used for anything else
VECTOR_CALL = Label("call-id/1")
VECTOR_VALUE = Label("state-value/1")
VECTOR_PERMIT = Label("sign-permit/1")
