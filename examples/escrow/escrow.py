"""An escrow between two who do not trust each other, paid in a coin that is another contract."""

from typing import Literal

from keephold import (
    Address,
    Amount,
    Call,
    Contract,
    Done,
    Interface,
    Map,
    Message,
    Outcome,
    Record,
    View,
    call,
    init,
    replace,
    reply,
    require,
    view,
)

State = Literal["paying_in", "open", "held", "paying_out", "closed"]


class Coin(Interface):
    """What the escrow needs of the coin."""

    def collect(self, source: Address, amount: Amount) -> Message[None]:
        """Collect what the buyer allowed."""
        raise NotImplementedError

    def transfer(self, to: Address, amount: Amount) -> Message[None]:
        """Pay out."""
        raise NotImplementedError


class Deal(Record):
    """Who pays whom, and how far that is."""

    buyer: Address
    seller: Address
    amount: Amount
    state: State = "open"
    payee: Address | None = None
    """Who gets the money, once that is decided."""


class Escrow(Contract, pad=(512, 4096)):
    """Holds a buyer's coins until the buyer is content, or the seller gives them back.

    The coin moves nothing while the escrow runs: `fund` only asks for it, and the answer comes later. So every step
    notes what it waits for before it asks, and a second one finds that note.
    """

    coin: Address
    count: int = 0
    deals: Map[int, Deal]
    asked: Map[int, int]

    @init
    def setup(self, ctx: Call, coin: Address) -> None:
        """Take payments in `coin`."""
        self.coin = coin

    @call
    def fund(self, ctx: Call, seller: Address, amount: Amount) -> int:
        """Pay `amount`, which the coin allows this escrow to collect, in for `seller`; return the deal's number."""
        self.count += 1
        self.deals[self.count] = Deal(ctx.sender, seller, amount, "paying_in")
        message = Coin.at(self.coin).collect(ctx.sender, amount)
        self.asked[ctx.send(message, reply=self.on_paid_in)] = self.count
        return self.count

    @reply
    def on_paid_in(self, ctx: Call, outcome: Outcome[None]) -> None:
        """Hold the coins, or forget the deal: then none moved."""
        number = self._answered(outcome)
        state: State = "held" if isinstance(outcome, Done) else "closed"
        self.deals[number] = replace(self.deals[number], state=state)

    @call
    def accept(self, ctx: Call, number: int) -> None:
        """Let the seller have the coins, as the buyer."""
        deal = self._deal(number)
        require(ctx.sender == deal.buyer, "not_yours")
        self._pay(ctx, number, deal, deal.seller)

    @call
    def give_back(self, ctx: Call, number: int) -> None:
        """Let the buyer have the coins back, as the seller."""
        deal = self._deal(number)
        require(ctx.sender == deal.seller, "not_yours")
        self._pay(ctx, number, deal, deal.buyer)

    @reply
    def on_paid_out(self, ctx: Call, outcome: Outcome[None]) -> None:
        """Close the deal; if the coin could not pay, it is as before."""
        number = self._answered(outcome)
        deal = self.deals[number]
        paid = isinstance(outcome, Done)
        self.deals[number] = replace(deal, state="closed") if paid else replace(deal, state="held", payee=None)

    @view(scope="deal")
    def deal(self, ctx: View, number: int) -> Deal:
        """Return a deal, to its two parties."""
        deal = self.deals.get(number)
        require(deal is not None and ctx.reader in (deal.buyer, deal.seller), "not_yours")
        return self.deals[number]

    def _deal(self, number: int) -> Deal:
        deal = self.deals.get(number, Deal(self.coin, self.coin, 0))
        require(deal.state == "held", "not_held")
        return deal

    def _pay(self, ctx: Call, number: int, deal: Deal, payee: Address) -> None:
        self.deals[number] = replace(deal, state="paying_out", payee=payee)
        message = Coin.at(self.coin).transfer(payee, deal.amount)
        self.asked[ctx.send(message, reply=self.on_paid_out)] = number

    def _answered(self, outcome: Outcome[None]) -> int:
        number = self.asked[outcome.number]
        del self.asked[outcome.number]
        return number
