"""A committee with its shares, made by hand: what a ceremony leads to, in a few lines."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace

from msgspec.structs import replace
from worker_cast import CONTRACT, NETWORK, WORKER

from keephold.base.ids import InstanceId, PublicKey, TransactionId
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.ristretto import multiply_base, scalar, secret_scalar
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.polynomial import evaluate
from keephold.crypto.signing import SigningKey
from keephold.custody.public.dealing import pepper_commitment
from keephold.custody.secret.release import partial, prf_input
from keephold.custody.secret.share import Share
from keephold.enclave.identity import Instance
from keephold.protocol.custody import CommitteeKeys, CommitteeSeat, PartialBatch
from keephold.protocol.lines import ContractLine, KeyLine
from keephold.protocol.marks import Mark
from keephold.protocol.messages import ReleasePlain
from keephold.protocol.transactions import KeyRelease, KeyRequest, sign, transaction_id
from keephold.sealing.release import ReleaseContext, seal_partials

HEIGHT, HEADER = 40, b"h" * 32
ITEM = ContractLine(CONTRACT, 1)
MARK = Mark(CONTRACT, 1, 5, b"r" * 32)
"""Where honest gatekeepers saw the contract."""


def entropy(size: int) -> bytes:
    return b"e" * size


class Committee:
    """n gatekeepers of which t make a key."""

    def __init__(self, n: int = 3, t: int = 2, name: str = "one", sharing_epoch: int = 1) -> None:
        def wide(at: int) -> SecretBytes:
            return SecretBytes(hashlib.sha512(f"{name} {at}".encode()).digest())

        coefficients = [secret_scalar(wide(at)) for at in range(t)]
        pepper = SecretBytes(bytes(32))
        self.members = [SigningKey(SecretBytes(hashlib.sha256(f"{name} g{at}".encode()).digest())) for at in range(n)]
        values = [evaluate(coefficients, at + 1) for at in range(n)]
        self.keys = CommitteeKeys(
            network=NETWORK,
            master=multiply_base(coefficients[0]) if t > 1 else multiply_base(values[0]),
            threshold=t,
            sharing_epoch=sharing_epoch,
            seats=tuple(
                CommitteeSeat(at + 1, key.public, multiply_base(value))
                for at, (key, value) in enumerate(zip(self.members, values, strict=True))
            ),
            peppers=(pepper_commitment(NETWORK, pepper),),
        )
        self.shares = [Share(at + 1, value, SecretBytes(pepper.reveal()), self.keys) for at, value in enumerate(values)]

    def with_share(self, seat: int, value: int) -> CommitteeKeys:
        """Return the record with another public share at one seat."""
        seats = tuple(
            replace(entry, public_share=multiply_base(scalar(value))) if entry.seat == seat else entry
            for entry in self.keys.seats
        )
        return replace(self.keys, seats=seats)

    def batch(self, at: int, items: Sequence[KeyLine] = (ITEM,)) -> PartialBatch:
        return partial(self.shares[at], inputs(items), entropy)

    def release(self, at: int, desk: Desk, **other: object) -> tuple[TransactionId, bytes]:
        """Return gatekeeper `at`'s ordered release; `other` replaces what an honest one would say."""
        sender = other.get("sender", self.members[at])
        told = ReleasePlain(
            other.get("batch", self.batch(at)),
            other.get("height", HEIGHT),
            other.get("header", HEADER),
            other.get("marks", (MARK,)),
        )
        instance = other.get("instance", desk.instance)
        request = other.get("request", desk.request)
        context = ReleaseContext(NETWORK, self.members[at].public, WORKER, instance.id, request)
        sealed = seal_partials(instance.encryption.public, context, told)
        body = KeyRelease(other.get("worker", WORKER), other.get("names", instance.id), request, sealed)
        raw = sign(NETWORK, sender, 0, body)
        return transaction_id(raw), raw


def inputs(items: Sequence[KeyLine]) -> list[bytes]:
    return [prf_input(NETWORK, item) for item in items]


class Desk:
    """A worker that has asked: its desk, its instance, its request."""

    def __init__(self, desk, identity: SigningKey) -> None:
        self.desk = desk
        self.identity = identity
        self.instance = Instance(InstanceId(b"i" * 32), EncryptionKey(SecretBytes(b"x" * 32)))
        desk.want(ITEM)
        body = desk.due(self.instance, 0.0)
        assert body == KeyRequest(self.instance.id, (ITEM,))
        raw = sign(NETWORK, identity, 0, body)
        self.request = transaction_id(raw)
        desk.observe(self.request, raw, self.instance)

    def take(self, release: tuple[TransactionId, bytes]) -> bool:
        return self.desk.observe(*release, self.instance)


def registered(key: PublicKey, role: str = "gatekeeper") -> SimpleNamespace:
    """What `verify_committee` reads of a verified registration."""
    return SimpleNamespace(identity=key, proof=SimpleNamespace(claim=SimpleNamespace(role=role)))


def law(*thresholds: int) -> SimpleNamespace:
    """What `least_threshold` reads of a law."""
    from keephold.protocol.governance import CommitteeRules, SetCommittee

    rules = [CommitteeRules(2 * t - 1, t, 1) for t in thresholds]
    entries = [
        SimpleNamespace(signed=SimpleNamespace(proposal=SimpleNamespace(action=SetCommittee(r)))) for r in rules[1:]
    ]
    return SimpleNamespace(genesis=SimpleNamespace(law=SimpleNamespace(committee=rules[0])), entries=entries)
