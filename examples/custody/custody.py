"""A custody wallet: an Ethereum key that nobody holds, under a quorum of officers, limits, a delay and a freeze."""

from typing import TypeAlias

from keephold import (
    Address,
    Amount,
    Call,
    Contract,
    Event,
    Map,
    PublicView,
    Record,
    Reject,
    View,
    call,
    init,
    replace,
    require,
    view,
)

_BAD = "bad_transaction"
_EIP_1559 = b"\x02"
_MOST_BYTES = 2048
_LEAST_GAS = 21_000
_MOST_OFFICERS = 64
"""A signature is released to accounts, and to so many."""
_DEEPEST = 16
"""Lists within lists. A transaction has four."""


# --- keccak-256, as Ethereum uses it: the permutation of FIPS 202, with the padding that preceded it ---

_LANE = (1 << 64) - 1
_RATE = 136
_ROUNDS = (
    0x0000000000000001, 0x0000000000008082, 0x800000000000808A, 0x8000000080008000, 0x000000000000808B,
    0x0000000080000001, 0x8000000080008081, 0x8000000000008009, 0x000000000000008A, 0x0000000000000088,
    0x0000000080008009, 0x000000008000000A, 0x000000008000808B, 0x800000000000008B, 0x8000000000008089,
    0x8000000000008003, 0x8000000000008002, 0x8000000000000080, 0x000000000000800A, 0x800000008000000A,
    0x8000000080008081, 0x8000000000008080, 0x0000000080000001, 0x8000000080008008,
)  # fmt: skip
_TURNS = (0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41, 45, 15, 21, 8, 18, 2, 61, 56, 14)


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte digest."""
    padded = bytearray(data + b"\x01" + bytes(_RATE - len(data) % _RATE - 1))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for at in range(_RATE // 8):
            lanes[at] ^= int.from_bytes(padded[start + 8 * at : start + 8 * at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permuted(a: list[int]) -> list[int]:
    for constant in _ROUNDS:
        c = [a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20] for x in range(5)]
        d = [c[x - 1] ^ _turned(c[(x + 1) % 5], 1) for x in range(5)]
        b = [0] * 25
        for at in range(25):
            x, y = at % 5, at // 5
            b[y + 5 * ((2 * x + 3 * y) % 5)] = _turned(a[at] ^ d[x], _TURNS[at])
        a = [b[at] ^ (~b[at - at % 5 + (at + 1) % 5] & b[at - at % 5 + (at + 2) % 5]) for at in range(25)]
        a[0] ^= constant
    return a


def _turned(lane: int, by: int) -> int:
    return (lane << by | lane >> (64 - by)) & _LANE


# --- RLP, one spelling only ---

Rlp: TypeAlias = "bytes | tuple[Rlp, ...]"


def rlp_decode(raw: bytes) -> Rlp:
    """Return what `raw` spells; a second spelling of anything, and anything behind it, is refused."""
    item, end = _item(raw, 0, _DEEPEST)
    require(end == len(raw), _BAD, "bytes behind the end")
    return item


def rlp_encode(item: Rlp) -> bytes:
    """Return the one spelling of an item."""
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _headed(0x80, item)
    return _headed(0xC0, b"".join(map(rlp_encode, item)))


def _headed(base: int, content: bytes) -> bytes:
    if len(content) < 56:
        return bytes((base + len(content),)) + content
    size = number_bytes(len(content))
    return bytes((base + 55 + len(size),)) + size + content


def _item(raw: bytes, at: int, depth: int) -> tuple[Rlp, int]:
    require(at < len(raw), _BAD, "cut short")
    require(depth > 0, _BAD, "nested too deeply")
    first = raw[at]
    if first < 0x80:
        return raw[at : at + 1], at + 1
    base = 0xC0 if first >= 0xC0 else 0x80
    at, size = at + 1, first - base
    if size >= 56:
        width = size - 55
        size = int.from_bytes(raw[at : at + width], "big")
        require(raw[at : at + 1] != b"\0" and size >= 56, _BAD, "a length that has a shorter spelling")
        at += width
    end = at + size
    require(end <= len(raw), _BAD, "cut short")
    if base == 0x80:
        require(size != 1 or raw[at] >= 0x80, _BAD, "a byte that has a shorter spelling")
        return raw[at:end], end
    items: list[Rlp] = []
    while at < end:
        item, at = _item(raw[:end], at, depth - 1)
        items.append(item)
    return tuple(items), end


def number_bytes(value: int) -> bytes:
    """Return a number as RLP holds it: big-endian, without leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


