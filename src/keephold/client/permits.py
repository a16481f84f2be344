"""Permits from their owner's side: issue one, hand it over, revoke it.

    session = network.permit(account=alice, contracts=[token.address], scopes=["balance"])
    token.query("balance", account=session)             # alice's balance, without her key
    network.revoke(session.permit, account=alice)

A `Session` is a signed permit with its bearer's key, and asks wherever an account can ask. Its `reveal` is a text that
whoever holds it can ask with. Where the other side keeps its own key (an auditor, a browser whose key cannot be read),
it tells its public half, and gets a permit (`text`) that is worth nothing to anybody else.

A permit is issued for the generation that the ledger proves, and by the ledger's time: this machine's clock plays no
part. It begins a minute early, so that a worker a few blocks behind takes it at once.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, TypeVar, final

from keephold.base.errors import EncodingError, InputError
from keephold.base.ids import NetworkId, PublicKey
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.contract.address import Address
from keephold.crypto import bearer as bearers
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.messages import PermittedQuery, QueryBody
from keephold.protocol.permits import EVERYWHERE, LONGEST_NS, Permit, SignedPermit, permit_hash
from keephold.protocol.state import AccountRecord, account_path, revocation_path
from keephold.protocol.transactions import Body, RevokePermit, RevokePermits
from keephold.protocol.types import Bytes32
from keephold.sealing.query import issue_permit, sign_permitted, verify_permit

T = TypeVar("T", bound=Record)
Contracts = Sequence[Address] | Literal["*"]

ONE_DAY: Final = timedelta(days=1)
_SECOND: Final = 10**9
_EARLY_NS: Final = 60 * _SECOND
_SALT: Final = 16
_PERMIT: Final = "keephold-permit:"
_SESSION: Final = "keephold-session:"


class _SessionPlain(Record):
    permit: SignedPermit
    seed: Bytes32


@final
class Session(Opaque):
    """A permit and the key of its bearer: a `Reader` in the name of the permit's issuer."""

    __slots__ = ("_key", "_seed", "permit")

    def __init__(self, permit: SignedPermit, seed: SecretBytes) -> None:
        """Join a permit and its bearer's 32-byte seed.

        Raises:
            BadKey: no seed.
            BadSignature: the issuer did not sign the permit.
            InputError: the permit names another bearer.
        """
        verify_permit(permit)
        key = bearers.BearerKey(seed)
        if key.public != permit.permit.bearer:
            raise InputError("the permit names another bearer than this key")
        self.permit: Final = permit
        self._seed: Final = seed
        self._key: Final = key

    @property
    def reader(self) -> PublicKey:
        """In whose name is asked."""
        return PublicKey(self.permit.permit.issuer)

    def ask(self, body: QueryBody) -> PermittedQuery:
        """See `account.Reader`."""
        return sign_permitted(self._key, self.permit, body)

    def reveal(self) -> str:
        """Return the session as a text. Whoever reads it can ask what the permit allows: hand it to one party."""
        return _spelled(_SESSION, _SessionPlain(self.permit, self._seed.reveal()))

    @classmethod
    def parse(cls, text: str) -> Session:
        """Return the session that `reveal` made a text of.

        Raises:
            InputError: another text.
            BadKey, BadSignature: altered.
        """
        plain = _parsed(_SESSION, text, _SessionPlain)
        return cls(plain.permit, SecretBytes(plain.seed))


def permit_text(permit: SignedPermit) -> str:
    """Return a permit as a text: no secret, but it tells who lets whom read what."""
    return _spelled(_PERMIT, permit)


def parse_permit(text: str) -> SignedPermit:
    """Return the permit in a text, of a session or of a permit alone; its issuer's signature is verified.

    Raises:
        InputError: another text.
        BadKey, BadSignature: altered.
    """
    is_session = text.strip().startswith(_SESSION)
    permit = _parsed(_SESSION, text, _SessionPlain).permit if is_session else _parsed(_PERMIT, text, SignedPermit)
    verify_permit(permit)
    return permit


def _spelled(prefix: str, record: Record) -> str:
    return prefix + base64.urlsafe_b64encode(encode(record)).decode().rstrip("=")


def _parsed(prefix: str, text: str, kind: type[T]) -> T:
    head, _, body = text.strip().partition(":")
    if f"{head}:" != prefix:
        raise InputError(f"expected a text that begins with {prefix}")
    try:
        raw = base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True)
        return decode(raw, kind)
    except (binascii.Error, ValueError, EncodingError) as error:
        raise InputError(f"not the whole of a text that begins with {prefix}: {error}") from None


