"""Who and what every scene of one contract names: its keys, its code, its callers, its workers."""

from __future__ import annotations

import json
from types import SimpleNamespace

from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.follower.admission import Admitted
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.messages import CallPlain
from keephold.protocol.transactions import (
    Call,
    sign,
)
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.owned_keys import OwnedKeys
from keephold.worker.code import ContractCode, contract_code

NETWORK = NetworkId(b"n" * 32)
CONTRACT = ContractId(b"c" * 32)
WORKER_KEY, OTHER_KEY = SigningKey(SecretBytes(b"w" * 32)), SigningKey(SecretBytes(b"v" * 32))
WORKER, OTHER = WORKER_KEY.public, OTHER_KEY.public
INSTANCE = b"i" * 32
PAD = (512, 4096)
VIEWS = {
    "balance": {"kind": "view", "scope": "balance"},
    "title": {"kind": "view", "public": True},
}
ABI = json.dumps({"abi": 1, "pad": list(PAD), "methods": VIEWS}).encode()
REPLY_KEY = b"r" * 32


def keys(seed: bytes = b"k" * 32, epoch: int = 1) -> ContractKeys:
    return ContractKeys(SecretBytes(seed), NETWORK, CONTRACT, epoch)


KEYS = keys()
OWNED = OwnedKeys(SecretBytes(b"o" * 32), NETWORK, CONTRACT)


def code(policy: ContractPolicy = ContractPolicy(), *, tells: bool = False, abi: bytes = ABI) -> ContractCode:  # noqa: B008 - frozen
    return contract_code(
        CONTRACT, PublicKey(b"o" * 32), Code("python", b"", "Token", abi), policy, tells_failures=tells
    )


CODE = code()


class Caller:
    """An account."""

    def __init__(self, seed: bytes) -> None:
        self.key = SigningKey(SecretBytes(seed * 32))
        self.nonce = 0

    def call(self, method: str, arguments: bytes = b"[]", *, nonce: int | None = None, epoch: int = 1) -> bytes:
        """Return a signed call, under the next nonce or a given one."""
        if nonce is None:
            nonce = self.nonce
            self.nonce += 1
        context = CallContext(NETWORK, CONTRACT, epoch, self.key.public, nonce)
        public = KEYS.encryption.public if epoch == 1 else keys(epoch=epoch).encryption.public
        sealed = seal_call(public, context, CallPlain(method, arguments, REPLY_KEY), PAD)
        return self.signed(sealed, nonce, epoch)

    def signed(self, sealed: bytes, nonce: int, epoch: int = 1) -> bytes:
        return sign(NETWORK, self.key, nonce, Call(CONTRACT, epoch, sealed))


def admitted(identity: PublicKey, *, role: str = "worker", level: int = 1, operator: bytes = b"") -> Admitted:
    """What verified evidence of an enclave of its own operator and machine comes to."""
    claim = SimpleNamespace(role=role, operator=operator or bytes(identity))
    proof = SimpleNamespace(claim=claim, level=level, platform=b"p" + bytes(identity)[1:])
    return Admitted._mint(identity=identity, proof=proof, until_ns=1 << 62)
