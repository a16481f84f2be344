"""A sealed query and its sealed answer: they never touch the ledger.

The question is signed by its reader over network, contract, epoch, the worker's instance, method, arguments, a
one-time answer key and a minimum height, then sealed to the contract. The signature is *inside*: a gateway learns
neither who asks nor what. Bound to one instance, a recorded question cannot be asked again of another worker or of
the same worker after a restart; within one instance its repetition yields the same answer to the same key.

The answer is sealed under the one-time key and bound to the hash of the sealed question, the state version, height,
block hash and epoch it was read from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keephold.base.errors import SealBroken
from keephold.base.ids import ContractId, NetworkId
from keephold.crypto import hpke, signing
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hashing import number, tagged_hash
from keephold.crypto.labels import QUERY_REQUEST, SEAL_ANSWER, SEAL_QUERY, SIGN_QUERY
from keephold.crypto.padding import pad, unpad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import Answer, QueryBody, SignedQuery

if TYPE_CHECKING:
    from keephold.sealing.contract_keys import ContractKeys


def sign_query(key: signing.SigningKey, body: QueryBody) -> SignedQuery:
    """Return the query signed by its reader."""
    return SignedQuery(body, key.sign(SIGN_QUERY, encode(body)))


def verify_query(query: SignedQuery) -> QueryBody:
    """Return the body once its reader's signature holds.

    Raises:
        BadKey, BadSignature: the named reader did not ask this.
    """
    signing.verify(query.body.reader, query.signature, SIGN_QUERY, encode(query.body))
    return query.body


def request_digest(sealed: bytes) -> bytes:
    """Return the 32-byte name of a sealed question, which its answer repeats."""
    return tagged_hash(QUERY_REQUEST, sealed)


def seal_query(encryption_key: bytes, query: SignedQuery, buckets: tuple[int, ...]) -> bytes:
    """Return the envelope of a query.

    Raises:
        BadKey: not a public key.
    """
    body = query.body
    return hpke.seal(
        encryption_key, pad(encode(query), buckets), SEAL_QUERY, body.network, body.contract, number(body.epoch)
    )


def open_query(keys: ContractKeys, sealed: bytes) -> SignedQuery:
    """Return the query, its signature not yet verified.

    Raises:
        SealBroken: sealed to another key, contract, epoch or network, or altered.
        EncodingError: opened, but not a query.
    """
    plain = keys.encryption.open(sealed, SEAL_QUERY, keys.network, keys.contract, number(keys.epoch))
    return decode(unpad(plain), SignedQuery)


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
