"""A token whose balances only their owners can read."""

from keephold import Address, Amount, Call, Contract, Event, Map, View, call, init, require, view


class Moved(Event):
    """Units changed hands."""

    source: Address
    to: Address
    amount: Amount


class Token(Contract):
    """A token whose balances only their owners can read."""

    symbol: str
    balances: Map[Address, int]

    @init
    def setup(self, ctx: Call, symbol: str, supply: Amount) -> None:
        """Create `supply` units of `symbol`, all of them the creator's."""
        self.symbol = symbol
        self.balances[ctx.sender] = supply

    @call
    def transfer(self, ctx: Call, to: Address, amount: Amount) -> None:
        """Move `amount` to `to`; the two of them, and nobody else, learn of it."""
        held = self.balances.get(ctx.sender, 0)
        require(0 < amount <= held, "insufficient_balance")
        self.balances[ctx.sender] = held - amount
        self.balances[to] = self.balances.get(to, 0) + amount
        ctx.emit(Moved(ctx.sender, to, amount), to=(ctx.sender, to))

    @view(scope="balance")
    def balance(self, ctx: View) -> int:
        """Return what the reader holds."""
        return self.balances.get(ctx.reader, 0)
