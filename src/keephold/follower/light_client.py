"""The light client: which headers follow from what is trusted. No I/O, no clock; the rules below are the law.

From a trusted header T and its next validators, a header H with its commit C and validators V is accepted if, in order:

1. T is within the trusting period: `T.time + period > now`. Validators who have left since may have nothing to lose.
2. H and C speak of the same block of the same chain: H's chain id is T's, its block protocol is 11, C commits to H's
   hash and height. (Sizes of hashes and addresses hold for every record that exists: `chain.header`.)
3. H is later: height and time strictly greater than T's, and its time is less than 10 s ahead of now.
4. V hashes to H's `validators_hash`, and C has one entry for each member of V.
5. V has the trust of T. *Adjacent* (H is T's next height): H's `validators_hash` is T's `next_validators_hash`.
   *Skipping*: members with more than 1/3 of the power of T's next validators, looked up by address, each present once,
   signed C. Fewer is `NotEnoughTrust`: try a header in between.
6. The next validators, which become trusted with H, hash to its `next_validators_hash`; and members with more than 2/3
   of V's power signed C, entry by entry, each entry under its member's address. Last, because whoever invents V
   chooses how many signatures there are to check.

Only the flag COMMIT counts. **An entry that does not verify is not counted, and is never fatal**: OpenSSL is stricter
than the ZIP-215 of the validators, so one of them could sign what the network accepts and we do not; were that fatal,
one validator could stop every enclave. What no validator can bring about alone is refused, as CometBFT does: up to the
entry at which the counting ends, a vote under another address than its member's, or two votes of one member. A block
with such a commit inside was never valid, so an honest node has none to give.

Trust is a value: accepting H returns the next one, and a refusal leaves the caller with what he had. Heights only rise.

**A genesis** vouches for height 1 alone: its validators are those of block 1, whose time may equal the genesis time. It
does not expire, since the network id that the caller pinned names it. Any other first header is `NotEnoughTrust`.

**What the caller owes.** Now is the caller's: a client passes its clock. An enclave, whose clock the host may set,
passes the time of H, so that rule 1 bounds the gap between two headers; that the newest header is recent is another
question, answered by echo. The caller also seals the newest trusted state, and treats an older one as an attack.

Not checked, on purpose: the proposer's turn, `last_block_id` (rule 6 already binds the block, and skipping cannot know
it), and whatever a header says about its own transactions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self, final

from keephold.base.errors import BadKey, BadSignature, HeaderInvalid, NotEnoughTrust, TrustExpired
from keephold.chain.header import BLOCK_PROTOCOL, BlockIdFlag, Commit, Header, SignedHeader
from keephold.chain.proto import NANOSECONDS
from keephold.chain.validators import Validator, ValidatorSet
from keephold.chain.vote import Precommits
from keephold.crypto import ed25519

MAX_CLOCK_DRIFT_NS: Final = 10 * NANOSECONDS
"""How far ahead of now a header's time may lie."""

