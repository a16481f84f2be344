"""A token that other contracts can be paid in: they collect what its owner allowed them."""

from keephold import Address, Amount, Call, Contract, Map, View, call, init, require, view


class Coin(Contract, pad=(512, 4096)):
    """Balances that only their owners can read, and allowances for whoever may collect."""

    balances: Map[Address, Amount]
    allowed: Map[tuple[Address, Address], Amount]

    @init
    def setup(self, ctx: Call, supply: Amount) -> None:
        """Give the whole supply to whoever deploys the coin."""
        self.balances[ctx.sender] = supply

    @call
    def transfer(self, ctx: Call, to: Address, amount: Amount) -> None:
        """Move `amount` from the caller, an account or a contract, to `to`."""
        self._move(ctx.sender, to, amount)

    @call
    def allow(self, ctx: Call, collector: Address, amount: Amount) -> None:
        """Let `collector` collect up to `amount` from the caller, whatever was allowed before."""
        self.allowed[ctx.sender, collector] = amount

    @call
    def collect(self, ctx: Call, source: Address, amount: Amount) -> None:
        """Move `amount` from `source` to the caller, as far as `source` allowed it."""
        left = self.allowed.get((source, ctx.sender), 0)
        require(0 < amount <= left, "not_allowed")
        self.allowed[source, ctx.sender] = left - amount
        self._move(source, ctx.sender, amount)

    @view(scope="balance")
    def balance(self, ctx: View) -> Amount:
        """Return what the reader holds."""
        return self.balances.get(ctx.reader, 0)

    def _move(self, source: Address, to: Address, amount: Amount) -> None:
        held = self.balances.get(source, 0)
        require(0 < amount <= held, "insufficient_balance")
        self.balances[source] = held - amount
        self.balances[to] = self.balances.get(to, 0) + amount