# --- an unsigned transaction of type 2 (EIP-1559) ---


class Transaction(Record):
    """What an unsigned transaction says. Nothing else is in its bytes."""

    chain: int
    nonce: int
    priority_fee: Amount
    """Wei for each unit of gas, at most, to whoever makes the block."""
    gas_fee: Amount
    """Wei for each unit of gas, at most, in all."""
    gas: int
    payee: bytes
    """20 bytes."""
    value: Amount
    """Wei."""
    data: bytes
    has_access_list: bool

    def fee(self) -> int:
        """Return what it may cost beside its value, in wei."""
        return self.gas * self.gas_fee

    def outbids(self, other: "Transaction") -> bool:
        """Tell whether it may take the other one's place: the same payment or none at all, for higher fees."""
        same = replace(other, priority_fee=self.priority_fee, gas_fee=self.gas_fee, gas=self.gas)
        none = replace(same, payee=self.payee, value=0, data=b"", has_access_list=False)
        return self in (same, none) and self.priority_fee > other.priority_fee and self.gas_fee > other.gas_fee


def parse_transaction(unsigned: bytes) -> Transaction:
    """Return what the bytes say, or reject: `2`, then the RLP list of nine fields."""
    require(len(unsigned) <= _MOST_BYTES and unsigned[:1] == _EIP_1559, _BAD, "no transaction of type 2")
    fields = rlp_decode(unsigned[1:])
    if isinstance(fields, bytes) or len(fields) != 9:
        raise Reject(_BAD, "nine fields")
    chain, nonce, priority, gas_fee, gas, payee, value, data, access = fields
    require(isinstance(payee, bytes) and len(payee) == 20, _BAD, "a payee has 20 bytes; contracts are not created")
    require(isinstance(access, tuple) and all(map(_is_access, access)), _BAD, "an access list")
    parsed = Transaction(
        chain=_number(chain),
        nonce=_number(nonce),
        priority_fee=_number(priority),
        gas_fee=_number(gas_fee),
        gas=_number(gas),
        payee=_octets(payee),
        value=_number(value),
        data=_octets(data),
        has_access_list=access != (),
    )
    require(parsed.priority_fee <= parsed.gas_fee and parsed.gas >= _LEAST_GAS, _BAD, "fees")
    return parsed


def _octets(item: Rlp) -> bytes:
    return item if isinstance(item, bytes) else b"".join(map(_octets, item))


def _number(item: Rlp) -> int:
    require(isinstance(item, bytes) and len(item) <= 16 and item[:1] != b"\0", _BAD, "a number")
    return int.from_bytes(_octets(item), "big")


def _is_access(entry: Rlp) -> bool:
    if isinstance(entry, bytes) or len(entry) != 2:
        return False
    account, slots = entry
    is_account = isinstance(account, bytes) and len(account) == 20
    return is_account and not isinstance(slots, bytes) and all(isinstance(s, bytes) and len(s) == 32 for s in slots)


def assembled(unsigned: bytes, signature: bytes) -> bytes:
    """Return the raw transaction to broadcast, from what was staged and the 65-byte signature released for it."""
    fields = rlp_decode(unsigned[1:])
    r, s = (number_bytes(int.from_bytes(part, "big")) for part in (signature[:32], signature[32:64]))
    return _EIP_1559 + rlp_encode((*(() if isinstance(fields, bytes) else fields), number_bytes(signature[64]), r, s))


# --- the wallet ---


class Payee(Record):
    """Whom the wallet pays."""

    account: bytes
    """20 bytes."""
    limit: Amount
    """Wei in one payment."""
    takes_data: bool = False
    """Whether payments may carry data or an access list: then they call a contract, which can do anything."""


class Policy(Record):
    """What officers may do. Another one takes the quorum and the delay."""

    officers: tuple[Address, ...]
    quorum: int
    delay_ns: int
    """Between the last vote that was needed and what it allows."""
    period_ns: int
    """Periods begin at multiples of this since the epoch: two limits can be spent around one such moment."""
    period_limit: Amount
    """Wei in one period, fees included."""
    fee_limit: Amount
    """Wei of fees in one payment."""
    payees: tuple[Payee, ...]

    def check(self) -> None:
        """Reject a policy under which nothing, or anything, would be possible."""
        require(1 <= self.quorum <= len(self.officers) == len({*self.officers}), "bad_policy", "quorum and officers")
        accounts_only = all(officer.kind == "account" for officer in self.officers)
        require(accounts_only and len(self.officers) <= _MOST_OFFICERS, "bad_policy", "officers read signatures")
        require(self.delay_ns >= 0 and self.period_ns > 0, "bad_policy", "delay and period")
        accounts = {payee.account for payee in self.payees}
        good = len(accounts) == len(self.payees) and all(len(account) == 20 for account in accounts)
        require(good, "bad_policy", "payees")


