"""A sealed query and its sealed answer: they never touch the ledger.

The question is signed by its reader over network, contract, epoch, the worker's instance, method, arguments, a
one-time answer key and a minimum height, then sealed to the contract. The signature is *inside*: a gateway learns
neither who asks nor what. Bound to one instance, a recorded question cannot be asked again of another worker or of
the same worker after a restart; within one instance its repetition yields the same answer to the same key.

Somebody else may ask in the reader's name under a permit: the reader signed the permit, the permit's bearer signs the
question. Permit and both signatures are inside the seal too; a larger envelope is all that shows. Whether the permit
holds here and now is the worker's judgement (`worker.permits`): it depends on the ledger.

The answer is sealed under the one-time key and bound to the hash of the sealed question, the state version, height,
block hash and epoch it was read from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keephold.base.errors import BadSignature, SealBroken
from keephold.base.ids import ContractId, NetworkId
from keephold.crypto import bearer, hpke, signing
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import QUERY_REQUEST, SEAL_ANSWER, SEAL_QUERY, SIGN_BEARER, SIGN_PERMIT, SIGN_QUERY
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import Answer, Asked, PermittedQuery, QueryBody, SignedQuery
from keephold.protocol.permits import Permit, SignedPermit, permit_hash

if TYPE_CHECKING:
    from keephold.sealing.contract_keys import ContractKeys


def sign_query(key: signing.SigningKey, body: QueryBody) -> SignedQuery:
    """Return the query signed by its reader."""
    return SignedQuery(body, key.sign(SIGN_QUERY, encode(body)))


def issue_permit(key: signing.SigningKey, permit: Permit) -> SignedPermit:
    """Return the permit signed by its issuer."""
    return SignedPermit(permit, key.sign(SIGN_PERMIT, encode(permit)))


def verify_permit(signed: SignedPermit) -> Permit:
    """Return the permit once its issuer's signature holds.

    Raises:
        BadKey, BadSignature: the named issuer did not sign this.
    """
    signing.verify(signed.permit.issuer, signed.signature, SIGN_PERMIT, encode(signed.permit))
    return signed.permit


def sign_permitted(key: bearer.BearerKey, permit: SignedPermit, body: QueryBody) -> PermittedQuery:
    """Return the query signed by the permit's bearer."""
    return PermittedQuery(body, permit, key.sign(SIGN_BEARER, permit_hash(permit.permit), encode(body)))


def verify_query(query: SignedQuery | PermittedQuery) -> QueryBody:
    """Return the body once it is the reader who asks, or whom he let ask.

    Whether a permit holds for this question, now, is the caller's to check.

    Raises:
        BadKey, BadSignature: the named reader neither asked this nor signed the permit; or not the bearer asks.
    """
    body = query.body
    if isinstance(query, SignedQuery):
        signing.verify(body.reader, query.signature, SIGN_QUERY, encode(body))
        return body
    # (1) The issuer signed the permit, and it is he in whose name is asked.
    permit = verify_permit(query.permit)
    if body.reader != permit.issuer:
        raise BadSignature("a permit of another account")
    # (2) The bearer signed this question, under this permit.
    bearer.verify(permit.bearer, query.signature, SIGN_BEARER, permit_hash(permit), encode(body))
    return body


def request_digest(sealed: bytes) -> bytes:
    """Return the 32-byte name of a sealed question, which its answer repeats."""
    return tagged_hash(QUERY_REQUEST, sealed)


def seal_query(encryption_key: bytes, query: SignedQuery | PermittedQuery, buckets: tuple[int, ...]) -> bytes:
    """Return the envelope of a query.

    Raises:
        BadKey: not a public key.
    """
    body = query.body
    plain = pad(encode(Asked(query)), buckets)
    return hpke.seal(encryption_key, plain, SEAL_QUERY, body.network, body.contract, number(body.epoch))


def open_query(keys: ContractKeys, sealed: bytes) -> SignedQuery | PermittedQuery:
    """Return the query, no signature in it verified yet.

    Raises:
        SealBroken: sealed to another key, contract, epoch or network, or altered.
        EncodingError: opened, but not a query.
    """
    plain = keys.encryption.open(sealed, SEAL_QUERY, keys.network, keys.contract, number(keys.epoch))
    return decode(unpad(plain), Asked).query


def seal_answer(answer_key: SecretBytes, keys: ContractKeys, answer: Answer, buckets: tuple[int, ...]) -> bytes:
    """Return the envelope of an answer."""
    sealer = ContextSealer(answer_key, SEAL_ANSWER)
    return sealer.seal(pad(encode(answer), buckets), keys.network, keys.contract, answer.request)


def open_answer(
    answer_key: SecretBytes, network: NetworkId, contract: ContractId, request: bytes, sealed: bytes
) -> Answer:
    """Return the answer to the question named `request`.

    Whether it is fresh enough is the reader's judgement: the answer says what state it was read from.

    Raises:
        SealBroken: the answer to another question, or altered.
    """
    sealer = ContextSealer(answer_key, SEAL_ANSWER)
    answer = decode(unpad(sealer.open(sealed, network, contract, request)), Answer)
    if answer.request != request:
        raise SealBroken("the answer names another question")
    return answer