DEFAULT_TRUSTING_PERIOD_NS: Final = 48 * 3600 * NANOSECONDS
"""At most the unbonding period, or the age up to which evidence of double signing counts."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """What is trusted before the first header."""

    chain_id: str
    time_ns: int
    """Genesis time, nanoseconds since the Unix epoch; block 1 may carry the same."""

    @property
    def height(self) -> int:
        """Return 0: the height before the first."""
        return 0


@dataclass(frozen=True, slots=True)
class TrustedState:
    """Everything the light client remembers."""

    header: Header | Genesis
    """The newest verified or pinned header; the genesis before there is one."""
    next_validators: ValidatorSet
    """The validators of the next height; their hash is the header's `next_validators_hash`."""
    trusting_period_ns: int = DEFAULT_TRUSTING_PERIOD_NS

    def __post_init__(self) -> None:
        if isinstance(self.header, Header) and self.header.next_validators_hash != self.next_validators.hash():
            raise HeaderInvalid("not the next validators of the trusted header")

    @classmethod
    def from_genesis(
        cls,
        chain_id: str,
        validators: ValidatorSet,
        genesis_time_ns: int,
        trusting_period_ns: int = DEFAULT_TRUSTING_PERIOD_NS,
    ) -> Self:
        """Trust a pinned genesis."""
        return cls(Genesis(chain_id, genesis_time_ns), validators, trusting_period_ns)

    @classmethod
    def from_header(
        cls, header: Header, next_validators: ValidatorSet, trusting_period_ns: int = DEFAULT_TRUSTING_PERIOD_NS
    ) -> Self:
        """Trust a header pinned by hand, or sealed earlier; raises HeaderInvalid if the validators are not its own."""
        return cls(header, next_validators, trusting_period_ns)

    @property
    def height(self) -> int:
        """Height of the newest trusted header, 0 at genesis."""
        return self.header.height

    @property
    def is_genesis(self) -> bool:
        """Whether no header has been verified yet."""
        return isinstance(self.header, Genesis)


def verify_adjacent(
    trusted: TrustedState,
    signed: SignedHeader,
    validators: ValidatorSet,
    next_validators: ValidatorSet | None,
    now_ns: int,
) -> TrustedState:
    """Return the state after accepting the header of the very next height; `next_validators` None: unchanged.

    Raises:
        TrustExpired, HeaderInvalid.
    """
    _verify_form(trusted, signed, validators, now_ns)
    header = signed.header
    if header.height != trusted.height + 1:
        raise HeaderInvalid(f"height {header.height} is not adjacent to {trusted.height}")
    # (5) adjacent: the trusted header names this very set.
    if header.validators_hash != trusted.next_validators.hash():
        raise HeaderInvalid("not the validators that the trusted header announced")
    return _verify_signed(trusted, header, _Signers(header, signed.commit), validators, next_validators)


def verify_skipping(
    trusted: TrustedState,
    signed: SignedHeader,
    validators: ValidatorSet,
    next_validators: ValidatorSet | None,
    now_ns: int,
) -> TrustedState:
    """Return the state after accepting a header of any later height; `next_validators` None: unchanged.

    Raises:
        TrustExpired, HeaderInvalid; NotEnoughTrust if a header in between is needed.
    """
    _verify_form(trusted, signed, validators, now_ns)
    if trusted.is_genesis:
        raise NotEnoughTrust("a genesis vouches for height 1 alone")
    # (5) skipping: more than a third of the trusted next validators signed.
    signers = _Signers(signed.header, signed.commit)
    signers.require_one_third(trusted.next_validators)
    return _verify_signed(trusted, signed.header, signers, validators, next_validators)


def verify_header(
    trusted: TrustedState,
    signed: SignedHeader,
    validators: ValidatorSet,
    next_validators: ValidatorSet | None,
    now_ns: int,
) -> TrustedState:
    """Return the state after accepting a header, adjacent or skipping by its height; `next_validators` None: unchanged.

    Pass `trusted.next_validators` itself where the set did not change: its hash is remembered.

    Raises:
        TrustExpired: rule 1.
        HeaderInvalid: rules 2 to 4, adjacent rule 5, rule 6.
        NotEnoughTrust: skipping rule 5; bisect.
    """
    verify = verify_adjacent if signed.header.height == trusted.height + 1 else verify_skipping
    return verify(trusted, signed, validators, next_validators, now_ns)