class Payment(Record):
    """A staged transaction and the votes for it."""

    unsigned: bytes
    era: int
    """Of the wallet when it was staged: a freeze, or another policy, voids it."""
    yes: frozenset[Address] = frozenset()
    ready_ns: int | None = None
    """When it may be signed; None before the quorum agreed."""
    signed: bool = False


class Change(Record):
    """A proposed policy and the votes for it."""

    policy: Policy
    revision: int
    """Of the policy that it would take the place of: another change voids it."""
    yes: frozenset[Address] = frozenset()
    ready_ns: int | None = None


def _check_due(ready_ns: int | None, now_ns: int) -> None:
    if ready_ns is None:
        raise Reject("no_quorum")
    require(now_ns >= ready_ns, "too_early")


class Staged(Event):
    """An officer proposes a payment."""

    number: int
    payment: Transaction


class Signed(Event):
    """A payment may be broadcast: `released` has its signature, under this topic."""

    number: int
    topic: str


class Frozen(Event):
    """Nothing is signed until the quorum says so."""

    by: Address


class Custody(Contract, pad=(1024, 8192)):
    """Payments by quorum, within limits, after a delay, in the order of their nonces; one officer freezes them.

    A transaction whose fees or gas turn out too low for the chain holds up all behind it, and one that was a mistake
    should not get in. So the last one that was signed may be signed again under its nonce with higher fees, and other
    gas: the same payment, or one of nothing. A chain takes one transaction of a nonce. The quorum votes on that as on
    any payment, and it counts towards the period again.

    The wallet reads the transaction itself: payee, amount and digest are computed here, from the bytes that are signed.
    An officer who could hand in a digest could have anything signed.

    A freeze stops payments, voids those on their way, and stops no change of policy: otherwise one officer could keep
    the others from removing him for ever.
    """

    chain: int
    policy: Policy
    revision: int = 0
    nonce: int = 0
    """Of the next transaction to be signed."""
    last: bytes = b""
    """The transaction that was signed last, unsigned."""
    period: int = 0
    spent: Amount = 0
    """Wei in that period, fees included."""
    frozen: bool = False
    freezes: int = 0
    thaw: frozenset[Address] = frozenset()
    """Officers who want the freeze to end."""
    payments: Map[int, Payment]
    payment_count: int = 0
    changes: Map[int, Change]
    change_count: int = 0

    @init
    def setup(self, ctx: Call, chain: int, policy: Policy) -> None:
        """Open the wallet on the chain of this id (EIP-155)."""
        require(chain > 0, "bad_chain")
        policy.check()
        self.chain = chain
        self.policy = policy

    # --- payments ---

    @call
    def stage(self, ctx: Call, unsigned: bytes) -> int:
        """Propose an unsigned transaction; return the payment's number."""
        self._officer(ctx.sender)
        require(not self.frozen, "frozen")
        transaction = parse_transaction(unsigned)
        self._check(transaction)
        require(transaction.nonce >= self.nonce or self._outbids_last(transaction), "nonce_used")
        self.payment_count += 1
        self.payments[self.payment_count] = Payment(unsigned, self._era())
        ctx.emit(Staged(self.payment_count, transaction), to=self.policy.officers)
        return self.payment_count

    @call
    def approve(self, ctx: Call, number: int) -> None:
        """Vote for a payment; the delay begins with the vote that makes the quorum."""
        self._officer(ctx.sender)
        payment = self._pending(number)
        payment = replace(payment, yes=payment.yes | {ctx.sender})
        if payment.ready_ns is None and self._agreed(payment.yes):
            payment = replace(payment, ready_ns=ctx.block.time_ns + self.policy.delay_ns)
        self.payments[number] = payment

    @call
    def sign(self, ctx: Call, number: int) -> str:
        """Have a payment signed whose quorum agreed and whose delay is over; return the topic of its signature."""
        self._officer(ctx.sender)
        payment = self._pending(number)
        _check_due(payment.ready_ns, ctx.block.time_ns)
        transaction = parse_transaction(payment.unsigned)
        require(transaction.nonce == self.nonce or self._outbids_last(transaction), "wrong_nonce", self.nonce)
        self._spend(transaction.value + transaction.fee(), ctx.block.time_ns // self.policy.period_ns)
        self.nonce = transaction.nonce + 1
        self.last = payment.unsigned
        self.payments[number] = replace(payment, signed=True)
        topic = f"payment/{number}"
        key = ctx.key("ethereum", "secp256k1")
        ctx.release(topic, key, keccak256(payment.unsigned), to=self.policy.officers)
        ctx.emit(Signed(number, topic), to=self.policy.officers)
        return topic

    # --- freeze ---

    @call
    def freeze(self, ctx: Call) -> None:
        """Stop all payments, and void those on their way."""
        self._officer(ctx.sender)
        self.frozen = True
        self.freezes += 1
        self.thaw = frozenset()
        ctx.emit(Frozen(ctx.sender), to=self.policy.officers)

    @call
    def unfreeze(self, ctx: Call) -> bool:
        """Vote for payments to go on; return whether they do."""
        self._officer(ctx.sender)
        require(self.frozen, "not_frozen")
        self.thaw |= {ctx.sender}
        if self._agreed(self.thaw):
            self.frozen = False
            self.thaw = frozenset()
        return not self.frozen

    # --- policy ---

    @call
    def propose(self, ctx: Call, policy: Policy) -> int:
        """Propose another policy; return the change's number."""
        self._officer(ctx.sender)
        policy.check()
        self.change_count += 1
        self.changes[self.change_count] = Change(policy, self.revision)
        return self.change_count

    @call
    def agree(self, ctx: Call, number: int) -> None:
        """Vote for a change of policy; the delay begins with the vote that makes the quorum."""
        self._officer(ctx.sender)
        change = self._open(number)
        change = replace(change, yes=change.yes | {ctx.sender})
        if change.ready_ns is None and self._agreed(change.yes):
            change = replace(change, ready_ns=ctx.block.time_ns + self.policy.delay_ns)
        self.changes[number] = change

    @call
    def enact(self, ctx: Call, number: int) -> None:
        """Put a policy in force whose quorum agreed and whose delay is over; payments on their way are void."""
        self._officer(ctx.sender)
        change = self._open(number)
        _check_due(change.ready_ns, ctx.block.time_ns)
        self.policy = change.policy
        self.revision += 1
        self.thaw = frozenset()

    # --- questions ---

    @view(public=True)
    def ethereum_address(self, ctx: PublicView) -> bytes:
        """Return the wallet's Ethereum address, 20 bytes."""
        return keccak256(ctx.key("ethereum", "secp256k1").public[1:])[12:]

    @view
    def payment(self, ctx: View, number: int) -> Payment:
        """Return a payment, to officers."""
        self._officer(ctx.reader)
        return self.payments[number]

    @view
    def terms(self, ctx: View) -> tuple[Policy, int, Amount, bool]:
        """Return policy, next nonce, what the newest period spent, and whether the wallet is frozen, to officers."""
        self._officer(ctx.reader)
        return self.policy, self.nonce, self.spent, self.frozen

    # --- rules ---

    def _officer(self, who: Address) -> None:
        require(who in self.policy.officers, "forbidden")

    def _era(self) -> int:
        return self.revision + self.freezes

    def _agreed(self, yes: frozenset[Address]) -> bool:
        return sum(officer in yes for officer in self.policy.officers) >= self.policy.quorum

    def _pending(self, number: int) -> Payment:
        payment = self.payments[number]
        require(not self.frozen, "frozen")
        require(payment.era == self._era(), "void")
        require(not payment.signed, "signed")
        return payment

    def _open(self, number: int) -> Change:
        change = self.changes[number]
        require(change.revision == self.revision, "void")
        return change

    def _check(self, transaction: Transaction) -> None:
        require(transaction.chain == self.chain, "wrong_chain", self.chain)
        payee = next((payee for payee in self.policy.payees if payee.account == transaction.payee), None)
        if payee is None:
            raise Reject("unknown_payee")
        require(transaction.value <= payee.limit, "over_limit", payee.limit)
        require(payee.takes_data or not (transaction.data or transaction.has_access_list), "no_data")
        require(transaction.fee() <= self.policy.fee_limit, "over_fee_limit", self.policy.fee_limit)

    def _outbids_last(self, transaction: Transaction) -> bool:
        return self.last != b"" and transaction.outbids(parse_transaction(self.last))

    def _spend(self, wei: int, period: int) -> None:
        spent = self.spent if period == self.period else 0
        require(spent + wei <= self.policy.period_limit, "over_period_limit", self.policy.period_limit)
        self.period = period
        self.spent = spent + wei
