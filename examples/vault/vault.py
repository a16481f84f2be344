"""A Bitcoin vault: taproot keys that nobody holds, payments by quorum, and time to stop those beyond the limits."""

from hashlib import sha256
from typing import Literal

from keephold import (
    Address,
    Amount,
    Call,
    Contract,
    Event,
    Key,
    Map,
    Record,
    Reject,
    View,
    call,
    init,
    replace,
    require,
    view,
)

_BAD = "bad_psbt"
_MAGIC = b"psbt\xff"
_UNSIGNED, _VERSION, _WITNESS_UTXO, _HASH_TYPE = b"\x00", b"\xfb", b"\x01", b"\x03"
"""Types of the fields that are read, of the whole (BIP-174) and of one input."""
_MOST_BYTES = 8192
_MOST = 16
"""Inputs, and outputs."""
_MOST_SCRIPT = 128
"""Bytes: more than any address stands for."""
_ALL_SATS = 21_000_000 * 100_000_000
_DEFAULT, _ALL = bytes(4), b"\1\0\0\0"
"""Hash types (BIP-341) under which a signature covers all inputs and outputs; under others somebody exchanges some."""
_TAG = sha256(b"TapSighash").digest() * 2
"""Before what is signed: no hash of anything else begins so (BIP-340)."""
_MOST_OFFICERS = 64
"""A signature is released to accounts, and to so many."""


# --- bytes, one spelling only ---


class _Reader:
    """Takes bytes from the front; what is not there is refused."""

    def __init__(self, raw: bytes) -> None:
        self._rest = raw

    def take(self, size: int) -> bytes:
        require(size <= len(self._rest), _BAD, "cut short")
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def compact(self) -> int:
        first = self.number(1)
        if first < 0xFD:
            return first
        width = 1 << first - 0xFC
        value = self.number(width)
        require(value >= (0xFD if width == 2 else 1 << 4 * width), _BAD, "a number that has a shorter spelling")
        return value

    def count(self) -> int:
        count = self.compact()
        require(1 <= count <= _MOST, _BAD, f"1 to {_MOST} inputs, and as many outputs")
        return count

    def chunk(self) -> bytes:
        return self.take(self.compact())

    def fields(self) -> dict[bytes, bytes]:
        """Take one map of a PSBT: keys, no two alike, each with a value; then a zero."""
        fields: dict[bytes, bytes] = {}
        while key := self.chunk():
            _Reader(key).compact()  # its type has one spelling, too
            require(key not in fields, _BAD, "a key twice")
            fields[key] = self.chunk()
        return fields

    def output(self) -> "Output":
        sats = self.number(8)
        script = self.chunk()
        require(len(script) <= _MOST_SCRIPT, _BAD, "a script too long")
        return Output(sats, script)

    def end(self) -> None:
        require(not self._rest, _BAD, "bytes behind the end")