async def issue(
    connection: Connection,
    account: Account,
    contracts: Contracts,
    scopes: Sequence[str],
    *,
    bearer: bytes,
    expires: timedelta = ONE_DAY,
    origin: str = "",
) -> SignedPermit:
    """Return a permit for the bearer with this Ed25519 public key, `expires` from now by the ledger's time.

    Raises:
        InputError: it names nothing, or not contracts, or lives longer than permits may.
        BadKey: not a usable public key.
        ChainRefused, NodeUnreachable
    """
    path = account_path(account.key.public)
    proven = await connection.follower.prove([path])
    terms = Terms(contracts, scopes, bearer, expires, origin)
    return signed(connection.network, account, terms, generation=_generation(proven[path]), time_ns=proven.time_ns)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a permit lets whom do."""

    contracts: Contracts
    scopes: Sequence[str]
    bearer: bytes
    """Ed25519 public key."""
    expires: timedelta = ONE_DAY
    """From now."""
    origin: str = ""


def signed(network: NetworkId, account: Account, terms: Terms, *, generation: int, time_ns: int) -> SignedPermit:
    """Return a permit on these terms, for an account that is at this generation at this block time.

    Raises:
        InputError: it names nothing, or not contracts, or lives longer than permits may.
        BadKey: not a usable public key.
    """
    bearers.check_public(terms.bearer)
    ids: Literal["*"] | tuple[bytes, ...] = EVERYWHERE
    if terms.contracts != EVERYWHERE:
        ids = tuple(sorted({_contract(item) for item in terms.contracts}))
    if not ids or not terms.scopes:
        raise InputError("a permit names at least one contract (or '*') and one scope")
    life = terms.expires // timedelta(microseconds=1) * 1000 + _EARLY_NS
    if not _EARLY_NS < life <= LONGEST_NS:
        raise InputError(f"a permit lives longer than no time, and at most {LONGEST_NS // _SECOND // 86_400} days")
    begins = time_ns - _EARLY_NS
    permit = Permit(
        network=network,
        issuer=account.key.public,
        contracts=ids,
        scopes=tuple(sorted(set(terms.scopes))),
        bearer=terms.bearer,
        origin=terms.origin,
        not_before_ns=begins,
        expires_ns=begins + life,
        generation=generation,
        salt=SecretBytes.random(_SALT).reveal(),
    )
    # What does not fit its record must not be signed: workers could not read it.
    return issue_permit(account.key, decode(encode(permit), Permit))


def _contract(address: Address) -> bytes:
    if address.kind != "contract":
        raise InputError(f"{address.text} is an account, not a contract")
    return address.value


async def revoke(connection: Connection, account: Account, permit: SignedPermit | bytes) -> None:
    """Void one permit, named by itself or by its hash; return once that is proven.

    Raises:
        InputError: another account issued it.
        LedgerRefused, ChainRefused, NodeUnreachable
    """
    if isinstance(permit, SignedPermit) and permit.permit.issuer != account.key.public:
        raise InputError("another account issued this permit: only that one can revoke it")
    named = permit if isinstance(permit, bytes) else permit_hash(permit.permit)
    await _until(
        connection,
        account,
        RevokePermit(named),
        revocation_path(account.key.public, named),
        lambda raw: raw is not None,
    )


async def revoke_all(connection: Connection, account: Account) -> int:
    """Void every permit of an account; return its new generation, once that is proven.

    Raises:
        LedgerRefused, ChainRefused, NodeUnreachable
    """
    path = account_path(account.key.public)
    before = _generation((await connection.follower.prove([path]))[path])
    return _generation(await _until(connection, account, RevokePermits(), path, lambda raw: _generation(raw) > before))


def _generation(raw: bytes | None) -> int:
    return 0 if raw is None else decode(raw, AccountRecord).generation


async def _until(
    connection: Connection, account: Account, body: Body, path: bytes, is_done: Callable[[bytes | None], bool]
) -> bytes | None:
    """Send a transaction unless what it brings about is proven already; return the value that proves it."""
    found = (await connection.follower.prove([path]))[path]
    if is_done(found):
        return found
    return await connection.effect(await connection.transact(account, body), path, is_done)