def _verify_form(trusted: TrustedState, signed: SignedHeader, validators: ValidatorSet, now_ns: int) -> None:
    """Check rules 1 to 4, which need no signature."""
    header, commit, known = signed.header, signed.commit, trusted.header
    # (1) The trusted header is within the trusting period.
    if not trusted.is_genesis and known.time_ns + trusted.trusting_period_ns <= now_ns:
        raise TrustExpired(f"the trusted header {known.height} is older than the trusting period")
    # (2) One block, this chain.
    if header.chain_id != known.chain_id:
        raise HeaderInvalid("another chain")
    if header.version_block != BLOCK_PROTOCOL:
        raise HeaderInvalid(f"block protocol {header.version_block}")
    if commit.height != header.height:
        raise HeaderInvalid("the commit is of another height")
    if commit.block_id.hash != header.hash():
        raise HeaderInvalid("the commit is for another header")
    # (3) Later than what is trusted, and not from the future.
    if header.height <= known.height:
        raise HeaderInvalid(f"height {header.height} does not rise above {known.height}")
    earliest = known.time_ns if trusted.is_genesis else known.time_ns + 1
    if header.time_ns < earliest:
        raise HeaderInvalid("time does not rise")
    if header.time_ns >= now_ns + MAX_CLOCK_DRIFT_NS:
        raise HeaderInvalid("from the future")
    # (4) These validators, and an entry for each.
    if validators.hash() != header.validators_hash:
        raise HeaderInvalid("not the validators of this header")
    if len(commit.signatures) != len(validators.validators):
        raise HeaderInvalid("not one commit entry for each validator")


def _verify_signed(
    trusted: TrustedState,
    header: Header,
    signers: _Signers,
    validators: ValidatorSet,
    next_validators: ValidatorSet | None,
) -> TrustedState:
    """Check rule 6; return what is trusted from now on."""
    following = validators if next_validators is None else next_validators
    if following.hash() != header.next_validators_hash:
        raise HeaderInvalid("not the next validators of this header")
    signers.require_two_thirds(validators)
    return TrustedState(header, following, trusted.trusting_period_ns)


@final
class _Signers:
    """Who signed one commit. Each entry is verified at most once; counting stops when it suffices."""

    __slots__ = ("_commit", "_precommits", "_verdicts")

    def __init__(self, header: Header, commit: Commit) -> None:
        self._commit = commit
        self._precommits = Precommits(header.chain_id, commit.height, commit.round, commit.block_id)
        # By (index, key): rules 5 and 6 look up the same entry, in two sets; a 20-byte address does not fix the key.
        self._verdicts: dict[tuple[int, bytes], bool] = {}

    def require_one_third(self, trusted: ValidatorSet) -> None:
        """Rule 5: by address, each member once."""
        power = 0
        seen = set()
        for index, entry in enumerate(self._commit.signatures):
            member = trusted.by_address.get(entry.address)
            if member is None or entry.flag is not BlockIdFlag.COMMIT:
                continue
            if member.address in seen:
                raise HeaderInvalid("the commit has two votes of one validator")
            seen.add(member.address)
            if not self._has_signed(index, member):
                continue
            power += member.power
            if 3 * power > trusted.total_power:
                return
        raise NotEnoughTrust(f"{power} of {trusted.total_power} of the trusted power signed: not more than a third")

    def require_two_thirds(self, validators: ValidatorSet) -> None:
        """Rule 6: by index, under the member's own address."""
        power = 0
        for index, (entry, member) in enumerate(zip(self._commit.signatures, validators.validators, strict=True)):
            if entry.flag is not BlockIdFlag.COMMIT:
                continue
            if entry.address != member.address:
                raise HeaderInvalid(f"entry {index} of the commit is under another address than its validator's")
            if not self._has_signed(index, member):
                continue
            power += member.power
            if 3 * power > 2 * validators.total_power:
                return
        raise HeaderInvalid(f"{power} of {validators.total_power} of the power signed: not more than two thirds")

    def _has_signed(self, index: int, member: Validator) -> bool:
        known = self._verdicts.get((index, member.public_key))
        if known is None:
            known = self._verdicts[index, member.public_key] = self._verify(index, member)
        return known

    def _verify(self, index: int, member: Validator) -> bool:
        entry = self._commit.signatures[index]
        try:
            ed25519.verify(member.public_key, entry.signature, self._precommits.sign_bytes(entry.time_ns))
        except (BadKey, BadSignature):
            return False
        return True