def _little(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def _chunk(data: bytes) -> bytes:
    return bytes((len(data),)) + data


# --- a transaction to sign ---


class Output(Record):
    """Where sats go, or lie."""

    sats: Amount
    script: bytes
    """The scriptPubKey, which an address spells."""

    def raw(self) -> bytes:
        """Return it as transactions have it."""
        return _little(self.sats, 8) + _chunk(self.script)


class Coin(Record):
    """An input: the output that it spends, and how."""

    outpoint: bytes
    """36 bytes: the transaction's hash, and the output's number."""
    sequence: int
    output: Output
    """As the PSBT says. If that is not so on the chain, the signature is good for nothing: it covers all of them."""
    hash_type: int
    """0 (DEFAULT) or 1 (ALL)."""


class Transaction(Record):
    """An unsigned transaction, and what it spends. A signature of it covers everything in here."""

    version: int
    lock_time: int
    coins: tuple[Coin, ...]
    outputs: tuple[Output, ...]

    def fee(self) -> int:
        """Return what whoever makes the block gets, in sats."""
        return sum(coin.output.sats for coin in self.coins) - sum(output.sats for output in self.outputs)

    def inputs_hash(self) -> bytes:
        """Return a hash of the coins it spends, in whatever order: of transactions that share it, a chain takes one."""
        return sha256(b"".join(sorted(coin.outpoint for coin in self.coins))).digest()

    def digests(self) -> tuple[bytes, ...]:
        """Return what is signed for each coin (BIP-341, "common signature message", spent by key and without annex)."""
        listed = (
            [coin.outpoint for coin in self.coins],
            [_little(coin.output.sats, 8) for coin in self.coins],
            [_chunk(coin.output.script) for coin in self.coins],
            [_little(coin.sequence, 4) for coin in self.coins],
            [output.raw() for output in self.outputs],
        )
        said = _little(self.version, 4) + _little(self.lock_time, 4)
        said += b"".join(sha256(b"".join(parts)).digest() for parts in listed)
        return tuple(
            sha256(_TAG + bytes((0, coin.hash_type)) + said + b"\0" + _little(at, 4)).digest()
            for at, coin in enumerate(self.coins)
        )


def parse_psbt(psbt: bytes) -> Transaction:
    """Return the transaction that a PSBT of version 0 (BIP-174) wants signed, or reject.

    What is read is the unsigned transaction and, of each input, the output that it spends and the kind of signature.
    Other fields are skipped, whatever they say: nothing that is signed depends on them.
    """
    require(len(psbt) <= _MOST_BYTES, _BAD, f"at most {_MOST_BYTES} bytes")
    reader = _Reader(psbt)
    require(reader.take(len(_MAGIC)) == _MAGIC, _BAD, "no PSBT")
    fields = reader.fields()
    require(fields.get(_VERSION, bytes(4)) == bytes(4), _BAD, "a PSBT of version 0")
    raw = _Reader(fields.get(_UNSIGNED, b""))
    version = raw.number(4)
    inputs = [(raw.take(36), raw.chunk(), raw.number(4)) for _ in range(raw.count())]
    outputs = tuple(raw.output() for _ in range(raw.count()))
    lock_time = raw.number(4)
    raw.end()
    require(not any(script for _, script, _ in inputs), _BAD, "an unsigned transaction")
    require(len({outpoint for outpoint, _, _ in inputs}) == len(inputs), _BAD, "an input twice")
    coins = tuple(_coin(outpoint, sequence, reader.fields()) for outpoint, _, sequence in inputs)
    for _ in outputs:
        reader.fields()
    reader.end()
    parsed = Transaction(version, lock_time, coins, outputs)
    require(sum(coin.output.sats for coin in coins) <= _ALL_SATS and parsed.fee() >= 0, _BAD, "amounts")
    return parsed


def _coin(outpoint: bytes, sequence: int, fields: dict[bytes, bytes]) -> Coin:
    spent = _Reader(fields.get(_WITNESS_UTXO, b""))
    output = spent.output()
    spent.end()
    hash_type = fields.get(_HASH_TYPE, _DEFAULT)
    require(hash_type in (_DEFAULT, _ALL), _BAD, "DEFAULT or ALL")
    return Coin(outpoint, sequence, output, hash_type[0])


# --- the vault ---


class Payee(Record):
    """Whom the vault pays without delay."""

    script: bytes
    """The scriptPubKey."""
    limit: Amount
    """Sats in one payment."""


class Policy(Record):
    """What officers may do. Another one takes the quorum and the delay."""

    officers: tuple[Address, ...]
    quorum: int
    delay_ns: int
    """From the last vote that was needed, for a change of policy and for payments beyond the limits."""
    period_ns: int
    """Periods begin at multiples of this since the epoch: two limits can be spent around one such moment."""
    period_limit: Amount
    """Sats in one period without delay, fees included."""
    fee_limit: Amount
    """Sats of fees in one payment, with delay and without."""
    payees: tuple[Payee, ...]

    def check(self) -> None:
        """Reject a policy under which nothing, or anything, would be possible."""
        known = {officer for officer in self.officers if officer.kind == "account"}
        require(len(known) == len(self.officers) <= _MOST_OFFICERS, "bad_policy", "officers read signatures")
        require(1 <= self.quorum <= len(known), "bad_policy", "quorum")
        require(self.delay_ns >= 0 and self.period_ns > 0, "bad_policy", "delay and period")
        require(len({payee.script for payee in self.payees}) == len(self.payees), "bad_policy", "a payee twice")


class Ballot(Record):
    """Who is for it."""

    yes: frozenset[Address] = frozenset()
    agreed_ns: int | None = None
    """Since when a quorum is."""


class Payment(Record):
    """A transaction on its way."""

    transaction: Transaction
    revision: int
    """Of the policy that it was staged under: another one voids it, hence a freeze, which ends with another one."""
    ballot: Ballot = Ballot()
    state: Literal["open", "signed", "cancelled"] = "open"


class Change(Record):
    """Another policy on its way."""

    policy: Policy
    revision: int
    """Of the policy that it would take the place of: another change voids it."""
    freezes: int
    """When it was proposed: it ends these, and none that came later."""
    ballot: Ballot = Ballot()


class Staged(Event):
    """An officer proposes a payment: the time to look at it, and to cancel it."""

    number: int
    by: Address
    transaction: Transaction


class Signed(Event):
    """A payment may be broadcast: `released` has its signatures, under `payment/NUMBER/INPUT`, from input 0."""

    number: int


class Proposed(Event):
    """An officer proposes another policy."""

    number: int
    by: Address
    policy: Policy


class Stopped(Event):
    """Nothing is signed: of one payment, or of any (0)."""

    number: int
    by: Address


class Vault(Contract, pad=(2048, 16384)):
    """Payments by quorum: at once within limits, and all else after a delay in which any officer can cancel it.

    The vault reads the PSBT itself: which coins are spent, what leaves, what comes back and what is signed are computed
    here. It knows nothing of the chain, and needs not: a signature of BIP-341 covers amounts and scripts of all coins
    that are spent, so one that was made for made-up coins, or for less than they hold, fits no transaction at all.

    Each address has a key of its own, and is the bare key: `rawtr(KEY)` as a descriptor. BIP-341 would have a key
    committed to having no scripts, so that nobody who took part in making it can have hidden one. Nobody did, here.

    What was signed is out: no freeze gets it back. It ends when its coins are spent otherwise, back to the vault if
    need be; of transactions with the same coins, limits count the dearest.
    """

    policy: Policy
    revision: int = 0
    frozen: bool = False
    freezes: int = 0
    scripts: int = 0
    """How many addresses there are: 1 to this."""
    numbers: Map[bytes, int]
    """Of each address, by its script."""
    period: int = 0
    spent: Amount = 0
    """Sats in that period, without delay, fees included."""
    counted: Map[bytes, Amount]
    """What was counted for the coins with this hash."""
    payments: Map[int, Payment]
    payment_count: int = 0
    changes: Map[int, Change]
    change_count: int = 0

    @init
    def setup(self, ctx: Call, policy: Policy) -> None:
        """Open the vault."""
        policy.check()
        self.policy = policy

    @call
    def receive(self, ctx: Call) -> bytes:
        """Make a new address; return its scriptPubKey."""
        self._officer(ctx.sender)
        self.scripts += 1
        script = self._script(ctx, self.scripts)
        self.numbers[script] = self.scripts
        return script

    # --- payments ---

    @call
    def stage(self, ctx: Call, psbt: bytes) -> int:
        """Propose what a PSBT wants signed; return the payment's number."""
        self._officer(ctx.sender)
        require(not self.frozen, "frozen")
        transaction = parse_psbt(psbt)
        require(all(coin.output.script in self.numbers for coin in transaction.coins), "foreign_input")
        require(transaction.fee() <= self.policy.fee_limit, "over_fee_limit", self.policy.fee_limit)
        self.payment_count += 1
        self.payments[self.payment_count] = Payment(transaction, self.revision)
        ctx.emit(Staged(self.payment_count, ctx.sender, transaction), to=self.policy.officers)
        return self.payment_count

    @call
    def approve(self, ctx: Call, number: int) -> None:
        """Vote for a payment; the delay begins with the vote that makes the quorum."""
        self._officer(ctx.sender)
        payment = self._open_payment(number)
        self.payments[number] = replace(payment, ballot=self._voted(payment.ballot, ctx))

    @call
    def cancel(self, ctx: Call, number: int) -> None:
        """Stop a payment that is not signed yet, for good."""
        self._officer(ctx.sender)
        self.payments[number] = replace(self._open_payment(number), state="cancelled")
        ctx.emit(Stopped(number, ctx.sender), to=self.policy.officers)

    @call
    def sign(self, ctx: Call, number: int) -> int:
        """Have a payment signed whose quorum agreed, within the limits or after the delay; return how many inputs."""
        self._officer(ctx.sender)
        payment = self._open_payment(number)
        if ctx.block.time_ns < self._due(payment.ballot):
            self._spend(payment.transaction, ctx.block.time_ns // self.policy.period_ns)
        self.payments[number] = replace(payment, state="signed")
        coins = payment.transaction.coins
        for at, (coin, digest) in enumerate(zip(coins, payment.transaction.digests(), strict=True)):
            key = self._key(ctx, self.numbers[coin.output.script])
            ctx.release(f"payment/{number}/{at}", key, digest, to=self.policy.officers)
        ctx.emit(Signed(number), to=self.policy.officers)
        return len(coins)

    @call
    def freeze(self, ctx: Call) -> None:
        """Stop all payments, and void those on their way. Another policy, or the same again, ends it."""
        self._officer(ctx.sender)
        self.frozen = True
        self.freezes += 1
        ctx.emit(Stopped(0, ctx.sender), to=self.policy.officers)

    # --- policy ---

    @call
    def propose(self, ctx: Call, policy: Policy) -> int:
        """Propose another policy; return the change's number."""
        self._officer(ctx.sender)
        policy.check()
        self.change_count += 1
        self.changes[self.change_count] = Change(policy, self.revision, self.freezes)
        ctx.emit(Proposed(self.change_count, ctx.sender, policy), to=self.policy.officers)
        return self.change_count

    @call
    def agree(self, ctx: Call, number: int) -> None:
        """Vote for a change of policy. No single officer stops it: he could keep the others from removing him."""
        self._officer(ctx.sender)
        change = self._open_change(number)
        self.changes[number] = replace(change, ballot=self._voted(change.ballot, ctx))

    @call
    def enact(self, ctx: Call, number: int) -> None:
        """Put a policy in force whose quorum agreed and whose delay is over; payments on their way are void."""
        self._officer(ctx.sender)
        change = self._open_change(number)
        require(ctx.block.time_ns >= self._due(change.ballot), "too_early")
        self.policy = change.policy
        self.revision += 1
        self.frozen = self.frozen and self.freezes != change.freezes

    # --- questions, of officers ---

    @view
    def script(self, ctx: View, number: int) -> bytes:
        """Return the scriptPubKey of an address."""
        self._officer(ctx.reader)
        require(0 < number <= self.scripts, "not_found")
        return self._script(ctx, number)

    @view
    def payment(self, ctx: View, number: int) -> Payment:
        """Return a payment."""
        self._officer(ctx.reader)
        return self.payments[number]

    @view
    def terms(self, ctx: View) -> tuple[Policy, Amount, bool]:
        """Return the policy, what the newest period spent without delay, and whether the vault is frozen."""
        self._officer(ctx.reader)
        return self.policy, self.spent, self.frozen

    # --- rules ---

    def _key(self, ctx: Call | View, number: int) -> Key:
        return ctx.key("bitcoin", "bip340").derive(str(number))

    def _script(self, ctx: Call | View, number: int) -> bytes:
        return b"\x51\x20" + self._key(ctx, number).public  # OP_1, and 32 bytes: BIP-341

    def _officer(self, who: Address) -> None:
        require(who in self.policy.officers, "forbidden")

    def _open_payment(self, number: int) -> Payment:
        payment = self.payments[number]
        require(not self.frozen, "frozen")
        require(payment.revision == self.revision, "void")
        require(payment.state == "open", payment.state)
        return payment

    def _open_change(self, number: int) -> Change:
        change = self.changes[number]
        require(change.revision == self.revision, "void")
        return change

    def _voted(self, ballot: Ballot, ctx: Call) -> Ballot:
        yes = ballot.yes | {ctx.sender}
        if ballot.agreed_ns is None and len(yes) >= self.policy.quorum:
            return Ballot(yes, ctx.block.time_ns)
        return replace(ballot, yes=yes)

    def _due(self, ballot: Ballot) -> int:
        if ballot.agreed_ns is None:
            raise Reject("no_quorum")
        return ballot.agreed_ns + self.policy.delay_ns

    def _spend(self, transaction: Transaction, period: int) -> None:
        """Count what leaves before its delay is over, or reject it: beyond the limits it is too early."""
        leaving: dict[bytes, int] = {}
        for output in transaction.outputs:
            if output.script not in self.numbers:
                leaving[output.script] = leaving.get(output.script, 0) + output.sats
        limits = {payee.script: payee.limit for payee in self.policy.payees}
        for script, sats in leaving.items():
            require(sats <= limits.get(script, -1), "too_early", "an unknown payee, or over its limit")
        coins = transaction.inputs_hash()
        before = self.counted.get(coins, 0)
        cost = max(before, sum(leaving.values()) + transaction.fee())
        spent = (self.spent if period == self.period else 0) + cost - before
        require(spent <= self.policy.period_limit, "too_early", "over the period's limit")
        self.counted[coins] = cost
        self.period = period
        self.spent = spent
